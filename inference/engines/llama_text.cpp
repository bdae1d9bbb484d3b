// How it works. What the tokenizer puts around a text is what it puts around one letter. A pair is laid out by the file's own template for
// reranking, if it has one: its words are read with control tokens, what stands in its places without. Else as cross-encoders are trained:
// begin, query, end and separator where the vocabulary adds them, document, and the last of those again. Control tokens that a file marks
// as ones that users define, libllama finds in any text: text that spells one is tokenised in two pieces, as llama_vocab.h says. Those are
// the layout's own and what is written <|so|>.
//
// Tested by tests/inference/embed_engine_test.cpp.
#include "inference/engines/llama_text.h"

#include <algorithm>
#include <exception>
#include <limits>

#include <fmt/format.h>
#include <llama.h>

#include "base/encoding.h"
#include "inference/engines/llama_library.h"
#include "inference/engines/llama_vocab.h"

namespace tollgate::inference {
namespace {

constexpr std::string_view kQuery = "{query}";
constexpr std::string_view kDocument = "{document}";

}  // namespace

LlamaText::LlamaText(const llama_vocab* vocab) : vocab_(vocab), tokens_(llama_vocab_n_tokens(vocab)) {}

absl::StatusOr<LlamaText> LlamaText::Make(const llama_model* model, bool pairs) {
  const LlamaLoading loading;  // What the tokenizer is to put around a text, the vocabulary may lack.
  LlamaText text(llama_model_get_vocab(model));
  text.pairs_ = pairs;
  TG_RETURN_IF_ERROR(pairs ? text.LayPairs(llama_model_chat_template(model, "rerank")) : text.LayTexts());
  text.FindSpelt();
  return text;
}

absl::Status LlamaText::LayPairs(const char* layout) {
  if (layout != nullptr) return ReadTemplate(layout);
  const std::int32_t separator = llama_vocab_sep(vocab_);
  const std::int32_t end = llama_vocab_eos(vocab_) >= 0 ? llama_vocab_eos(vocab_) : separator;
  const bool ends = llama_vocab_get_add_eos(vocab_) && end >= 0;
  const bool separates = llama_vocab_get_add_sep(vocab_) && separator >= 0;
  if (llama_vocab_get_add_bos(vocab_) && llama_vocab_bos(vocab_) >= 0) before_.push_back(llama_vocab_bos(vocab_));
  if (ends) between_.push_back(end);
  if (separates) between_.push_back(separator);
  if (ends || separates) behind_.push_back(ends ? end : separator);
  if (!between_.empty()) return absl::OkStatus();
  return base::FailedPrecondition("the file does not say what stands between a query and a document: use a newer conversion of the model");
}

absl::Status LlamaText::LayTexts() {
  std::vector<std::int32_t> alone, whole;
  TG_RETURN_IF_ERROR(Append("a", false, false, alone));
  TG_RETURN_IF_ERROR(Append("a", true, false, whole));
  const auto at = std::search(whole.begin(), whole.end(), alone.begin(), alone.end());
  if (at == whole.end()) return absl::OkStatus();
  before_.assign(whole.begin(), at);
  behind_.assign(at + static_cast<std::ptrdiff_t>(alone.size()), whole.end());
  return absl::OkStatus();
}

void LlamaText::FindSpelt() {
  const auto laid = [this](std::int32_t token) {
    return std::count(before_.begin(), before_.end(), token) + std::count(between_.begin(), between_.end(), token) +
               std::count(behind_.begin(), behind_.end(), token) >
           0;
  };
  for (std::int32_t token = 0; token < static_cast<std::int32_t>(tokens_); ++token) {
    if ((llama_vocab_get_attr(vocab_, token) & LLAMA_TOKEN_ATTR_USER_DEFINED) == 0) continue;
    const std::string_view name = llama_vocab_get_text(vocab_, token);
    const bool control = name.size() > 4 && name.starts_with("<|") && name.ends_with("|>");
    if (name.size() > 1 && (control || laid(token))) spelt_.emplace_back(name);
  }
}

std::vector<std::string> LlamaText::Names() const {
  std::vector<std::string> names = spelt_;
  for (std::int32_t token = 0; token < static_cast<std::int32_t>(tokens_); ++token) {
    if ((llama_vocab_get_attr(vocab_, token) & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) == 0) continue;
    const std::string_view name = llama_vocab_get_text(vocab_, token);
    if (name.size() > 1) names.emplace_back(name);
  }
  return names;
}

absl::Status LlamaText::ReadTemplate(std::string_view layout) {
  const std::size_t query = layout.find(kQuery), document = layout.find(kDocument);
  if (query == std::string_view::npos || document == std::string_view::npos)
    return base::FailedPrecondition("the file's template for reranking has no place for a query and a document");
  query_first_ = query < document;
  const std::string_view first = query_first_ ? kQuery : kDocument, second = query_first_ ? kDocument : kQuery;
  const std::size_t one = std::min(query, document), other = std::max(query, document);
  TG_RETURN_IF_ERROR(Append(layout.substr(0, one), false, true, before_));
  TG_RETURN_IF_ERROR(Append(layout.substr(one + first.size(), other - one - first.size()), false, true, between_));
  return Append(layout.substr(other + second.size()), false, true, behind_);
}

absl::Status LlamaText::Append(std::string_view text, bool around, bool special, std::vector<std::int32_t>& tokens) const {
  if (text.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max() / 2))
    return base::InvalidArgument("the text is longer than 1 GiB");
  const std::size_t begin = tokens.size();
  auto room = static_cast<std::int32_t>(text.size() + 8);
  try {
    for (int attempt = 0; attempt < 2; ++attempt) {
      tokens.resize(begin + static_cast<std::size_t>(room));
      const int count =
          llama_tokenize(vocab_, text.data(), static_cast<std::int32_t>(text.size()), tokens.data() + begin, room, around, special);
      if (count >= 0) {
        tokens.resize(begin + static_cast<std::size_t>(count));
        return absl::OkStatus();
      }
      if (count == std::numeric_limits<std::int32_t>::min()) break;
      room = -count;
    }
  } catch (const std::exception& e) {
    return base::Internal(fmt::format("the tokenizer failed: {}", e.what()));
  }
  return base::InvalidArgument("the text has too many tokens");
}

