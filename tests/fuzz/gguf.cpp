// What the fuzzer starts from it writes itself, where libFuzzer was told to keep what it finds: a file that passes of each kind.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/adapter_file.h"
#include "inference/gguf.h"
#include "tests/fuzz/properties.h"
#include "tests/inference/tiny_gguf.h"

namespace tollgate::fuzz {
namespace {

namespace tiny = inference::test;

// `architecture` as small as may be, with what the reader knows of experts and heads.
tiny::Gguf Model(const std::string& architecture) {
  tiny::Gguf file = tiny::Gguf::Tiny(architecture);
  const auto add = [&](const char* key, std::uint32_t value) { file.Number(architecture + "." + key, value); };
  add("attention.head_count_kv", 2);
  add("attention.key_length", 4);
  add("rope.dimension_count", architecture == "llama" ? 4 : 2);
  add("expert_count", 8);
  add("expert_used_count", 2);
  add("expert_group_count", 4);
  add("expert_group_used_count", 2);
  return file.Text(architecture + ".rope.scaling.type", "yarn").Tensor("blk.0.attn_k.weight", {8, 4}, 0);
}

std::string Adapter() {
  tiny::Gguf file;
  file.Text("general.type", "adapter").Text("general.architecture", "llama").Text("adapter.type", "lora");
  file.Raw("adapter.lora.alpha", 6, tiny::Packed(2.0F));
  return file.Values("blk.0.attn_k.weight.lora_a", {8, 2}, std::vector<float>(16, 1))
      .Values("blk.0.attn_k.weight.lora_b", {2, 4}, std::vector<float>(8, 1))
      .Bytes();
}

const inference::GgufHeader& Base() {
  static const inference::GgufHeader header = *inference::ReadGguf(Model("llama").Bytes());
  return header;
}

}  // namespace

void Gguf(std::string_view input) {
  const auto inside = [&](const inference::GgufHeader& header) {
    for (const inference::GgufTensor& tensor : header.tensor_table)
      TG_CHECK(tensor.at <= input.size() && tensor.bytes <= input.size() - tensor.at, "a tensor lies outside of its file");
  };
  if (const auto header = inference::ReadGgufForm(input); header.ok()) inside(*header);
  if (const auto header = inference::ReadGguf(input); header.ok()) {
    TG_CHECK(header->layers > 0 && header->vocab_tokens > 0 && header->context_tokens > 0, "a model without layers, tokens or context");
    inside(*header);
  }
  if (const auto adapter = inference::ReadAdapter(input, Base()); adapter.ok())
    TG_CHECK(adapter->pairs > 0 && adapter->weights_bytes <= static_cast<std::int64_t>(input.size()), "an adapter without weights");
}

}  // namespace tollgate::fuzz

extern "C" int LLVMFuzzerInitialize(int* count, char*** words) {
  using namespace tollgate::fuzz;
  for (int i = 1; i < *count; ++i) {
    const std::filesystem::path folder = (*words)[i];
    if (!is_directory(folder)) continue;
    std::ofstream(folder / "llama", std::ios::binary) << Model("llama").Bytes();
    std::ofstream(folder / "deepseek2", std::ios::binary) << Model("deepseek2").Bytes();
    std::ofstream(folder / "adapter", std::ios::binary) << Adapter();
    break;
  }
  TG_CHECK(tollgate::inference::ReadAdapter(Adapter(), Base()).ok(), "the fuzzer's own adapter is refused");
  return 0;
}
