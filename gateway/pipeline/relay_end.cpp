// How a relay's replies end, and what it tells of them afterwards.
// Tested by tests/gateway/pipeline/request_test.cpp, tests/gateway/pipeline/choices_test.cpp.
#include <algorithm>
#include <utility>

#include "gateway/explain/outcome.h"
#include "gateway/pipeline/relay.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

Ending Stopped() { return {.finish = v1::FINISH_REASON_STOP, .reason = "STOP"}; }

}  // namespace

Ending Relay::Blocked(Choice& choice) {
  if (!released_at_block_) released_at_block_ = released_bytes_;
  choice.released_at_block = choice.released_bytes;
  return {.finish = v1::FINISH_REASON_CONTENT_FILTER, .reason = "CONTENT_FILTER"};
}

// The reply is whole: what was held is decided, now or once others have answered about it. An ending here is that of the request.
std::optional<Ending> Relay::Finish(Choice& choice, Ending due) {
  BeginJudging();
  if (absl::Status rest = choice.output->Finish(); !rest.ok()) return Unjudged(std::move(rest));
  if (choice.output->blocked()) {
    choice.ending = Blocked(choice);
    return std::nullopt;
  }
  if (!due.status.ok()) return due;
  choice.due = std::move(due);
  return std::nullopt;
}

// What others are asked about the replies, and have answered; replies that are whole end here.
std::optional<Ending> Relay::Consult() {
  for (const auto& choice : choices_) {
    if (choice->ending) continue;
    if (absl::Status asked = choice->output->Consult(context_.model, context_.deadline, released_bytes_); !asked.ok())
      return Unjudged(std::move(asked));
    if (choice->output->blocked()) {
      choice->ending = Blocked(*choice);
      if (!choice->ended) choice->tokens->Cancel();
    } else if (choice->output->stopped() && !choice->due) {
      choice->tokens->Cancel();
      if (auto broken = Finish(*choice, Stopped())) return broken;
    }
    if (choice->ending || !choice->due || choice->output->waiting()) continue;
    choice->ending = choice->output->stopped() ? Stopped() : std::move(*choice->due);
    if (choice->ending->finish == v1::FINISH_REASON_STOP && choice->output->calls() > 0)
      choice->ending = Ending{.finish = v1::FINISH_REASON_TOOL_CALLS, .reason = "TOOL_CALLS"};
  }
  return std::nullopt;
}

Ending Relay::EndOf(const Choice& choice) const {
  Ending ending = EndingOf(choice.tokens->end());
  if (ending.reason == "QUOTA") ending.quota_reached = limited_by_;
  if (ending.reason == "DEADLINE") ending = watch_.Late(choice.decoded > 0 ? "its output was made" : "it waited for its first token");
  return ending;
}

// A blocked reply's sequence may still be stopping.
bool Relay::AllOver() const {
  return std::all_of(choices_.begin(), choices_.end(), [](const auto& choice) { return choice->ending.has_value(); });
}

Ending Relay::Together() const {
  Ending all = *choices_.front()->ending;
  for (const auto& choice : choices_) {
    if (all.quota_reached.empty()) all.quota_reached = choice->ending->quota_reached;
  }
  return all;
}

std::vector<OutputPiece> Relay::TakeRest() {
  std::vector<OutputPiece> rest;
  for (const auto& choice : choices_) {
    choice->rest_bytes = choice->output->pending_bytes();
    rest_bytes_ += choice->rest_bytes;
    choice->output->Released(choice->output->Frontier());
    rest.push_back(choice->output->Take());
  }
  return rest;
}

std::int64_t Relay::rest_bytes() const { return rest_bytes_; }

const inference::StreamEnd* Relay::FirstEnd(const Choice& choice) const {
  if (choice.first_end) return &*choice.first_end;
  return choice.ended ? &choice.tokens->end() : nullptr;
}

// The prompt counts once, as far as any of the replies came with it; what another reply worked through is no cache.
v1::TokenCounts Relay::Tokens() const {
  v1::TokenCounts tokens;
  std::int64_t decoded = 0, delivered = 0, reasoning = 0, input = 0, discarded = 0;
  std::optional<std::int64_t> cached;
  bool known = false;
  for (const auto& choice : choices_) {
    decoded += choice->decoded;
    const std::int64_t gone = choice->ended ? choice->tokens->end().tokens_taken_back : 0;
    if (Retries()) discarded += choice->before_tokens - choice->before_delivered + gone;
    delivered += std::min(choice->output->delivered_tokens(), choice->decoded);
    reasoning += choice->output->reasoning_tokens();
    const inference::StreamEnd* end = FirstEnd(*choice);
    if (end == nullptr) continue;
    known = true;
    input = std::max(input, end->input_tokens_evaluated);
    if (end->input_tokens_evaluated > 0) cached = std::min(cached.value_or(end->cached_input_tokens), end->cached_input_tokens);
  }
  if (!known) input = decoded > 0 ? context_.input_tokens : 0;
  tokens.set_input(input);
  tokens.set_cached_input(cached.value_or(0));
  tokens.set_output(decoded);
  tokens.set_discarded(std::min(discarded, decoded));
  tokens.set_delivered(delivered);
  tokens.set_reasoning(std::min(reasoning, decoded));
  return tokens;
}

