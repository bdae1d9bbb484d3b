// How requests end: refused before they were admitted, denied by policy, or with their one terminal record.
// Tested by tests/gateway/pipeline/request_test.cpp.
#include <fmt/format.h>

#include <algorithm>

#include "audit/keys.h"
#include "base/clock.h"
#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/append.h"
#include "gateway/pipeline/request.h"
#include "gateway/pipeline/shadow.h"
#include "metering/books.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

std::string ReasonOf(const absl::Status& status) {
  const auto detail = base::DetailOf(status);
  return detail && !detail->reason.empty() ? detail->reason : std::string(absl::StatusCodeToString(status.code()));
}

// The text that goes out with the end, and the raw output that did not go out as it was.
v1::SealedContent ContentOf(const Ending& ending, const Relay& relay) {
  v1::SealedContent content;
  if (ending.status.ok()) {
    content.set_text(relay.text());
    FillLogprobs(relay.logprobs(), content);
  }
  auto add = [&](const std::string& rule_id, std::int64_t offset, const std::string& text) {
    v1::RawSpan* raw = content.add_raw();
    raw->set_rule_id(rule_id);
    raw->set_offset(offset);
    raw->set_text(text);
  };
  for (const policy::RawSpan& span : relay.filter().raw()) add(span.rule_id, span.offset, span.bytes);
  // After a block the filter keeps what it was given; the tail is what it was not.
  const std::int64_t offset = relay.undelivered().offset();
  const std::int64_t kept = relay.filter().blocked() ? relay.filter().pushed_bytes() - offset : 0;
  if (const auto& text = relay.undelivered().text(); static_cast<std::int64_t>(text.size()) > kept) add("", offset + kept, text.substr(kept));
  return content;
}

}  // namespace

absl::Status Request::Blocked(const policy::Verdict& verdict) {
  base::ErrorDetail detail{.reason = "POLICY_BLOCKED", .may_retry = false};
  std::string because;
  for (const policy::RuleOutcome& rule : verdict.rules) {
    if (rule.action != policy::Action::kBlock) continue;
    detail.rule_ids.push_back(rule.rule_id);
    if (because.empty()) because = rule.because;
  }
  return base::WithDetail(base::PermissionDenied(fmt::format("the prompt was blocked by policy rule {}{}{}", fmt::join(detail.rule_ids, ", "),
                                                             because.empty() ? "" : ": ", because)),
                          detail);
}

policy::Subject Request::SubjectOf() const {
  const directory::Place& place = who_.place;
  return {place.org->name, place.team->name, place.project->name, place.key->name, model_.name, began_s_};
}

std::int64_t Request::MicrosSinceReceipt() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - caller_.received).count();
}

Failure Request::FailureOf(absl::Status status, std::optional<audit::Position> position) const {
  Failure failure{.status = std::move(status)};
  if (principal_) failure.limits = LimitsOf(*with_.quotas, scopes_);
  if (position) {
    failure.head = head_;
    failure.head->model = model_.name;
    failure.head->route = led_;
    failure.head->log_id = position->log_id;
    failure.head->record_index = position->index;
  }
  return failure;
}

// Before admission: counted, not recorded one by one.
Outcome<Reply> Request::Refuse(absl::Status status) {
  refusals_.Count(who_.place, with_.keys->SourceHmac(caller_.source), ReasonOf(status));
  return FailureOf(std::move(status), std::nullopt);
}

// Policy said no: the prompt is on record, nothing is routed.
async::Awaitable<Outcome<Reply>> Request::Deny() {
  audit::Entry entry{.record = NewRecord(v1::RECORD_KIND_DENY, who_)};
  v1::DenyBody* body = entry.record.mutable_deny();
  body->set_model_requested(call_.model());
  body->set_surface(std::string(Name(caller_.surface)));
  body->set_policy_digest(std::string(base::View(policies_.acting->digest())));
  body->set_canary(policies_.canary);
  if (!shadow_.policy_digest().empty()) *body->mutable_shadow() = shadow_;
  with_.shadows->Add(false, inspection_.verdict, shadow_);
  *body->mutable_input_verdict() = ToProto(inspection_.verdict);
  body->set_client_request_id(caller_.client_request_id.empty() ? call_.client_request_id() : caller_.client_request_id);
  body->set_reason("POLICY_BLOCKED");
  v1::SealedContent content;
  *content.mutable_prompt() = call_.messages();
  entry.key = key_->row();
  absl::StatusOr<audit::Position> position = co_await SealAndAppend(with_, *key_, std::move(entry), content);
  if (!position.ok()) co_return Refuse(position.status());
  co_return FailureOf(Blocked(inspection_.verdict), *position);
}

