// Taking a reply back. Where its sequence still runs the pool takes tokens back; where it has ended, another goes on from what is kept.
// What a reply has let go is never taken back: first it is tried to keep what stands before the span, then all that stood before the last
// piece. Each try makes the output anew from its beginning, so tries that come to nothing count, too. Quota for one token more is there
// before a sequence is stopped, so that a reply that cannot be written anew goes on as it was.
//
// Tested by tests/gateway/pipeline/retry_test.cpp.
#include <algorithm>

#include "gateway/async/run_on.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/relay.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

bool Relay::Retries() const { return !plan_.retries.empty(); }

// As much as a prompt of this size, or more: each of its tokens by itself where log-probabilities are wanted.
async::Awaitable<std::unique_ptr<ChoiceOutput>> Relay::TakenBack(const Choice& choice, std::size_t keep) {
  const bool large = plan_.logprobs || static_cast<std::int64_t>(choice.written.TextEnd(keep)) >= context_.with.options.inspect_here_bytes;
  auto work = [&choice, keep] { return choice.output->TakenBack(choice.written.First(keep)); };
  co_return co_await async::RunOnIf(large, context_.with.cpu, work);
}

// Whether the reply goes on from before what a rule found in it. `had`: how many tokens it had before its last piece.
async::Awaitable<absl::StatusOr<bool>> Relay::Retry(Choice& choice, std::size_t had) {
  while (const auto found = choice.output->NextFound()) {
    RetryState& state = choice.retried[found->rule_id];
    const Written& written = choice.written;
    const auto is_before = [&](const inference::OutputToken& token) { return token.text_end <= found->raw_begin; };
    bool tried = false;
    const auto first =
        static_cast<std::size_t>(std::partition_point(written.tokens.begin(), written.tokens.end(), is_before) - written.tokens.begin());
    for (const std::size_t keep : {first, std::max(first, had)}) {
      const int most = plan_.retries.find(found->rule_id)->second;
      if (state.times + state.in_vain >= most || keep >= written.tokens.size() || !written.EndsAt(keep)) continue;
      const std::int32_t banned = written.tokens[keep].id;
      if (banned == inference::kUnknownToken) continue;
      tried = true;
      std::unique_ptr<ChoiceOutput> anew = co_await TakenBack(choice, keep);
      if (anew == nullptr) continue;
      const auto base = static_cast<std::size_t>(choice.before_delivered);
      bool goes_on = !choice.ended && keep >= base && choice.tokens->Rewind(static_cast<std::int64_t>(keep - base), {banned});
      if (!goes_on) {
        absl::StatusOr<bool> again = co_await WriteAnew(choice, keep, banned);
        if (!again.ok()) co_return again;
        goes_on = *again;
      }
      if (!goes_on) continue;
      ++state.times;
      state.discarded_tokens += static_cast<std::int64_t>(written.tokens.size() - keep);
      v1::RawSpan& raw = choice.taken_back.emplace_back();
      raw.set_rule_id(found->rule_id);
      raw.set_offset(static_cast<std::int64_t>(written.TextEnd(keep)));
      raw.set_text(written.text.substr(written.TextEnd(keep)));
      raw.set_choice(choice.index);
      raw.set_channel("retried");
      choice.written.Cut(keep);
      choice.output = std::move(anew);
      co_return true;
    }
    if (tried) ++state.in_vain;
    state.gave_up = true;
  }
  co_return false;
}

// Another sequence goes on behind the first `keep` tokens. False, and nothing was done: there is no room, or no quota, for one more token;
// it is held to a form, which a sequence begins anew; or it had ended by itself, and the pool takes no other.
async::Awaitable<absl::StatusOr<bool>> Relay::WriteAnew(Choice& choice, std::size_t keep, std::int32_t banned) {
  inference::SequenceRequest rest = sequences_.request;
  if (keep > 0 && (rest.json || !rest.grammar.empty())) co_return false;
  for (std::size_t i = 0; i < keep; ++i) {
    if (const std::int32_t id = choice.written.tokens[i].id; id != inference::kUnknownToken) rest.prompt_tokens.push_back(id);
  }
  const auto kept = static_cast<std::int64_t>(keep);
  rest.max_tokens = std::min(rest.max_tokens - kept, sequences_.context_tokens - static_cast<std::int64_t>(rest.prompt_tokens.size()));
  if (rest.max_tokens < 1) co_return false;
  if (choice.paid <= (choice.ended ? choice.decoded : choice.allowed)) {
    TG_CO_ASSIGN(const std::int64_t more, co_await More());
    choice.paid += more;
    if (more == 0) co_return false;
  }
  const bool stopped = !choice.ended;
  co_await StopDecoding(choice, /*goes_on=*/true);
  if (!choice.ended) co_return base::Unavailable("the engine did not stop; send the request again");
  if (!choice.first_end) choice.first_end = choice.tokens->end();
  rest.sampling.seed += static_cast<std::uint64_t>(choice.index);
  rest.allowance = choice.paid - choice.decoded;
  rest.banned_first = {banned};
  rest.goes_on = true;
  auto stream = co_await GoOn(std::move(rest));
  if (!stream.ok() && !stopped) co_return false;
  if (!stream.ok()) co_return stream.status();
  AddServerUsage(choice.tokens->end().reported, replaced_);
  choice.tokens = *std::move(stream);
  choice.ended = false;
  choice.allowed = choice.paid;
  choice.before_tokens = choice.decoded;
  choice.before_delivered = kept;
  choice.before_bytes = static_cast<std::int64_t>(choice.written.TextEnd(keep));
  co_return true;
}

// Also of rules that want it and found something where nothing can be taken back: they gave up at once.
void Relay::FillRetries(v1::EndBody& end) const {
  const RetryRules& wanted = plan_.asks.policies->retries();
  if (wanted.empty()) return;
  for (const auto& choice : choices_) {
    auto retried = choice->retried;
    const v1::Verdict verdict = choice->output->Verdict();
    for (const v1::RuleOutcome& rule : verdict.rules()) {
      if (wanted.contains(rule.rule_id())) retried.try_emplace(rule.rule_id(), RetryState{.gave_up = true});
    }
    for (const auto& [rule, state] : retried) {
      v1::RetryOutcome* out = end.add_retries();
      out->set_rule_id(rule);
      out->set_times(state.times);
      out->set_discarded_tokens(state.discarded_tokens);
      out->set_gave_up(state.gave_up);
      out->set_choice(choice->index);
    }
  }
}

}  // namespace tollgate::pipeline
