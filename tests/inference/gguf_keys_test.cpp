// What a file's keys must say together: what libllama ends the process over is refused by name, what it computes passes.
#include <catch2/catch_test_macros.hpp>

#include "inference/gguf.h"
#include "tests/inference/tiny_gguf.h"

namespace tollgate::inference {
namespace {

using test::Gguf;
using test::Packed;

struct Row {
  Gguf file;
  std::string says;  // Empty: it passes.
};

void Check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const auto header = ReadGguf(row.file.Bytes());
    INFO("expected: " << (row.says.empty() ? "it passes" : row.says) << "\nis: " << header.status().ToString());
    CHECK(header.ok() == row.says.empty());
    CHECK(base::Message(header.status()).find(row.says) != std::string::npos);
  }
}

Gguf Tokens(const std::vector<std::string>& tokens) { return Gguf::Tiny().Texts("tokenizer.ggml.tokens", tokens); }

TEST_CASE("A token stands once, as libllama reads it") {
  Check({
      {Tokens({"a", "b", "c"}), ""},
      {Tokens({"a", "b", "a"}), "tokens 0 and 2"},
      {Tokens({"a", "", "c"}), ""},
      {Tokens({"", "", "c"}), ""},
      {Tokens({"a", "", "[EMPTY_1]"}), "tokens 1 and 2"},
      {Tokens({"[EMPTY_1]", "", "c"}), "tokens 0 and 1"},
      {Tokens({"[EMPTY_0]", "", "c"}), ""},
      {Tokens({std::string("a\0b", 3), "ab", std::string("a\0c", 3)}), "tokens 0 and 2"},
      {Tokens({std::string("\0b", 2), "[EMPTY_0]", "c"}), "tokens 0 and 1"},
  });
}

Gguf Experts(int count, int used, int groups = 0, int groups_used = 0) {
  Gguf file = Gguf::Tiny();
  const auto add = [&file](const char* key, int value) {
    if (value >= 0) file.Number(std::string("llama.") + key, static_cast<std::uint32_t>(value));
  };
  add("expert_count", count);
  add("expert_used_count", used);
  add("expert_group_count", groups);
  add("expert_group_used_count", groups_used);
  return file;
}

TEST_CASE("Experts, those in use and their groups fit together") {
  Check({
      {Experts(8, 2), ""},
      {Experts(8, 8), ""},
      {Experts(0, 0), ""},
      {Experts(1024, 8), ""},
      {Experts(1025, 8), "expert_count = 1025"},
      {Experts(8, -1), "uses none"},
      {Experts(8, 0), "uses none"},
      {Experts(8, 9), "expert_used_count = 9 of 8"},
      {Experts(-1, 3), "expert_used_count = 3 of 0"},
      {Experts(-1, -1, 2), "expert_group_count = 2, but has no experts"},
      {Experts(8, 2, 1), ""},
      {Experts(8, 2, 4, 2), ""},
      {Experts(8, 2, 8, 2), "expert_group_count = 8 of 8"},
      {Experts(8, 2, 3, 2), "8 experts in 3 groups"},
      {Experts(8, 2, 4, 0), "of which it uses 0"},
      {Experts(8, 2, 4, 4), "of which it uses 4"},
      {Experts(8, -1).Numbers("llama.expert_used_count", {2, 4}), ""},
      {Experts(8, -1).Numbers("llama.expert_used_count", {2, 9}), "expert_used_count = 9 of 8"},
      {Experts(8, -1).Numbers("llama.expert_used_count", {0, 2}), "uses none"},
      {Experts(8, 2).Number("llama.expert_gating_func", 5), "expert_gating_func = 5"},
      {Gguf::Tiny("smallthinker"), "smallthinker consists of"},
      {Gguf::Tiny("hunyuan-dense").Number("hunyuan-dense.expert_count", 1), ""},
      {Gguf::Tiny("hunyuan-moe").Number("hunyuan-moe.expert_count", 1), "uses none"},
  });
}