v1::EndBody Request::EndBodyOf(const Ending& ending, const Relay* relay) const {
  v1::EndBody end;
  end.set_finish_reason(ending.finish);
  end.set_reason(ending.reason);
  end.mutable_price()->set_version(price_.version());
  end.mutable_price()->set_currency(price_.currency());
  end.set_total_us(MicrosSinceReceipt());
  for (const v1::GuardOutcome& outcome : guarded_) *end.add_guards() = outcome;
  if (!guarded_.empty()) *end.mutable_input_verdict() = ToProto(inspection_.verdict);
  if (relay == nullptr) return end;
  *end.mutable_tokens() = relay->Tokens();
  *end.mutable_output_verdict() = ToProto(relay->filter().verdict());
  if (policies_.shadow != nullptr) *end.mutable_shadow_output() = ShadowOf(*policies_.shadow, relay->filter());
  for (const v1::GuardOutcome& outcome : relay->guarded()) *end.add_guards() = outcome;
  with_.shadows->Add(true, relay->filter().verdict(), end.shadow_output());
  const bool all = ending.status.ok();
  end.set_delivered_bytes(relay->released_bytes() + (all ? static_cast<std::int64_t>(relay->text().size()) : 0));
  end.set_first_token_us(relay->first_token_us());
  return end;
}

// P3, P4: the one terminal record, and what was used, in one transaction.
async::Awaitable<Outcome<Reply>> Request::End(Ending ending, Relay* relay) {
  if (relay != nullptr && ending.status.ok()) relay->ReleaseRest();
  audit::Entry entry{.record = NewRecord(ending.kind, who_)};
  const base::WallTime now = with_.clock->Wall();
  entry.record.set_wall_us(base::ToMicros(now));
  v1::EndBody end = EndBodyOf(ending, relay);
  auto amount = metering::AmountOf(price_, end.tokens());
  auto companions = metering::Settlement(request_record_, now, end.tokens());
  if (!amount.ok() || !companions.ok()) {
    base::Error("pipeline", "request {} cannot be settled: {}", who_.request.ToString(),
                base::Message(amount.ok() ? companions.status() : amount.status()));
    TG_CHECK(false, "a request's tokens do not make a bill");
  }
  end.set_amount_nanos(amount->nanos);
  *entry.record.mutable_end() = end;
  entry.companions = *std::move(companions);
  absl::StatusOr<audit::Position> position;
  if (relay != nullptr) {
    const v1::SealedContent content = ContentOf(ending, *relay);
    position = co_await SealAndAppend(with_, *key_, std::move(entry), content);
  } else {
    position = co_await Append(with_, std::move(entry));
  }
  // Late is not lost: the journal keeps a terminal record until it is written, and its usage with it; for one that the database refuses
  // it settles the same usage.
  if (position.ok() || absl::IsDeadlineExceeded(position.status()) || absl::IsUnavailable(position.status())) with_.quotas->Settle(reservation_, end.tokens());
  if (!position.ok()) co_return FailureOf(ending.status.ok() ? position.status() : std::move(ending.status), std::nullopt);
  if (!ending.status.ok()) co_return FailureOf(std::move(ending.status), *position);
  Reply reply{.head = head_, .text = relay->text(), .logprobs = relay->logprobs()};
  reply.head.limits = LimitsOf(*with_.quotas, scopes_);
  reply.end.set_finish_reason(end.finish_reason());
  *reply.end.mutable_usage() = end.tokens();
  *reply.end.mutable_input_policy() = ToOutcome(inspection_.verdict);
  *reply.end.mutable_output_policy() = ToOutcome(relay->filter().verdict());
  reply.end.mutable_record()->set_log_id(position->log_id);
  reply.end.mutable_record()->set_index(position->index);
  reply.end.set_quota_reached(ending.quota_reached);
  const auto engine_us = std::chrono::duration_cast<std::chrono::microseconds>(relay->engine_time()).count();
  reply.overhead_us = std::max<std::int64_t>(0, MicrosSinceReceipt() - engine_us);
  co_return reply;
}

}  // namespace tollgate::pipeline
