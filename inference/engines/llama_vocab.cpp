// How it works. Pieces are read once, so that a step copies nothing. A prompt is laid out by ChatFormat; text goes through the tokenizer
// with special tokens off, control tokens are put in by id. The tokenizer is thread-safe. Some files mark a control token as one that users
// define, which libllama finds in text even with special tokens off: text that spells it is tokenised in two pieces, cut inside of it.
// White space beside a token that takes it in (Phi-3's) is dropped, as libllama does where it reads a prompt as a whole.
//
// Tested by tests/inference/model_test.cpp, tests/inference/chat_families_test.cpp.
#include "inference/engines/llama_vocab.h"

#include <algorithm>
#include <exception>
#include <limits>

#include <fmt/format.h>
#include <llama.h>

namespace tollgate::inference {
namespace {

constexpr std::string_view kWhite = " \t\n\r\f\v";

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
  const auto bytes_of = [&](std::int32_t token) { return vocab.EndsTurn(token) ? std::string_view() : vocab.Bytes(token); };
  vocab.order_ = TokenOrder(static_cast<std::int32_t>(vocab.tokens()), bytes_of);
  vocab.begins_ = (llama_vocab_get_add_bos(vocab.vocab_) || vocab.format_.begins()) && llama_vocab_bos(vocab.vocab_) >= 0;
  return vocab;
}

absl::Status LlamaVocab::AddPieces() {
  const int count = llama_vocab_n_tokens(vocab_);
  const std::vector<std::string> marks = format_.tool_marks();
  ends_.reserve(static_cast<std::size_t>(count));
  end_of_turn_.reserve(static_cast<std::size_t>(count));
  for (int token = 0; token < count; ++token) {
    const std::string piece = PieceOf(vocab_, token, false);
    bytes_ += piece;
    if (piece.empty() && !marks.empty()) {
      if (const std::string name = PieceOf(vocab_, token, true); std::find(marks.begin(), marks.end(), name) != marks.end()) bytes_ += name;
    }
    if (bytes_.size() > std::numeric_limits<std::uint32_t>::max())
      return base::FailedPrecondition("the model's tokens have more than 4 GiB of text");
    ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
    end_of_turn_.push_back(llama_vocab_is_eog(vocab_, token));
  }
  return absl::OkStatus();
}

absl::Status LlamaVocab::AddControls() {
  const std::vector<std::string> needed = format_.controls();
  const std::vector<std::string> of_tools = format_.tool_controls();
  std::vector<std::string> wanted = needed;
  wanted.insert(wanted.end(), of_tools.begin(), of_tools.end());
  for (std::int32_t token = 0; token < static_cast<std::int32_t>(ends_.size()); ++token) {
    const bool control = llama_vocab_is_control(vocab_, token);
    if (!control && (llama_vocab_get_attr(vocab_, token) & LLAMA_TOKEN_ATTR_USER_DEFINED) == 0) continue;
    const std::string text = PieceOf(vocab_, token, true);
    AddMark(token, text, !control);
    if (!control && std::find(of_tools.begin(), of_tools.end(), text) != of_tools.end()) continue;  // Callers could write it.
    if (std::find(wanted.begin(), wanted.end(), text) == wanted.end() || !controls_.emplace(text, token).second) continue;
    if (!control) spelt_.push_back(text);
  }
  if (llama_vocab_bos(vocab_) >= 0) controls_["{bos}"] = llama_vocab_bos(vocab_);
  if (llama_vocab_eos(vocab_) >= 0) controls_["{eos}"] = llama_vocab_eos(vocab_);
  for (const std::string& name : of_tools) {
    if (!controls_.contains(name)) format_.DropTools();
  }
  for (const std::string& name : needed) {
    if (!controls_.contains(name)) {
      return base::FailedPrecondition(fmt::format(
          "the model's chat format, {}, uses {}, which is no control token of its vocabulary: the file does not fit its template",
          format_.name(), name));
    }
  }
  end_of_turn_[static_cast<std::size_t>(controls_.at(format_.turn_end()))] = true;
  return CheckSpelt();
}

// A cut text is as good as a whole one only where the tokenizer puts no space before each.
absl::Status LlamaVocab::CheckSpelt() {
  std::vector<std::int32_t> tokens;
  if (const absl::Status read = Tokenize("a", tokens); !read.ok()) return spelt_.empty() ? absl::OkStatus() : read;
  std::string text;
  for (const std::int32_t token : tokens) text += Bytes(token);
  space_first_ = text == " a";
  if (spelt_.empty() || text == "a") return absl::OkStatus();
  return base::FailedPrecondition(
      fmt::format("the file marks {} as a token that users write, so that callers' text could become it; use a newer conversion of the "
                  "model, which marks "
                  "it as a control token",
                  spelt_.front()));
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
  const auto takes = [&](std::int32_t token, llama_token_attr side) { return (llama_vocab_get_attr(vocab_, token) & side) != 0; };
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].control) {
      tokens.push_back(controls_.at(parts[i].text));
      continue;
    }
    std::string_view text = parts[i].text;
    if (i > 0 && takes(controls_.at(parts[i - 1].text), LLAMA_TOKEN_ATTR_RSTRIP)) {
      text.remove_prefix(std::min(text.find_first_not_of(kWhite), text.size()));
    }
    if (i + 1 < parts.size() && takes(controls_.at(parts[i + 1].text), LLAMA_TOKEN_ATTR_LSTRIP)) {
      text = text.substr(0, text.find_last_not_of(kWhite) + 1);
    }
    TG_RETURN_IF_ERROR(TokenizeCut(text, spelt_, tokens));
  }
  return tokens;
}

