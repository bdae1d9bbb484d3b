// Makes real models of a megabyte with random weights, so that tests of libllama are quick and need nothing from outside: a llama, a
// deepseek2 (multi-head latent attention, mixture of experts) and a bert (an encoder with a classifier of one class; its file says mean).
// 384 tokens: every byte, ChatML's control tokens, printable ASCII. Any text round-trips; what they say is noise, but the same noise for
// the same seed.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "inference/pool.h"
#include "tests/inference/tiny_gguf.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference::test {

constexpr std::int32_t kTinyVocab = 384;
constexpr std::int32_t kTinyImEnd = 260;
constexpr std::int32_t kTinyThought = 262;  // The end of one: a token that users define.
constexpr std::int32_t kTinySpace = 263;
constexpr std::int32_t kTinyControls = 358;                                             // The first of TinyVocabulary's own.
constexpr std::int32_t TinyToken(char c) { return kTinySpace + 1 + (c - '!'); }         // Of printable ASCII,
constexpr std::int32_t TinyByte(unsigned char byte) { return 3 + std::int32_t{byte}; }  // and of all else.

// What a vocabulary has beside the usual: control tokens (ChatML's are there), their type (3 control, 4 defined by users), the chat
// template, and a space that the tokenizer puts before each text.
struct TinyVocabulary {
  std::vector<std::string> controls;
  std::uint32_t type = 3;
  std::string chat_template;  // Empty: ChatML.
  bool space_first = false;
};
TinyVocabulary TinyMistral();                           // That of its models which call tools,
constexpr std::int32_t kTinyCalls = kTinyControls + 6;  // with [TOOL_CALLS],
constexpr std::int32_t kTinyAfter = kTinyControls + 8;  // and [/TOOL_RESULTS].

class TinyModel {
 public:
  // `scale`: of the weights; normally 0.1.
  explicit TinyModel(const std::string& architecture, std::uint64_t seed = 1, float scale = 0.1F, const TinyVocabulary& vocabulary = {});

  std::string Bytes() const { return file_.Bytes(); }
  const Gguf& file() const { return file_; }

  // The pool's options for it, once written to `folder`.
  ModelOptions WriteTo(const tollgate::test::TempDir& folder, int slots = 4, std::int64_t context_tokens = 512) const;

 private:
  using Shape = std::vector<std::uint64_t>;

  void Number(const std::string& key, std::uint32_t value) { file_.Number(arch_ + "." + key, value); }
  void Real(const std::string& key, float value) { file_.Raw(arch_ + "." + key, 6, Packed(value)); }
  void Tensor(const std::string& name, const Shape& shape);
  void Block(int i, const std::string& name, const Shape& shape) { Tensor("blk." + std::to_string(i) + "." + name + ".weight", shape); }
  void Head();
  void Tokenizer(const TinyVocabulary& vocabulary);
  void Ends(std::uint64_t width);
  void FeedForward(int i, std::uint64_t width, std::uint64_t hidden);
  void Llama();
  void Deepseek2();
  void Bert();

  std::string arch_;
  std::mt19937_64 random_;
  std::normal_distribution<float> normal_;
  Gguf file_;
};

}  // namespace tollgate::inference::test