// Two heads of four numbers each, as Tiny has them; or of `key` and `value`, turned as far as `turned`.
Gguf Heads(const std::string& architecture, int key, int value, int turned = 0) {
  Gguf file = Gguf::Tiny(architecture);
  const auto add = [&](const char* name, int number) {
    if (number > 0) file.Number(architecture + "." + name, static_cast<std::uint32_t>(number));
  };
  add("attention.key_length", key);
  add("attention.value_length", value);
  add("rope.dimension_count", turned);
  return file;
}

TEST_CASE("Heads have the sizes that an architecture computes with") {
  Check({
      {Heads("llama", 16, 16), ""},
      {Heads("llama", 16, 32), "key_length = 16 and value_length = 32"},
      {Heads("llama", 16, 0), "key_length = 16 and value_length = 4"},
      {Heads("llama", 0, 0, 2), "dimension_count = 2"},
      {Heads("qwen2", 0, 0, 4), ""},
      {Heads("qwen2", 0, 0, 2), "dimension_count = 2"},
      {Heads("qwen2", 16, 16, 4), "dimension_count = 4"},
      {Heads("phi3", 16, 16, 8), ""},
      {Heads("phi3", 16, 32), "value_length = 32"},
      {Heads("gemma2", 16, 32), ""},
      {Heads("phi3", 16, 16, 18), "dimension_count = 18"},
      {Heads("phi3", 16, 16, 7), "dimension_count = 7"},
      {Heads("gemma4", 16, 16).Number("gemma4.attention.key_length_swa", 8), "key_length_swa = 8"},
      {Heads("gemma4", 16, 16).Number("gemma4.attention.key_length_swa", 8).Number("gemma4.attention.value_length_swa", 8),
       "dimension_count_swa = 16"},
      {Heads("gemma4", 16, 16, 16)
           .Number("gemma4.attention.key_length_swa", 8)
           .Number("gemma4.attention.value_length_swa", 8)
           .Number("gemma4.rope.dimension_count_swa", 8),
       ""},
  });
}

TEST_CASE("Heads of keys are shared by whole numbers of heads, in each layer") {
  const auto shared = [](std::uint32_t count) { return Gguf::Tiny().Number("llama.attention.head_count_kv", count); };
  const auto layers = [](const std::string& architecture, std::uint32_t first, std::uint32_t second) {
    return Gguf::Tiny(architecture).Numbers(architecture + ".attention.head_count_kv", {first, second});
  };
  std::string bools = Packed<std::uint32_t>(7) + Packed<std::uint64_t>(2) + "\1" + std::string(1, '\0');
  Check({
      {shared(1), ""},
      {shared(2), ""},
      {shared(3), "2 heads share 3"},
      {layers("llama", 2, 2), ""},
      {layers("llama", 2, 1), "other heads in layer 1"},
      {layers("llama", 0, 0), "other heads in layer 0"},
      {layers("openelm", 2, 1), ""},
      {layers("openelm", 2, 3), "2 heads share 3 in layer 1"},
      {layers("jamba", 0, 1), ""},
      {layers("jamba", 0, 1 << 17), "131072 among"},
      {Gguf::Tiny().Raw("llama.attention.head_count_kv", 9, bools), "other heads in layer 1"},
  });
}

