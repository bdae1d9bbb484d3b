// How it works. Pieces are read once, so that a step copies nothing. A prompt is laid out by ChatFormat; text goes through the tokenizer
// with special tokens off, control tokens are put in by id. The tokenizer is thread-safe.
//
// Tested by tests/inference/model_test.cpp.
#include "inference/engines/llama_vocab.h"

#include <algorithm>
#include <exception>
#include <limits>

#include <fmt/format.h>
#include <llama.h>

namespace tollgate::inference {
namespace {

// One token's text as libllama writes it; `special`: of control tokens too.
std::string PieceOf(const llama_vocab* vocab, std::int32_t token, bool special) {
  std::string piece(32, '\0');
  int size = llama_token_to_piece(vocab, token, piece.data(), static_cast<int>(piece.size()), 0, special);
  if (size < 0) {
    piece.resize(static_cast<std::size_t>(-size));
    size = llama_token_to_piece(vocab, token, piece.data(), static_cast<int>(piece.size()), 0, special);
  }
  piece.resize(static_cast<std::size_t>(std::max(size, 0)));
  return piece;
}

}  // namespace

absl::StatusOr<LlamaVocab> LlamaVocab::Make(const llama_model* model, ChatFormat format) {
  LlamaVocab vocab(llama_model_get_vocab(model), std::move(format));
  TG_RETURN_IF_ERROR(vocab.AddPieces());
  TG_RETURN_IF_ERROR(vocab.AddControls());
  vocab.begins_ = llama_vocab_get_add_bos(vocab.vocab_) && llama_vocab_bos(vocab.vocab_) >= 0;
  return vocab;
}

absl::Status LlamaVocab::AddPieces() {
  const int count = llama_vocab_n_tokens(vocab_);
  ends_.reserve(static_cast<std::size_t>(count));
  end_of_turn_.reserve(static_cast<std::size_t>(count));
  for (int token = 0; token < count; ++token) {
    bytes_ += PieceOf(vocab_, token, false);
    if (bytes_.size() > std::numeric_limits<std::uint32_t>::max())
      return base::FailedPrecondition("the model's tokens have more than 4 GiB of text");
    ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    end_of_turn_.push_back(llama_vocab_is_eog(vocab_, token));
  }
  return absl::OkStatus();
}

absl::Status LlamaVocab::AddControls() {
  const std::vector<std::string> wanted = format_.controls();
  for (std::int32_t token = 0; token < static_cast<std::int32_t>(ends_.size()); ++token) {
    if (!llama_vocab_is_control(vocab_, token)) continue;
    const std::string text = PieceOf(vocab_, token, true);
    if (std::find(wanted.begin(), wanted.end(), text) != wanted.end()) controls_.emplace(text, token);
  }
  for (const std::string& name : wanted) {
    if (!controls_.contains(name)) {
      return base::FailedPrecondition(fmt::format(
          "the model's chat template uses {}, which is no control token of its vocabulary: the file does not fit its template", name));
    }
  }
  return absl::OkStatus();
}

std::string_view LlamaVocab::Bytes(std::int32_t token) const {
  const auto i = static_cast<std::size_t>(token);
  const std::uint32_t from = i == 0 ? 0 : ends_[i - 1];
  return std::string_view(bytes_).substr(from, ends_[i] - from);
}

absl::StatusOr<std::vector<std::int32_t>> LlamaVocab::Render(std::span<const Turn> turns) const {
  TG_ASSIGN(const std::vector<ChatPart> parts, format_.Lay(turns));
  std::vector<std::int32_t> tokens;
  if (begins_) tokens.push_back(llama_vocab_bos(vocab_));
  for (const ChatPart& part : parts) {
    if (part.control) {
      tokens.push_back(controls_.at(part.text));
    } else {
      TG_RETURN_IF_ERROR(Tokenize(part.text, tokens));
    }
  }
  return tokens;
}

absl::Status LlamaVocab::Tokenize(std::string_view text, std::vector<std::int32_t>& tokens) const {
  if (text.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max() / 2))
    return base::InvalidArgument("the prompt's text is longer than 1 GiB");
  const std::size_t before = tokens.size();
  const auto size = static_cast<std::int32_t>(text.size());
  try {
    // A token has at least one byte of text, or two for a space that the tokenizer puts first.
    tokens.resize(before + text.size() + 2);
    int count = llama_tokenize(vocab_, text.data(), size, tokens.data() + before, size + 2, false, false);
    if (count < 0 && count != std::numeric_limits<std::int32_t>::min()) {
      tokens.resize(before + static_cast<std::size_t>(-count));
      count = llama_tokenize(vocab_, text.data(), size, tokens.data() + before, -count, false, false);
    }
    if (count < 0) return base::InvalidArgument("the prompt's text has too many tokens");
    tokens.resize(before + static_cast<std::size_t>(count));
  } catch (const std::exception& e) {
    return base::Internal(fmt::format("the tokenizer failed: {}", e.what()));
  }
  return absl::OkStatus();
}

}  // namespace tollgate::inference
