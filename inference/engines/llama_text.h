// LlamaText: texts as the tokens that a model which embeds or reranks was trained on, and back. Immutable, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/embed.h"

struct llama_model;
struct llama_vocab;

namespace tollgate::inference {

class LlamaText {
 public:
  // `pairs`: queries and documents come together. FAILED_PRECONDITION: the file does not say how they are laid out.
  static absl::StatusOr<LlamaText> Make(const llama_model* model, bool pairs);

  // As embed.h says. Nothing in a text becomes a control token.
  absl::StatusOr<std::vector<std::int32_t>> Tokens(const EmbedText& text) const;
  absl::StatusOr<std::vector<std::int32_t>> Plain(std::string_view text) const;  // Without any around it.
  absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> tokens) const;

  std::int64_t tokens() const { return tokens_; }  // Of the vocabulary.
  std::vector<std::string> Names() const;          // How its control tokens are written, and what else it takes for no text.

 private:
  explicit LlamaText(const llama_vocab* vocab);
  absl::Status ReadTemplate(std::string_view layout);
  absl::Status LayPairs(const char* layout);
  absl::Status LayTexts();
  void FindSpelt();
  absl::Status AppendText(std::string_view text, std::vector<std::int32_t>& tokens) const;  // Callers'.
  absl::Status Append(std::string_view text, bool around, bool special, std::vector<std::int32_t>& tokens) const;

  const llama_vocab* vocab_;  // Of the model, which outlives this.
  std::int64_t tokens_;
  bool pairs_ = false;
  bool query_first_ = true;
  std::vector<std::int32_t> before_, between_, behind_;  // Of a text: before and behind; of a pair, all three.
  std::vector<std::string> spelt_;                       // Control tokens that the file marks as users' own.
};

}  // namespace tollgate::inference