TEST_CASE("Latent attention leaves room beside what is turned by position") {
  const auto latent = [](const std::string& architecture, std::uint32_t key, std::uint32_t value) {
    Gguf file = Heads(architecture, 16, 16, 8);
    file.Number(architecture + ".attention.head_count_kv", key > 0 && value > 0 ? 1 : 2);
    file.Number(architecture + ".attention.kv_lora_rank", 8).Number(architecture + ".expert_count", 4);
    file.Number(architecture + ".expert_used_count", 2);
    if (key > 0) file.Number(architecture + ".attention.key_length_mla", key);
    if (value > 0) file.Number(architecture + ".attention.value_length_mla", value);
    return file;
  };
  Check({
      {latent("deepseek2", 0, 0), ""},
      {latent("deepseek2", 0, 0).Number("deepseek2.rope.dimension_count", 16), "leaves nothing of keys of 16"},
      {latent("deepseek2", 12, 8), ""},
      {latent("deepseek2", 12, 8).Number("deepseek2.attention.head_count_kv", 2), "head_count_kv = 2 where attention keeps 1"},
      {latent("deepseek2", 0, 0).Number("deepseek2.attention.head_count_kv", 1), "head_count_kv = 1 where attention keeps 2"},
      {latent("deepseek2", 12, 8).Number("deepseek2.attention.kv_lora_rank", 7), "key_length = 16 where it keeps 7 and 8"},
      {latent("deepseek2", 8, 8), "leaves nothing of keys of 8"},
      {latent("deepseek2", 8, 0), ""},
      {latent("deepseek32", 12, 8), ""},
      {latent("deepseek32", 12, 0), "lacks deepseek32.attention.key_length_mla"},
  });
}

TEST_CASE("A model is one file: libllama would open the others of a split one by itself, unread and without a digest") {
  Check({
      {Gguf::Tiny().Number("split.count", std::uint32_t{1}), ""},
      {Gguf::Tiny().Number("split.count", std::uint32_t{2}), "one of the files of a split model"},
      {Gguf::Tiny().Number("split.count", std::uint32_t{0}), "one of the files of a split model"},
      {Gguf::Tiny().Text("split.count", "2"), "one of the files of a split model"},
  });
}

TEST_CASE("What only some files say must make sense too") {
  Check({
      {Gguf::Tiny().Text("llama.rope.scaling.type", "yarn"), ""},
      {Gguf::Tiny().Text("llama.rope.scaling.type", "longrope"), ""},
      {Gguf::Tiny().Text("llama.rope.scaling.type", "foo"), "unknown llama.rope.scaling.type"},
      {Gguf::Tiny().Text("llama.rope.scaling.type", ""), "unknown llama.rope.scaling.type"},
      {Gguf::Tiny().Text("llama.rope.scaling.type", std::string(100000, 'x')), "unknown llama.rope.scaling.type"},
      {Gguf::Tiny().Number("llama.nextn_predict_layers", 1), ""},
      {Gguf::Tiny().Number("llama.nextn_predict_layers", 2), "nextn_predict_layers = 2 of 2"},
      {Gguf::Tiny().Number("llama.pooling_type", 5), "pooling_type = 5"},
      {Gguf::Tiny("qwen35").Number("qwen35.full_attention_interval", 0), "full_attention_interval = 0"},
      {Gguf::Tiny("rwkv7").Number("rwkv7.wkv.head_size", 0), "wkv.head_size = 0"},
      {Gguf::Tiny("mamba2").Number("mamba2.ssm.group_count", 0), "ssm.group_count = 0"},
      {Gguf::Tiny("plamo2").Number("plamo2.ssm.group_count", 0), ""},
      {Gguf::Tiny("mamba2").Number("mamba2.ssm.time_step_rank", 0), "time_step_rank = 0"},
      {Gguf::Tiny("qwen2vl").Numbers("qwen2vl.rope.dimension_sections", {1, 1, 0, 0}), ""},
      {Gguf::Tiny("qwen2vl").Numbers("qwen2vl.rope.dimension_sections", {0, 0, 0, 2}), "nothing but 0"},
      {Gguf::Tiny("qwen2vl").Raw("qwen2vl.rope.dimension_sections", 9,
                                 Packed<std::uint32_t>(5) + Packed<std::uint64_t>(4) + Packed(1) + Packed(-1) + Packed(0) + Packed(0)),
       "-1 among"},
      {Gguf::Tiny("eagle3"), "works alone"},
      {Gguf::Tiny("clip"), "works alone"},
  });
}

}  // namespace
}  // namespace tollgate::inference
