// What rules ask of shared state, after the reservation, so that a request which a quota refuses uses up neither a count nor an approval.
// All of it is one question. A request that goes no further after it passed gives its grants back: nothing was routed under them.
// Tested by tests/gateway/pipeline/gates_test.cpp.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/clock.h"
#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/gates/gates.h"
#include "gateway/pipeline/asked.h"
#include "gateway/pipeline/denial.h"
#include "gateway/pipeline/request.h"

namespace tollgate::pipeline {

using policy::Effect;
using policy::RuleOutcome;

namespace {

std::int64_t SecondsOf(const std::string& window) { return window == "minute" ? 60 : window == "hour" ? 3600 : 86'400; }

// What its count is kept under: a rule whose window changes begins anew, and a canary's limit is not the one in force.
std::string CountOf(const RuleOutcome& rule, bool canary) {
  return fmt::format("{}/{}{}", rule.rule_id, rule.effect.window, canary ? "/canary" : "");
}

// "a@1, b@2"
std::vector<std::string> TermsOf(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    std::string_view one = text.substr(at, comma - at);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (!one.empty()) out.emplace_back(one);
    at = comma + 1;
  }
  return out;
}

bool Has(const std::vector<std::string>& all, const std::string& one) { return std::find(all.begin(), all.end(), one) != all.end(); }

absl::Status NeedsEndUser(const RuleOutcome& rule) {
  return base::WithDetail(
      base::InvalidArgument(
          fmt::format("policy rule {} goes by the end user, and none is named: send the field end_user (HTTP: user)", rule.rule_id)),
      {.reason = "END_USER_NEEDED", .param = "end_user", .may_retry = false, .rule_ids = {rule.rule_id}});
}

absl::Status TooMany(const RuleOutcome& rule, std::int64_t reset_ms) {
  const Effect& limit = rule.effect;
  return base::WithDetail(
      base::ResourceExhausted(fmt::format("policy rule {} allows {} such requests in a {} for each {}: {} Try again in {} s", rule.rule_id,
                                          limit.amount, limit.window, limit.by, rule.because, (reset_ms + 999) / 1000)),
      {.reason = "RATE_LIMITED",
       .retry_after_ms = reset_ms,
       .may_retry = limit.window == "minute",
       .rule_ids = {rule.rule_id},
       .subject = limit.by});
}

// "policy rule a: Why. Policy rule b: Why."
std::string Because(const std::vector<const RuleOutcome*>& rules) {
  std::string out;
  for (const RuleOutcome* rule : rules) out += fmt::format("{}olicy rule {}: {} ", out.empty() ? 'p' : 'P', rule->rule_id, rule->because);
  return out;
}

bool AsksApproval(const policy::Verdict& verdict) { return FirstEffect(verdict, Effect::Kind::kApprove) != nullptr; }

std::vector<std::string> IdsOf(const std::vector<const RuleOutcome*>& rules) {
  std::vector<std::string> out;
  for (const RuleOutcome* rule : rules) out.push_back(rule->rule_id);
  return out;
}

Denial NotAccepted(const std::vector<const RuleOutcome*>& rules) {
  std::vector<std::string> terms;
  for (const RuleOutcome* rule : rules) {
    if (!Has(terms, rule->effect.text)) terms.push_back(rule->effect.text);
  }
  return {"TERMS_NOT_ACCEPTED",
          base::WithDetail(
              base::PermissionDenied(fmt::format(
                  "{}The end user has to accept {} first: show {}, and send the request again with the field accept_terms (HTTP: the "
                  "header x-tollgate-accept-terms) set to {}",
                  Because(rules), fmt::join(terms, " and "), terms.size() == 1 ? "it" : "them", fmt::join(terms, ","))),
              {.reason = "TERMS_NOT_ACCEPTED", .param = "accept_terms", .may_retry = false, .rule_ids = IdsOf(rules)})};
}

Denial NotApproved(const std::vector<const RuleOutcome*>& rules, const std::vector<gates::Answer::Waiting>& waiting) {
  std::vector<std::string> commands, ids;
  for (const gates::Answer::Waiting& one : waiting) {
    ids.push_back(one.id.ToString());
    commands.push_back(fmt::format("`tollgate policy approve {} --reason WHY`", ids.back()));
  }
  const bool once = std::any_of(rules.begin(), rules.end(), [](const RuleOutcome* rule) { return rule->effect.amount == 0; });
  return {
      "APPROVAL_NEEDED",
      base::WithDetail(
          base::PermissionDenied(fmt::format("{}It takes a second person's approval{}. Ask somebody to run {}, and send the "
                                             "request again{}",
                                             Because(rules), once ? " of this very prompt" : "", fmt::join(commands, " and "),
                                             once ? " as it is" : "")),
          {.reason = "APPROVAL_NEEDED", .may_retry = false, .rule_ids = IdsOf(rules), .subject = fmt::format("{}", fmt::join(ids, ","))})};
}

Denial TooManyWait(const std::vector<const RuleOutcome*>& rules) {
  return {"TOO_MANY_APPROVALS_WAIT",
          base::WithDetail(
              base::PermissionDenied(fmt::format(
                  "{}It takes a second person's approval of this very prompt, and {} other prompts of this key wait for one already. Ask "
                  "somebody to approve them or to turn them down (`tollgate policy approvals` lists them, `tollgate policy "
                  "revoke-approval ID --reason WHY` turns one down), and send the request again",
                  Because(rules), gates::kWaitingMax)),
              {.reason = "TOO_MANY_APPROVALS_WAIT", .may_retry = false, .rule_ids = IdsOf(rules)})};
}

template <typename Wanted>
std::vector<const RuleOutcome*> RulesWhere(const policy::Verdict& verdict, Effect::Kind kind, Wanted wanted) {
  std::vector<const RuleOutcome*> out;
  for (const RuleOutcome& rule : verdict.rules) {
    if (rule.effect.kind == kind && wanted(rule)) out.push_back(&rule);
  }
  return out;
}

}  // namespace

absl::StatusOr<gates::Ask> Request::WhatPolicyAsks() {
  const directory::Place& place = who_.place;
  gates::Ask ask{
      .org = place.org->id, .team = place.team->id, .key = place.key->id, .request = who_.request, .end_user = who_.end_user_hmac};
  const std::vector<std::string> offered = TermsOf(call_.accept_terms());
  base::Digest asked{};
  if (AsksApproval(inspection_.verdict)) asked = DigestOfAsked(call_, who_.end_user_hmac);
  for (const RuleOutcome& rule : inspection_.verdict.rules) {
    const Effect& effect = rule.effect;
    const bool by_end_user = effect.kind == Effect::Kind::kAccept || (effect.kind == Effect::Kind::kRateLimit && effect.by == "end_user");
    if (by_end_user && who_.end_user_hmac.empty()) return NeedsEndUser(rule);
    if (effect.kind == Effect::Kind::kAccept) {
      std::vector<std::string>& terms = Has(offered, effect.text) ? accepted_ : ask.terms;
      if (!Has(terms, effect.text)) terms.push_back(effect.text);
    }
    if (effect.kind == Effect::Kind::kApprove) ask.approvals.push_back({rule.rule_id, effect.amount, asked});
    if (effect.kind == Effect::Kind::kRateLimit) {
      gates::Rate rate{CountOf(rule, policies_.canary),
                       effect.by == "end_user"  ? who_.end_user_hmac
                       : effect.by == "key"     ? place.key->id.Bytes()
                       : effect.by == "project" ? place.project->id.Bytes()
                                                : place.team->id.Bytes(),
                       SecondsOf(effect.window), effect.amount};
      if (std::find(counted_.begin(), counted_.end(), rate) == counted_.end()) ask.rates.push_back(std::move(rate));
    }
  }
  return ask;
}

async::Awaitable<absl::Status> Request::PassGates() {
  auto find = [this] { return WhatPolicyAsks(); };
  // The digest of the prompt is work.
  const bool large = AsksApproval(inspection_.verdict) && IsLarge();
  absl::StatusOr<gates::Ask> found = co_await async::RunOnIf(large, with_.cpu, find);
  TG_CO_ASSIGN(const gates::Ask ask, std::move(found));
  if (ask.terms.empty() && ask.approvals.empty() && ask.rates.empty()) co_return absl::OkStatus();
  if (with_.gates == nullptr)
    co_return base::Unavailable(
        "policy asks for approvals, terms or rates, and this instance has no database for them: ask the operator to give it one");
  auto pass = [&](auto done) { with_.gates->Pass(ask, std::move(done)); };
  absl::StatusOr<gates::Answer> answer = co_await async::Callback<absl::StatusOr<gates::Answer>>(pass);
  if (!answer.ok()) co_return answer.status();
  approvals_ = answer->grants;
  if (answer->passes()) counted_.insert(counted_.end(), ask.rates.begin(), ask.rates.end());
  const policy::Verdict& verdict = inspection_.verdict;
  if (answer->full) {
    const auto its = [&](const RuleOutcome& rule) { return CountOf(rule, policies_.canary) == answer->full->rule; };
    co_return TooMany(*RulesWhere(verdict, Effect::Kind::kRateLimit, its).at(0), answer->full->reset_ms);
  }
  if (!answer->terms_missing.empty()) {
    const auto missing = [&](const RuleOutcome& rule) { return Has(answer->terms_missing, rule.effect.text); };
    denial_ = NotAccepted(RulesWhere(verdict, Effect::Kind::kAccept, missing));
  }
  if (!answer->waiting.empty()) {
    const auto waits = [&](const RuleOutcome& rule) {
      return std::any_of(answer->waiting.begin(), answer->waiting.end(), [&](const auto& one) { return one.rule == rule.rule_id; });
    };
    denial_ = NotApproved(RulesWhere(verdict, Effect::Kind::kApprove, waits), answer->waiting);
    for (const gates::Answer::Waiting& one : answer->waiting) approvals_.push_back(one.id);
  }
  if (!answer->crowded.empty()) {
    const auto crowded = [&](const RuleOutcome& rule) { return Has(answer->crowded, rule.rule_id); };
    denial_ = TooManyWait(RulesWhere(verdict, Effect::Kind::kApprove, crowded));
  }
  co_return absl::OkStatus();
}

// On record already; if it cannot be kept the end user is asked once more.
async::Awaitable<void> Request::AcceptTerms() {
  if (accepted_.empty()) co_return;
  auto accept = [&](auto done) { with_.gates->Accept(who_.place.team->id, who_.end_user_hmac, accepted_, who_.request, std::move(done)); };
  absl::StatusOr<bool> kept = co_await async::Callback<absl::StatusOr<bool>>(accept);
  if (!kept.ok()) base::Warn("pipeline", "accepted terms were not kept: {}", base::Message(kept.status()));
}

async::Awaitable<void> Request::GiveGrantsBack() {
  if (approvals_.empty()) co_return;
  auto give = [&](auto done) { with_.gates->GiveBack(who_.place.team->id, who_.request, approvals_, std::move(done)); };
  absl::StatusOr<bool> given = co_await async::Callback<absl::StatusOr<bool>>(give);
  if (!given.ok()) base::Warn("pipeline", "a grant that led nowhere stays used: {}", base::Message(given.status()));
}

}  // namespace tollgate::pipeline