// Of Tokens, while tokens still come.
std::int64_t Relay::CachedSoFar() const {
  std::optional<std::int64_t> cached;
  for (const auto& choice : choices_) {
    const inference::StreamEnd* end = FirstEnd(*choice);
    if (end == nullptr ? choice->decoded == 0 : end->input_tokens_evaluated == 0) continue;
    const std::int64_t its = end == nullptr ? choice->tokens->cached_input_tokens() : end->cached_input_tokens;
    cached = std::min(cached.value_or(its), its);
  }
  return cached.value_or(0);
}

v1::Verdict Relay::Verdict() const {
  v1::Verdict all = choices_.front()->output->Verdict();
  for (std::size_t i = 1; i < choices_.size(); ++i) MergeVerdict(choices_[i]->output->Verdict(), static_cast<int>(i), "", all);
  return all;
}

v1::Verdict Relay::ShadowVerdict() const {
  v1::Verdict all = choices_.front()->output->ShadowVerdict();
  for (std::size_t i = 1; i < choices_.size(); ++i) MergeVerdict(choices_[i]->output->ShadowVerdict(), static_cast<int>(i), "", all);
  return all;
}

void Relay::FillRaw(v1::SealedContent& content) const {
  for (const auto& choice : choices_) {
    choice->output->FillRaw(content);
    for (const v1::RawSpan& span : choice->taken_back) *content.add_raw() = span;
  }
  if (!sequences_.request.strict) return;
  const Choice& only = *choices_.front();
  v1::StrictOutput& output = *content.mutable_strict_output();
  output.mutable_tokens()->Add(only.ids.begin(), only.ids.end());
  if (!only.ended) return;
  const inference::StreamEnd& end = only.tokens->end();
  const bool by_itself = end.reason == inference::EndReason::kStop || end.reason == inference::EndReason::kLength;
  // It may have come to its end while a block of what came before was on its way: then the rest was dropped.
  output.set_complete(by_itself && end.tokens_delivered == static_cast<std::int64_t>(only.ids.size()));
}

std::int64_t Relay::pseudonyms_restored() const {
  std::int64_t all = 0;
  for (const auto& choice : choices_) all += choice->output->pseudonyms_restored();
  return all;
}

void Relay::FillGuards(v1::EndBody& end) const {
  for (const auto& choice : choices_) choice->output->FillGuards(end);
}

void Relay::FillServerUsage(v1::ServerUsage& usage) const {
  usage = replaced_;
  for (const auto& choice : choices_) {
    if (choice->ended) AddServerUsage(choice->tokens->end().reported, usage);
  }
}

void Relay::FillChoices(const Ending& all, v1::EndBody& end) const {
  int calls = 0;
  for (const auto& choice : choices_) {
    calls += choice->output->calls();
    if (choices_.size() == 1) continue;
    const Ending& its = choice->ending ? *choice->ending : all;
    v1::ChoiceOutcome* out = end.add_choices();
    out->set_finish_reason(its.finish);
    out->set_reason(its.reason);
    out->set_output_tokens(choice->decoded);
    out->set_delivered_bytes(choice->released_bytes + choice->rest_bytes);
    out->set_delivered_bytes_at_block(choice->released_at_block.value_or(0));
  }
  end.set_tool_calls(calls);
}

void Relay::FillChoices(const Ending& all, v1::ChatEnd& end) const {
  for (const auto& choice : choices_) {
    if (choices_.size() == 1) continue;
    v1::ChoiceEnd* out = end.add_choices();
    out->set_finish_reason(choice->ending ? choice->ending->finish : all.finish);
    out->set_output_tokens(choice->decoded);
    *out->mutable_output_policy() = explain::ToOutcome(choice->output->Verdict(), *plan_.asks.policies);
  }
}

steady_clock::duration Relay::engine_time() const {
  const Choice& first = *choices_.front();
  const inference::StreamEnd* end = FirstEnd(first);
  if (end == nullptr) return steady_clock::duration::zero();
  auto last = end->ended_at;
  for (const auto& choice : choices_) {
    if (choice->ended) last = std::max(last, choice->tokens->end().ended_at);
  }
  return last - end->submitted_at;
}

std::int64_t Relay::first_token_us() const {
  std::optional<std::int64_t> least;
  for (const auto& choice : choices_) {
    const inference::StreamEnd* end = FirstEnd(*choice);
    if (end == nullptr || !end->first_token_at) continue;
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(*end->first_token_at - end->submitted_at).count();
    least = std::min(least.value_or(us), us);
  }
  return least.value_or(0);
}

}  // namespace tollgate::pipeline
