// The files follow the recipe that libllama's loader asks for: the keys of an architecture, a SentencePiece vocabulary that needs no
// training, and each tensor in F32; norms are 1, the rest is drawn from a normal distribution.
//
// Tested by tests/inference/tiny_model_test.cpp.
#include "tests/inference/tiny_model.h"

#include <fstream>

namespace tollgate::inference::test {

TinyVocabulary TinyMistral() {
  TinyVocabulary vocabulary;
  vocabulary.controls = {"[INST]",       "[/INST]",        "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
                         "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"};
  vocabulary.chat_template =
      "{{ bos_token }}{{ '[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]' }}{% for message in messages %}{{ '[INST] ' + "
      "message['content'] + '[/INST]' }}{% endfor %}";
  return vocabulary;
}

TinyModel::TinyModel(const std::string& architecture, std::uint64_t seed, float scale, const TinyVocabulary& vocabulary)
    : arch_(architecture), random_(seed), normal_(0, scale) {
  Head();
  Tokenizer(vocabulary);
  if (arch_ == "deepseek2") {
    Deepseek2();
  } else if (arch_ == "bert") {
    Bert();
  } else {
    Llama();
  }
}

ModelOptions TinyModel::WriteTo(const tollgate::test::TempDir& folder, int slots, std::int64_t context_tokens) const {
  ModelOptions model;
  model.name = arch_;
  model.file = folder.File(arch_ + ".gguf");
  std::ofstream(model.file, std::ios::binary) << Bytes();
  model.sha256 = *DigestOfFile(model.file);
  model.slots = slots;
  model.context_tokens = context_tokens;
  model.threads = 1;
  return model;
}

void TinyModel::Tensor(const std::string& name, const Shape& shape) {
  std::uint64_t count = 1;
  for (const std::uint64_t size : shape) count *= size;
  const bool norm = name.find("norm") != std::string::npos;
  std::vector<float> values(count, 1.0F);
  if (!norm) {
    for (float& value : values) value = normal_(random_);
  }
  file_.Values(name, shape, values);
}

void TinyModel::Head() {
  file_.Raw("general.architecture", 8, PackedText(arch_));
  Number("context_length", 2048);
  Number("block_count", 2);
  Number("vocab_size", kTinyVocab);
  Real("attention.layer_norm_rms_epsilon", 1e-5F);
  Real("rope.freq_base", 10000);
}

void TinyModel::Tokenizer(const TinyVocabulary& vocabulary) {
  std::string texts, scores, types;
  std::uint64_t count = 0;
  const auto add = [&](const std::string& text, float score, std::uint32_t type) {
    texts += PackedText(text);
    scores += Packed(score);
    types += Packed(type);
    ++count;
  };
  add("<unk>", 0, 2);
  add("<s>", 0, 3);
  add("</s>", 0, 3);
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) add(std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">", 0, 6);
  add("<|im_start|>", 0, 3);
  add("<|im_end|>", 0, 3);
  add("<think>", 0, 4);
  add("</think>", 0, 4);
  add("\xE2\x96\x81", -1, 1);
  for (char c = '!'; c <= '~'; ++c) add(std::string(1, c), -2.0F - static_cast<float>(c - '!'), 1);
  // In the places of their own even where ChatML's stand among them.
  for (const std::string& name : vocabulary.controls)
    add(name.starts_with("<|im_") && !name.ends_with("sep|>") ? name + "2" : name, 0, vocabulary.type);
  while (count < kTinyVocab) add("<unused" + std::to_string(count) + ">", 0, 5);
  const auto array = [&](std::uint32_t type, const std::string& elements) { return Packed(type) + Packed(count) + elements; };
  file_.Raw("tokenizer.ggml.model", 8, PackedText("llama"));
  file_.Raw("tokenizer.ggml.pre", 8, PackedText("default"));
  file_.Raw("tokenizer.ggml.tokens", 9, array(8, texts));
  file_.Raw("tokenizer.ggml.scores", 9, array(6, scores));
  file_.Raw("tokenizer.ggml.token_type", 9, array(5, types));
  file_.Number("tokenizer.ggml.bos_token_id", 1).Number("tokenizer.ggml.eos_token_id", 2).Number("tokenizer.ggml.unknown_token_id", 0);
  file_.Number("tokenizer.ggml.eot_token_id", kTinyImEnd);
  file_.Raw("tokenizer.ggml.add_space_prefix", 7, std::string(1, vocabulary.space_first ? '\1' : '\0'));
  file_.Raw(
      "tokenizer.chat_template", 8,
      PackedText(!vocabulary.chat_template.empty()
                     ? vocabulary.chat_template
                     : "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
                       "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"));
}

void TinyModel::Ends(std::uint64_t width) {
  Tensor("token_embd.weight", {width, kTinyVocab});
  Tensor("output_norm.weight", {width});
  Tensor("output.weight", {width, kTinyVocab});
}

