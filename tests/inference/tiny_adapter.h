// Makes LoRA adapters with random matrices for the tiny models, and a model into which an adapter was worked: what it must compute as.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "inference/gguf.h"
#include "inference/pool.h"
#include "tests/inference/tiny_gguf.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference::test {

// An adapter of every matrix of the model that libllama adapts, or of those whose name holds `only`.
struct TinyAdapter {
  std::uint64_t seed = 1;
  std::uint64_t rank = 4;
  float alpha = 8;
  float magnitude = 0.3F;
  std::string only;

  static Gguf Head(const std::string& architecture, float alpha) {
    Gguf file;
    file.Raw("general.type", 8, PackedText("adapter"));
    file.Raw("general.architecture", 8, PackedText(architecture));
    file.Raw("adapter.type", 8, PackedText("lora"));
    file.Raw("adapter.lora.alpha", 6, Packed(alpha));
    return file;
  }

  // `base`: the model's file.
  std::string For(const std::string& base) const {
    const auto header = ReadGguf(base);
    REQUIRE(header.ok());
    Gguf file = Head(header->architecture, alpha);
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal(0, magnitude);
    const auto values = [&](const std::vector<std::uint64_t>& shape) {
      std::uint64_t count = 1;
      for (const std::uint64_t size : shape) count *= size;
      std::vector<float> drawn(count);
      for (float& value : drawn) value = normal(random);
      return drawn;
    };
    for (const GgufTensor& tensor : header->tensor_table) {
      const bool plain = header->architecture == "deepseek2" && !tensor.name.ends_with("attn_output.weight") &&
                         (tensor.name.find("attn_") != std::string::npos || tensor.name == "output.weight");
      const bool changes = tensor.shape.size() >= 2 && tensor.name != "token_embd.weight";
      if (!changes || plain || tensor.name.find(only) == std::string::npos) continue;
      std::vector<std::uint64_t> a(tensor.shape.begin(), tensor.shape.end());
      std::vector<std::uint64_t> b = a;
      a[1] = b[0] = rank;
      file.Values(tensor.name + ".lora_a", a, values(a));
      file.Values(tensor.name + ".lora_b", b, values(b));
    }
    return file.Bytes();
  }

  // The model's file with the adapter, at this scale, worked into its F32 weights.
  static std::string Merge(std::string base, const std::string& adapter, double scale) {
    const auto model = ReadGgufForm(base);
    const auto lora = ReadGgufForm(adapter);
    REQUIRE((model.ok() && lora.ok()));
    const auto read = [](const std::string& file, std::uint64_t at, std::uint64_t index) {
      float value = 0;
      std::memcpy(&value, file.data() + at + index * sizeof value, sizeof value);
      return value;
    };
    for (std::size_t i = 0; i + 1 < lora->tensor_table.size(); i += 2) {
      const GgufTensor& a = lora->tensor_table[i];
      const GgufTensor& b = lora->tensor_table[i + 1];
      const std::string name = a.name.substr(0, a.name.rfind('.'));
      for (const GgufTensor& weight : model->tensor_table) {
        if (weight.name != name) continue;
        const auto in = static_cast<std::uint64_t>(weight.shape[0]), out = static_cast<std::uint64_t>(weight.shape[1]);
        const auto rank = static_cast<std::uint64_t>(b.shape[0]);
        const std::uint64_t matrices = weight.shape.size() == 3 ? static_cast<std::uint64_t>(weight.shape[2]) : 1;
        const double factor = scale * lora->reals.at("adapter.lora.alpha") / static_cast<double>(rank);
        for (std::uint64_t index = 0; index < matrices * in * out; ++index) {
          const std::uint64_t x = index % in, y = index / in % out, m = index / (in * out);
          double sum = 0;
          for (std::uint64_t r = 0; r < rank; ++r) {
            sum += double{read(adapter, a.at, (m * rank + r) * in + x)} * read(adapter, b.at, (m * out + y) * rank + r);
          }
          const auto merged = static_cast<float>(read(base, weight.at, index) + factor * sum);
          std::memcpy(base.data() + weight.at + index * sizeof merged, &merged, sizeof merged);
        }
      }
    }
    return base;
  }
};

// The options for these bytes as the adapter "BASE:NAME", once written to `folder`.
inline AdapterOptions WriteAdapter(const tollgate::test::TempDir& folder, const std::string& bytes, const std::string& base,
                                   const std::string& name, double scale = 1) {
  AdapterOptions adapter{.name = base + ":" + name, .base = base, .file = folder.File(name + ".lora.gguf"), .sha256 = {}, .scale = scale};
  std::ofstream(adapter.file, std::ios::binary) << bytes;
  adapter.sha256 = *DigestOfFile(adapter.file);
  return adapter;
}

}  // namespace tollgate::inference::test