// White space and single letters are nobody's marks.
void LlamaVocab::AddMark(std::int32_t token, std::string name, bool written) {
  if (name.size() < 3 || name.find_first_not_of(kWhite) == std::string::npos) return;
  mark_begins_.set(static_cast<unsigned char>(name[0]));
  mark_bytes_max_ = std::max(mark_bytes_max_, name.size());
  marks_.emplace(std::move(name), Mark{token, written});
}

std::string_view LlamaVocab::MarkAt(std::string_view text) const {
  if (text.empty() || !mark_begins_.test(static_cast<unsigned char>(text[0]))) return {};
  for (std::size_t size = std::min(mark_bytes_max_, text.size()); size > 0; --size) {
    if (marks_.contains(text.substr(0, size))) return text.substr(0, size);
  }
  return {};
}

absl::StatusOr<std::vector<std::int32_t>> LlamaVocab::RenderParts(std::span<const PromptPart> parts) const {
  std::vector<std::int32_t> tokens;
  if (begins_) tokens.push_back(llama_vocab_bos(vocab_));
  std::vector<std::string> used;                             // Of those that the tokenizer would find in plain text.
  std::vector<std::pair<std::string, std::int32_t>> pieces;  // Text, or a token.
  const auto add_text = [&](std::string_view text) {
    if (text.empty()) return;
    if (pieces.empty() || pieces.back().second >= 0) pieces.emplace_back("", -1);
    pieces.back().first += text;
  };
  for (const PromptPart& part : parts) {
    const std::string_view text = part.text;
    for (std::size_t at = 0; at < text.size();) {
      const std::string_view mark = part.trusted ? MarkAt(text.substr(at)) : text.substr(at);
      if (!part.trusted || mark.empty()) {
        const std::string_view next = part.trusted ? text.substr(at, 1) : mark;
        add_text(next);
        at += next.size();
        continue;
      }
      const auto found = marks_.find(mark);
      if (found->second.written) used.push_back(found->first);
      const bool again = pieces.empty() && begins_ && found->second.token == tokens[0];  // The prompt spells its own begin token.
      if (!again) pieces.emplace_back("", found->second.token);
      at += mark.size();
    }
  }
  for (const auto& [text, token] : pieces) {
    if (token >= 0) {
      tokens.push_back(token);
    } else {
      TG_RETURN_IF_ERROR(TokenizeCut(text, used, tokens));
    }
  }
  if (tokens.empty()) return base::InvalidArgument("the prompt is empty");
  return tokens;
}

std::vector<std::string_view> CutNames(std::string_view text, std::span<const std::string> names) {
  std::vector<std::string_view> pieces;
  std::size_t from = 0;
  for (std::size_t i = 0; !names.empty() && i < text.size(); ++i) {
    const bool spelt = std::any_of(names.begin(), names.end(), [&](const std::string& name) { return text.substr(i).starts_with(name); });
    if (!spelt) continue;
    pieces.push_back(text.substr(from, i + 1 - from));
    from = i + 1;
  }
  if (from < text.size()) pieces.push_back(text.substr(from));
  return pieces;
}

absl::Status LlamaVocab::TokenizeCut(std::string_view text, std::span<const std::string> names, std::vector<std::int32_t>& tokens) const {
  for (const std::string_view piece : CutNames(text, names)) TG_RETURN_IF_ERROR(Tokenize(piece, tokens));
  return absl::OkStatus();
}

// The tokenizer puts a space behind each token that it finds whole, too, so those are cut out first.
absl::Status LlamaVocab::TokenizeNext(std::string_view text, std::vector<std::int32_t>& tokens) const {
  if (!space_first_) return Tokenize(text, tokens);
  std::size_t from = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto found = marks_.find(MarkAt(text.substr(at)));
    if (found == marks_.end() || !found->second.written) {
      ++at;
      continue;
    }
    TG_RETURN_IF_ERROR(TokenizeBehind(text.substr(from, at - from), tokens));
    tokens.push_back(found->second.token);
    from = at += found->first.size();
  }
  return TokenizeBehind(text.substr(from), tokens);
}

// Behind a byte that no token has beside others, so that it stays by itself, and the space with it.
absl::Status LlamaVocab::TokenizeBehind(std::string_view text, std::vector<std::int32_t>& tokens) const {
  if (text.empty()) return absl::OkStatus();
  std::vector<std::int32_t> begin, whole;
  const std::string behind = "\1";
  if (Tokenize(behind, begin).ok() && Tokenize(behind + std::string(text), whole).ok() && whole.size() > begin.size() &&
      std::equal(begin.begin(), begin.end(), whole.begin())) {
    tokens.insert(tokens.end(), whole.begin() + static_cast<std::ptrdiff_t>(begin.size()), whole.end());
    return absl::OkStatus();
  }
  return Tokenize(text, tokens);
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