void TinyModel::FeedForward(int i, std::uint64_t width, std::uint64_t hidden) {
  Block(i, "ffn_norm", {width});
  Block(i, "ffn_gate", {width, hidden});
  Block(i, "ffn_up", {width, hidden});
  Block(i, "ffn_down", {hidden, width});
}

void TinyModel::Llama() {
  constexpr std::uint64_t kE = 64, kHeads = 4, kKvHeads = 2, kF = 128, kHead = kE / kHeads;
  Number("embedding_length", kE);
  Number("feed_forward_length", kF);
  Number("attention.head_count", kHeads);
  Number("attention.head_count_kv", kKvHeads);
  Number("rope.dimension_count", kHead);
  Ends(kE);
  for (int i = 0; i < 2; ++i) {
    Block(i, "attn_norm", {kE});
    Block(i, "attn_q", {kE, kE});
    Block(i, "attn_k", {kE, kHead * kKvHeads});
    Block(i, "attn_v", {kE, kHead * kKvHeads});
    Block(i, "attn_output", {kE, kE});
    FeedForward(i, kE, kF);
  }
}

void TinyModel::Deepseek2() {
  constexpr std::uint64_t kE = 128, kHeads = 2, kQ = 32, kKv = 64, kRope = 16, kNope = 16, kV = 16, kF = 128;
  constexpr std::uint64_t kExperts = 4, kUsed = 2, kExpertF = 32;
  Number("embedding_length", kE);
  Number("feed_forward_length", kF);
  Number("attention.head_count", kHeads);
  Number("attention.head_count_kv", 1);
  Number("attention.q_lora_rank", kQ);
  Number("attention.kv_lora_rank", kKv);
  Number("attention.key_length", kKv + kRope);
  Number("attention.value_length", kKv);
  Number("attention.key_length_mla", kNope + kRope);
  Number("attention.value_length_mla", kV);
  Number("rope.dimension_count", kRope);
  Number("leading_dense_block_count", 1);
  Number("expert_count", kExperts);
  Number("expert_used_count", kUsed);
  Number("expert_shared_count", 1);
  Number("expert_feed_forward_length", kExpertF);
  Real("expert_weights_scale", 2.5F);
  Number("expert_gating_func", 2);
  Ends(kE);
  for (int i = 0; i < 2; ++i) {
    Block(i, "attn_norm", {kE});
    Block(i, "attn_q_a", {kE, kQ});
    Block(i, "attn_q_a_norm", {kQ});
    Block(i, "attn_q_b", {kQ, kHeads * (kNope + kRope)});
    Block(i, "attn_kv_a_mqa", {kE, kKv + kRope});
    Block(i, "attn_kv_a_norm", {kKv});
    Block(i, "attn_k_b", {kNope, kKv, kHeads});
    Block(i, "attn_v_b", {kKv, kV, kHeads});
    Block(i, "attn_output", {kHeads * kV, kE});
    if (i == 0) {
      FeedForward(i, kE, kF);
    } else {
      Block(i, "ffn_norm", {kE});
      Block(i, "ffn_gate_inp", {kE, kExperts});
      Block(i, "ffn_gate_exps", {kE, kExpertF, kExperts});
      Block(i, "ffn_up_exps", {kE, kExpertF, kExperts});
      Block(i, "ffn_down_exps", {kExpertF, kE, kExperts});
      Block(i, "ffn_gate_shexp", {kE, kExpertF});
      Block(i, "ffn_up_shexp", {kE, kExpertF});
      Block(i, "ffn_down_shexp", {kExpertF, kE});
    }
  }
}

void TinyModel::Bert() {
  constexpr std::uint64_t kE = 64, kHeads = 4, kF = 128;
  Number("embedding_length", kE);
  Number("feed_forward_length", kF);
  Number("attention.head_count", kHeads);
  Number("pooling_type", 1);
  Real("attention.layer_norm_epsilon", 1e-5F);
  file_.Raw("bert.attention.causal", 7, std::string(1, '\0'));
  file_.Raw("tokenizer.ggml.add_eos_token", 7, std::string(1, '\1'));
  file_.Number("tokenizer.ggml.token_type_count", 2);
  Tensor("token_embd.weight", {kE, kTinyVocab});
  Tensor("token_types.weight", {kE, 2});
  Tensor("position_embd.weight", {kE, 2048});
  for (const char* part : {"weight", "bias"}) Tensor(std::string("token_embd_norm.") + part, {kE});
  for (int i = 0; i < 2; ++i) {
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) Block(i, name, {kE, kE});
    Block(i, "ffn_up", {kE, kF});
    Block(i, "ffn_down", {kF, kE});
    for (const char* name : {"attn_output_norm", "layer_output_norm"}) {
      Block(i, name, {kE});
      Tensor("blk." + std::to_string(i) + "." + name + ".bias", {kE});
    }
  }
  Tensor("cls.output.weight", {kE, 1});
}

}  // namespace tollgate::inference::test
