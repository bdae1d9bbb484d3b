// What rules ask of shared state, after the reservation, so that a request which a quota refuses uses up neither a count nor an approval. Terms
// first, for they cost nothing; an approval last, for a grant may be good for one request only.
// Tested by tests/gateway/pipeline/gates_test.cpp.
#include <fmt/format.h>

#include "base/clock.h"
#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "gateway/gates/gates.h"
#include "gateway/pipeline/request.h"

namespace tollgate::pipeline {

using policy::Effect;

namespace {

std::int64_t SecondsOf(const std::string& window) { return window == "minute" ? 60 : window == "hour" ? 3600 : 86'400; }

absl::Status NeedsEndUser(const policy::RuleOutcome& rule) {
  return base::WithDetail(
      base::InvalidArgument(fmt::format("policy rule {} goes by the end user, and none is named: send the field end_user (HTTP: user)", rule.rule_id)),
      {.reason = "END_USER_NEEDED", .param = "end_user", .may_retry = false, .rule_ids = {rule.rule_id}});
}

absl::Status TooMany(const policy::RuleOutcome& rule, const gates::RateAnswer& answer) {
  const Effect& limit = rule.effect;
  return base::WithDetail(base::ResourceExhausted(fmt::format("policy rule {} allows {} such requests in a {} for each {}: {} Try again in {} s",
                                                              rule.rule_id, limit.amount, limit.window, limit.by, rule.because,
                                                              (answer.reset_ms + 999) / 1000)),
                          {.reason = "RATE_LIMITED", .retry_after_ms = answer.reset_ms, .may_retry = limit.window == "minute",
                           .rule_ids = {rule.rule_id}, .subject = limit.by});
}

Denial NotAccepted(const policy::RuleOutcome& rule) {
  return {"TERMS_NOT_ACCEPTED",
          base::WithDetail(base::PermissionDenied(fmt::format(
                               "policy rule {}: {} The end user has to accept {} first: show it, and send the request again with the field "
                               "accept_terms (HTTP: the header x-tollgate-accept-terms) set to {}",
                               rule.rule_id, rule.because, rule.effect.text, rule.effect.text)),
                           {.reason = "TERMS_NOT_ACCEPTED", .param = "accept_terms", .may_retry = false, .rule_ids = {rule.rule_id}})};
}

Denial NotApproved(const policy::RuleOutcome& rule, base::Uuid id) {
  return {"APPROVAL_NEEDED",
          base::WithDetail(base::PermissionDenied(fmt::format("policy rule {} wants a second person's approval: {} Ask somebody to run "
                                                              "`tollgate policy approve {} --reason WHY`, and send the request again",
                                                              rule.rule_id, rule.because, id.ToString())),
                           {.reason = "APPROVAL_NEEDED", .may_retry = false, .rule_ids = {rule.rule_id}, .subject = id.ToString()})};
}

}  // namespace

async::Awaitable<absl::Status> Request::PassGates() {
  for (const Effect::Kind kind : {Effect::Kind::kAccept, Effect::Kind::kRateLimit, Effect::Kind::kApprove}) {
    for (const policy::RuleOutcome& rule : inspection_.verdict.rules) {
      if (rule.effect.kind != kind) continue;
      if (with_.gates == nullptr) co_return base::Unavailable(fmt::format("policy rule {} asks what nothing here can answer", rule.rule_id));
      absl::Status status;
      if (kind == Effect::Kind::kAccept) status = co_await CheckTerms(rule);
      if (kind == Effect::Kind::kRateLimit) status = co_await CountRate(rule);
      if (kind == Effect::Kind::kApprove) status = co_await CheckApproval(rule);
      if (!status.ok() || denial_) co_return status;
    }
  }
  co_return absl::OkStatus();
}

async::Awaitable<absl::Status> Request::CountRate(const policy::RuleOutcome& rule) {
  const Effect& limit = rule.effect;
  if (limit.by == "end_user" && who_.end_user_hmac.empty()) co_return NeedsEndUser(rule);
  const directory::Place& place = who_.place;
  gates::RateAsk ask{place.team->id, rule.rule_id, "", SecondsOf(limit.window), limit.amount};
  ask.who = limit.by == "end_user"  ? who_.end_user_hmac
            : limit.by == "key"     ? place.key->id.Bytes()
            : limit.by == "project" ? place.project->id.Bytes()
                                    : place.team->id.Bytes();
  auto count = [&](auto done) { with_.gates->CountRate(ask, std::move(done)); };
  absl::StatusOr<gates::RateAnswer> answer = co_await async::Callback<absl::StatusOr<gates::RateAnswer>>(count);
  if (!answer.ok()) co_return answer.status();
  co_return answer->allowed ? absl::OkStatus() : TooMany(rule, *answer);
}

async::Awaitable<absl::Status> Request::CheckTerms(const policy::RuleOutcome& rule) {
  if (who_.end_user_hmac.empty()) co_return NeedsEndUser(rule);
  if (call_.accept_terms() == rule.effect.text) {
    accepted_ = rule.effect.text;
    co_return absl::OkStatus();
  }
  const gates::TermsAsk ask{who_.place.team->id, who_.end_user_hmac, rule.effect.text};
  auto find = [&](auto done) { with_.gates->HasAccepted(ask, std::move(done)); };
  absl::StatusOr<bool> has = co_await async::Callback<absl::StatusOr<bool>>(find);
  if (!has.ok()) co_return has.status();
  if (!*has) denial_ = NotAccepted(rule);
  co_return absl::OkStatus();
}

async::Awaitable<absl::Status> Request::CheckApproval(const policy::RuleOutcome& rule) {
  const directory::Place& place = who_.place;
  const gates::ApprovalAsk ask{place.org->id, place.team->id, place.key->id, rule.rule_id, who_.request, rule.effect.amount};
  auto find = [&](auto done) { with_.gates->FindApproval(ask, std::move(done)); };
  absl::StatusOr<gates::ApprovalAnswer> answer = co_await async::Callback<absl::StatusOr<gates::ApprovalAnswer>>(find);
  if (!answer.ok()) co_return answer.status();
  approvals_.push_back(answer->id);
  if (!answer->granted) denial_ = NotApproved(rule, answer->id);
  co_return absl::OkStatus();
}

// On record already; if it cannot be kept the end user is asked once more.
async::Awaitable<void> Request::AcceptTerms() {
  const gates::TermsAsk ask{who_.place.team->id, who_.end_user_hmac, accepted_};
  auto accept = [&](auto done) { with_.gates->Accept(ask, who_.request, std::move(done)); };
  absl::StatusOr<bool> kept = co_await async::Callback<absl::StatusOr<bool>>(accept);
  if (!kept.ok()) base::Warn("pipeline", "accepted terms were not kept: {}", base::Message(kept.status()));
}

}  // namespace tollgate::pipeline
