// What came, as text and as tokens. Token ids are read as the text that they spell, before policy: what it scanned is what is tokenised,
// and no id stands for text that nobody read. A system prompt has no place here: a rule that appends to one refuses, by name, rather than
// to be forgotten; chat defaults put none, and their cap on input tokens holds. All of this is before anything is on record or paid for, so
// that none of it may cost more than what was sent: the query is made tokens once, and each step looks whether it may go on.
//
// Tested by tests/gateway/pipeline/embed_inputs_test.cpp.
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/embed_request.h"
#include "gateway/pipeline/prompt.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

namespace {

constexpr char kMaking[] = "its texts were made tokens";
constexpr std::size_t kIdBytesMost = 80;  // What one has been seen to spell.

}  // namespace

// Ids of another model's tokens are read by the one that was asked for, also where a rule sends the request elsewhere.
absl::Status EmbedRequest::ReadInputs() {
  Watch watch = NewWatch();
  for (std::size_t i = 0; i < ask_.tokens.size(); ++i) {
    if (!ask_.tokens[i]) continue;
    if (auto stop = watch.MustStop(kMaking)) return std::move(stop->status);
    const std::size_t ids = ask_.tokens[i]->size();
    if (static_cast<std::int64_t>(ids) > model_.context_tokens) return TooLong(i, ids, model_.context_tokens);
    auto text = with_.pool->TextOf(model_.name, *ask_.tokens[i]);
    if (absl::IsInvalidArgument(text.status())) return BadField(NameOf(i), base::Message(text.status()), "INVALID_TOKENS");
    TG_RETURN_IF_ERROR(text.status());
    if (text->empty()) return BadField(NameOf(i), "must not be empty");
    call_.mutable_messages(static_cast<int>(i))->set_parts(0, *std::move(text));
    TG_RETURN_IF_ERROR(CheckBytes());
  }
  return absl::OkStatus();
}

absl::Status EmbedRequest::CheckBytes() const {
  const std::int64_t bytes = TextBytes(), most = with_.options.limits.prompt_bytes_max;
  if (bytes <= most) return absl::OkStatus();
  return BadField(ask_.rerank ? "documents" : "input", fmt::format("holds {} bytes of text; at most {} are allowed", bytes, most));
}

// An id that is not read yet counts as four letters.
std::int64_t EmbedRequest::TextBytes() const {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < ask_.texts.size(); ++i) {
    const std::string& text = call_.messages(static_cast<int>(i)).parts(0);
    bytes += ask_.tokens[i] && text.empty() ? 4 * ask_.tokens[i]->size() : text.size();
  }
  return static_cast<std::int64_t>(bytes);
}

// What there is to work on: the query stands before each document, and an id may spell a long word.
std::int64_t EmbedRequest::Bytes() const {
  std::size_t more = ask_.rerank && ask_.texts.size() > 2 ? (ask_.texts.size() - 2) * ask_.texts[0].size() : 0;
  for (const auto& tokens : ask_.tokens) more += tokens ? kIdBytesMost * tokens->size() : 0;
  return TextBytes() + static_cast<std::int64_t>(more);
}

absl::Status EmbedRequest::TooLong(std::size_t text, std::size_t tokens, std::int64_t most) const {
  return BadField(NameOf(text),
                  fmt::format("is {} tokens long{} and {} takes {}: shorten it, or cut it into several", tokens,
                              ask_.rerank && text > 0 ? " with the query" : "", model_.name, most),
                  "CONTEXT_LENGTH_EXCEEDED");
}

