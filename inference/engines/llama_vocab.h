// LlamaVocab: the tokens of a model: text to tokens and back, and the layout of a conversation as tokens. Immutable, any thread.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "inference/chat_format.h"
#include "inference/token_order.h"

struct llama_model;
struct llama_vocab;

namespace tollgate::inference {

// The text in pieces that put together are it, none of which holds one of `names` whole.
std::vector<std::string_view> CutNames(std::string_view text, std::span<const std::string> names);

class LlamaVocab {
 public:
  // FAILED_PRECONDITION if a control token that the format needs is not one token of the vocabulary, or one that callers could write.
  static absl::StatusOr<LlamaVocab> Make(const llama_model* model, ChatFormat format);

  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const;

  // As Pool::RenderParts. What callers write becomes none of the tokens that the trusted parts spell, however the file marks those.
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const;

  // Appends the tokens of text that is nothing but text.
  absl::Status Tokenize(std::string_view text, std::vector<std::int32_t>& tokens) const;

  // As Tokenize, of text that goes on behind other text: also where the tokenizer puts a space before each, there is none.
  absl::Status TokenizeNext(std::string_view text, std::vector<std::int32_t>& tokens) const;

  std::int64_t tokens() const { return static_cast<std::int64_t>(ends_.size()); }
  std::string_view Bytes(std::int32_t token) const;  // Of a control token: none, but for those that begin calls of tools.
  bool EndsTurn(std::int32_t token) const { return end_of_turn_[static_cast<std::size_t>(token)]; }
  const ChatFormat& format() const { return format_; }
  const TokenOrder& order() const { return order_; }  // Of all that have bytes and end no turn.

 private:
  LlamaVocab(const llama_vocab* vocab, ChatFormat format) : vocab_(vocab), format_(std::move(format)) {}
  absl::Status AddPieces();
  absl::Status AddControls();
  absl::Status CheckSpelt();
  void AddMark(std::int32_t token, std::string name, bool written);
  std::string_view MarkAt(std::string_view text) const;  // The longest that the text begins with; empty: none.
  absl::Status TokenizeBehind(std::string_view text, std::vector<std::int32_t>& tokens) const;
  // As Tokenize, but that none of `names` becomes a token.
  absl::Status TokenizeCut(std::string_view text, std::span<const std::string> names, std::vector<std::int32_t>& tokens) const;

  const llama_vocab* vocab_;  // Of the model, which outlives this.
  ChatFormat format_;
  std::string bytes_;                // Of all tokens, one after the other.
  std::vector<std::uint32_t> ends_;  // Where each one's end in bytes_.
  std::vector<bool> end_of_turn_;
  TokenOrder order_;
  std::unordered_map<std::string, std::int32_t> controls_;  // Those the format needs.
  struct Mark {
    std::int32_t token;
    bool written;  // The tokenizer would find it in plain text.
  };
  std::map<std::string, Mark, std::less<>> marks_;  // All tokens that stand for no text, and those that users define.
  std::bitset<256> mark_begins_;                    // With which bytes they begin.
  std::size_t mark_bytes_max_ = 0;
  std::vector<std::string> spelt_;  // Those of them that the tokenizer would find in plain text.
  bool begins_ = false;             // Every prompt opens with the model's begin token.
  bool space_first_ = false;        // The tokenizer puts a space before each text.
};

}  // namespace tollgate::inference