absl::Status LlamaText::AppendText(std::string_view text, std::vector<std::int32_t>& tokens) const {
  for (const std::string_view piece : CutNames(text, spelt_)) TG_RETURN_IF_ERROR(Append(piece, false, false, tokens));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::int32_t>> LlamaText::Tokens(const EmbedText& text) const {
  if (!base::IsValidUtf8(text.text)) return base::InvalidArgument("the text is not valid UTF-8");
  std::vector<std::int32_t> tokens = before_;
  const auto add = [&tokens](std::span<const std::int32_t> more) { tokens.insert(tokens.end(), more.begin(), more.end()); };
  if (pairs_ && query_first_) add(text.query);
  if (pairs_ && query_first_) add(between_);
  TG_RETURN_IF_ERROR(AppendText(text.text, tokens));
  if (pairs_ && !query_first_) add(between_);
  if (pairs_ && !query_first_) add(text.query);
  add(behind_);
  return tokens;
}

absl::StatusOr<std::vector<std::int32_t>> LlamaText::Plain(std::string_view text) const {
  if (!base::IsValidUtf8(text)) return base::InvalidArgument("the text is not valid UTF-8");
  std::vector<std::int32_t> tokens;
  TG_RETURN_IF_ERROR(AppendText(text, tokens));
  return tokens;
}

absl::StatusOr<std::string> LlamaText::TextOf(std::span<const std::int32_t> tokens) const {
  const std::size_t both = before_.size() + behind_.size();
  if (tokens.size() >= both && std::equal(before_.begin(), before_.end(), tokens.begin()) &&
      std::equal(behind_.rbegin(), behind_.rend(), tokens.rbegin())) {
    tokens = tokens.subspan(before_.size(), tokens.size() - both);
  }
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= tokens_)
      return base::InvalidArgument(fmt::format("{} is not one of the model's tokens, 0 to {}", token, tokens_ - 1));
    if (llama_vocab_is_control(vocab_, token))
      return base::InvalidArgument(fmt::format("{} is a control token: send those of text alone", token));
  }
  std::string text(tokens.size() * 8 + 16, '\0');
  try {
    for (int attempt = 0; attempt < 2; ++attempt) {
      const int size = llama_detokenize(vocab_, tokens.data(), static_cast<std::int32_t>(tokens.size()), text.data(),
                                        static_cast<std::int32_t>(text.size()), false, false);
      if (size >= 0) {
        text.resize(static_cast<std::size_t>(size));
        if (!base::IsValidUtf8(text))
          return base::InvalidArgument("the tokens spell bytes that are not UTF-8, so that policy cannot read them");
        return text;
      }
      text.resize(static_cast<std::size_t>(-size));
    }
  } catch (const std::exception& e) {
    return base::Internal(fmt::format("the tokenizer failed: {}", e.what()));
  }
  return base::InvalidArgument("the tokens have too much text");
}

}  // namespace tollgate::inference
