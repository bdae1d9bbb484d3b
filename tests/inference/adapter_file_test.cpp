// The reader of adapters against sound, cut, spoilt and hostile files, and files of another model.
#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <random>

#include "inference/adapter_file.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_adapter.h"

namespace tollgate::inference {
namespace {

using test::Gguf;
using test::Packed;
using test::PackedText;
using test::TinyAdapter;

constexpr const char* kQ = "blk.0.attn_q.weight";

GgufHeader Base() {
  Gguf file = Gguf::Tiny();
  file.Tensor(kQ, {8, 16}, 0).Tensor("blk.0.ffn_down_exps.weight", {8, 16, 2}, 0).Tensor("output.weight", {8, 3}, 0);
  auto header = ReadGguf(file.Bytes());
  REQUIRE(header.ok());
  header->tensor_table.push_back({.name = "blk.1.attn_q.weight", .shape = {64, 64}, .type = 40, .at = 0, .bytes = 0});
  return *std::move(header);
}

std::vector<float> Ones(std::size_t count) { return std::vector<float>(count, 1.0F); }

Gguf Head() { return TinyAdapter::Head("llama", 8); }

Gguf WithQ(Gguf file) {
  file.Values(std::string(kQ) + ".lora_a", {8, 2}, Ones(16)).Values(std::string(kQ) + ".lora_b", {2, 16}, Ones(32));
  return file;
}

TEST_CASE("A sound adapter gives its facts") {
  Gguf file = WithQ(Head());
  file.Values("blk.0.ffn_down_exps.weight.lora_a", {8, 3, 2}, Ones(48)).Values("blk.0.ffn_down_exps.weight.lora_b", {3, 16, 2}, Ones(96));
  file.Values("token_embd.weight.lora_a", {5, 3}, Ones(15)).Values("token_embd.weight.lora_b", {5, 8}, Ones(40));
  const auto adapter = ReadAdapter(file.Bytes(), Base());
  INFO(adapter.status().ToString());
  REQUIRE(adapter.ok());
  CHECK(adapter->pairs == 3);
  CHECK(adapter->rank == 5);
  CHECK(adapter->alpha == 8);
  CHECK(adapter->weights_bytes == 4 * (16 + 32 + 48 + 96 + 15 + 40));
  CHECK(adapter->computing_bytes == 2 * 4 * 512 * 16);
}

TEST_CASE("What is no adapter of this model is refused by name and number") {
  const auto pair = [](const std::string& weight, std::vector<std::uint64_t> a, std::vector<std::uint64_t> b, std::uint32_t type = 0) {
    return Head().Tensor(weight + ".lora_a", a, type).Tensor(weight + ".lora_b", b, type);
  };
  const auto key = [](const char* name, std::uint32_t type, const std::string& value) {
    return WithQ(Head().Without(name).Raw(name, type, value));
  };
  struct Row {
    Gguf file;
    const char* says;
  };
  const Row rows[] = {
      {WithQ(Head().Magic("GGML")), "GGUF"},
      {WithQ(Head().Without("general.type")), "no general.type"},
      {key("general.type", 8, PackedText("model")), "general.type = \"model\""},
      {key("general.type", 4, Packed<std::uint32_t>(7)), "no general.type"},
      {key("adapter.type", 8, PackedText("ia3")), "adapter.type = \"ia3\""},
      {key("general.architecture", 8, PackedText("qwen2")), "\"qwen2\"; a LoRA adapter of this model says \"llama\""},
      {WithQ(Head().Without("adapter.lora.alpha")), "adapter.lora.alpha as a 32-bit float"},
      {key("adapter.lora.alpha", 12, Packed(8.0)), "adapter.lora.alpha as a 32-bit float"},
      {key("adapter.lora.alpha", 4, Packed<std::uint32_t>(8)), "adapter.lora.alpha as a 32-bit float"},
      {key("adapter.lora.alpha", 6, Packed(std::numeric_limits<float>::infinity())), "no finite number"},
      {key("adapter.lora.alpha", 6, Packed(-1.0F)), "adapter.lora.alpha = -1"},
      {WithQ(Head()).Raw("adapter.alora.invocation_tokens", 9,
                         Packed<std::uint32_t>(4) + Packed<std::uint64_t>(1) + Packed<std::uint32_t>(5)),
       "aLoRA"},
      {Head(), "no tensors"},
      {WithQ(Head()).Tensor("blk.0.attn_norm.weight", {8}, 0), "blk.0.attn_norm.weight is neither"},
      {Head().Tensor("x.lora_a.weight.lora_a", {8, 2}, 0), "means two things"},
      {Head().Tensor(std::string(kQ) + ".lora_a", {8, 2}, 0), "has a .lora_a and no .lora_b"},
      {Head().Tensor(std::string(kQ) + ".lora_b", {2, 16}, 0), "has a .lora_b and no .lora_a"},
      {pair("blk.9.attn_q.weight", {8, 2}, {2, 16}), "weight blk.9.attn_q.weight is none of the model's"},
      {pair(kQ, {16, 2}, {2, 16}), "is [8, 16], so at rank 2 .lora_a must be [8, 2] and .lora_b [2, 16]; they are [16, 2] and [2, 16]"},
      {pair(kQ, {8, 2}, {2, 8}), "they are [8, 2] and [2, 8]"},
      {pair(kQ, {8, 2}, {3, 16}), "at rank 3 .lora_a must be [8, 3]"},
      {pair(kQ, {2, 8}, {16, 2}), "at rank 16"},
      {pair(kQ, {8, 2, 2}, {2, 16}), "they are [8, 2, 2] and [2, 16]"},
      {pair(kQ, {8, 2}, {2, 16, 4}), "they are [8, 2] and [2, 16, 4]"},
      {pair("blk.0.ffn_down_exps.weight", {8, 2}, {2, 16}), "is [8, 16, 2], so at rank 2"},
      {pair("token_embd.weight", {8, 2}, {2, 3}), ".lora_a must be [2, 3] and .lora_b [2, 8]"},
      {pair("output_norm.weight", {8, 2}, {2, 8}), "an adapter changes matrices alone"},
      {pair("blk.1.attn_q.weight", {64, 2}, {2, 64}), "NVFP4"},
      {pair(kQ, {8, 2}, {2, 16}, 26), "is of type 26; adapters hold F32, F16, BF16 or Q8_0"},
  };
  const GgufHeader base = Base();
  for (const Row& row : rows) {
    INFO(row.says);
    const auto refused = ReadAdapter(row.file.Bytes(), base);
    CHECK(refused.status().code() == absl::StatusCode::kInvalidArgument);
    INFO(base::Message(refused.status()));
    CHECK(base::Message(refused.status()).find(row.says) != std::string::npos);
  }
  GgufHeader latent = base;
  latent.architecture = "deepseek2";
  const auto of_latent = [&](const char* weight) {
    latent.tensor_table.front() = {.name = weight, .shape = {8, 16}, .type = 0, .at = 0, .bytes = 0};
    Gguf file = TinyAdapter::Head("deepseek2", 8);
    return ReadAdapter(
        file.Values(std::string(weight) + ".lora_a", {8, 2}, Ones(16)).Values(std::string(weight) + ".lora_b", {2, 16}, Ones(32)).Bytes(),
        latent);
  };
  for (const char* weight :
       {"blk.0.attn_q.weight", "blk.0.attn_q_a.weight", "blk.0.attn_kv_a_mqa.weight", "output.weight", "blk.0.ssm_in.weight"}) {
    INFO(weight);
    CHECK(base::Message(of_latent(weight).status()).find("one that libllama uses without adapters") != std::string::npos);
  }
  CHECK(of_latent("blk.0.attn_output.weight").ok());
  latent.architecture = "kimi-linear";
  CHECK(base::Message(of_latent("blk.0.attn_output.weight").status()).find("take none") != std::string::npos);
  GgufHeader tied = base;
  std::erase_if(tied.tensor_table, [](const GgufTensor& tensor) { return tensor.name == "output.weight"; });
  const auto refused = ReadAdapter(pair("token_embd.weight", {2, 3}, {2, 8}).Bytes(), tied);
  CHECK(base::Message(refused.status()).find("the model's output too") != std::string::npos);
}

TEST_CASE("A value that is no finite number is refused, in every type") {
  struct Row {
    std::uint32_t type;
    std::size_t bytes;  // Of an element, or of a block of 32.
    std::string bad;
  };
  const Row rows[] = {{0, 4, Packed(std::numeric_limits<float>::quiet_NaN())},
                      {0, 4, Packed(-std::numeric_limits<float>::infinity())},
                      {1, 2, Packed<std::uint16_t>(0x7C00)},
                      {1, 2, Packed<std::uint16_t>(0xFE01)},
                      {30, 2, Packed<std::uint16_t>(0x7F80)},
                      {8, 34, Packed<std::uint16_t>(0x7C00)}};
  GgufHeader base = Base();
  base.tensor_table.front() = {.name = "blk.2.attn_k.weight", .shape = {32, 32}, .type = 0, .at = 0, .bytes = 0};
  for (const Row& row : rows) {
    INFO("type " << row.type);
    const std::size_t size = row.type == 8 ? 32 * row.bytes : 1024 * row.bytes;
    // Both tensors' data are written by hand: their sizes depend on the type.
    const std::size_t padded = (size + 31) / 32 * 32;
    Gguf both = Head();
    both.Tensor("blk.2.attn_k.weight.lora_a", {32, 32}, row.type);
    both.Tensor("blk.2.attn_k.weight.lora_b", {32, 32}, row.type, padded);
    std::string bytes = both.Bytes();
    bytes.resize(bytes.size() + 2 * padded, '\0');
    CHECK(ReadAdapter(bytes, base).ok());
    const std::size_t begin = bytes.size() - padded;
    bytes.replace(begin + (row.type == 8 ? 34 : 10 * row.bytes), row.bad.size(), row.bad);
    const auto refused = ReadAdapter(bytes, base);
    CHECK(base::Message(refused.status()).find(row.type == 8 ? "(element 1)" : "(element 10)") != std::string::npos);
  }
}

TEST_CASE("An adapter cut at any byte is refused, and no spoilt one ends the reader") {
  const GgufHeader base = Base();
  const std::string sound = WithQ(Head()).Bytes();
  REQUIRE(ReadAdapter(sound, base).ok());
  for (std::size_t size = 0; size < sound.size(); ++size) CHECK_FALSE(ReadAdapter(std::string_view(sound).substr(0, size), base).ok());
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string spoilt = sound;
    for (std::uint64_t n = 1 + random() % 3; n > 0; --n) spoilt[random() % spoilt.size()] = static_cast<char>(random());
    (void)ReadAdapter(spoilt, base);
  }
}

}  // namespace
}  // namespace tollgate::inference