absl::StatusOr<std::vector<std::vector<std::int32_t>>> EmbedRequest::InputsOf(const std::string& model,
                                                                              std::span<const policy::Message> prompt,
                                                                              std::int64_t most) const {
  const std::size_t first = ask_.rerank ? 1 : 0;
  std::vector<std::int32_t> query;
  if (ask_.rerank) {
    TG_ASSIGN(query, with_.pool->Tokenize(model, TextOf(prompt[0])));
    if (static_cast<std::int64_t>(query.size()) > most) return TooLong(0, query.size(), most);
  }
  std::vector<std::vector<std::int32_t>> inputs;
  std::int64_t all = 0;
  Watch watch = NewWatch();
  for (std::size_t i = first; i < prompt.size(); ++i) {
    if (auto stop = watch.MustStop(kMaking)) return std::move(stop->status);
    const std::string text = TextOf(prompt[i]);
    TG_ASSIGN(std::vector<std::int32_t> tokens, with_.pool->EmbedTokens(model, {text, query}));
    if (tokens.empty()) return BadField(NameOf(i), "has no tokens");
    if (static_cast<std::int64_t>(tokens.size()) > most) return TooLong(i, tokens.size(), most);
    all += static_cast<std::int64_t>(tokens.size());
    if (all > inference::kEmbedJobTokensMax) {
      return BadField(ask_.rerank ? "documents" : "input",
                      fmt::format("has more than {} tokens{}: ask with fewer at a time", inference::kEmbedJobTokensMax,
                                  ask_.rerank ? ", the query counted with each document" : ""),
                      "TOO_MANY_TOKENS");
    }
    inputs.push_back(std::move(tokens));
  }
  return inputs;
}

// For rules that measure the prompt: one that is too long for this model may be sent to another.
absl::StatusOr<std::vector<std::int32_t>> EmbedRequest::TokensOf(const std::string& model, std::span<const policy::Message> prompt) const {
  TG_ASSIGN(const auto inputs, InputsOf(model, prompt, inference::kEmbedJobTokensMax));
  std::vector<std::int32_t> all;
  for (const auto& tokens : inputs) all.insert(all.end(), tokens.begin(), tokens.end());
  return all;
}

absl::Status EmbedRequest::LayOut(std::span<const policy::Message> /*prompt*/) {
  if (const policy::RuleOutcome* rule = FirstEffect(inspection_.verdict, policy::Effect::Kind::kAppendSystem)) {
    return base::WithDetail(
        base::InvalidArgument(fmt::format("policy rule {} adds to the system prompt, which {} has no place for: its author can leave "
                                          "the model out of the rule",
                                          rule->rule_id, model_.name)),
        {.reason = "POLICY_NOT_APPLICABLE", .may_retry = false, .rule_ids = {rule->rule_id}});
  }
  if (ask_.return_documents) TG_RETURN_IF_ERROR(MayGiveDocuments());
  TG_ASSIGN(inputs_, InputsOf(model_.name, inspection_.prompt, model_.context_tokens));
  for (const auto& tokens : inputs_) prompt_tokens_.insert(prompt_tokens_.end(), tokens.begin(), tokens.end());
  return absl::OkStatus();
}

absl::Status EmbedRequest::MayGiveDocuments() const {
  for (const policy::Question& question : policies_.acting->QuestionsOfOutput(SubjectOf())) {
    if (question.shape != nullptr) continue;  // Nobody is asked.
    return base::WithDetail(
        base::InvalidArgument(fmt::format("policy rule {} asks {} about what is given out, which is not done for documents: leave "
                                          "return_documents out, and take their texts from the request",
                                          question.rule_id, question.name)),
        {.reason = "POLICY_NOT_APPLICABLE", .param = "return_documents", .may_retry = false, .rule_ids = {question.rule_id}});
  }
  return absl::OkStatus();
}

absl::Status EmbedRequest::CheckRoom() {
  return CheckInputTokens(principal_.snapshot->DefaultsOf(who_.place), static_cast<std::int64_t>(prompt_tokens_.size()));
}

// A document that is given back is written twice, as it stands in the answer and as that leaves.
std::int64_t EmbedRequest::AnswerBytes() const {
  if (ask_.rerank) return ask_.return_documents ? 2 * TextBytes() : 0;
  return static_cast<std::int64_t>(ask_.texts.size()) * (ask_.dimensions > 0 ? ask_.dimensions : model_.dimensions) * kNumberBytes;
}

}  // namespace tollgate::pipeline
