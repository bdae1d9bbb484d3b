// How requests end: refused before the REQUEST record, denied by policy, or with their one terminal record.
// Tested by tests/gateway/pipeline/request_test.cpp, tests/gateway/pipeline/faults_test.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "audit/keys.h"
#include "base/clock.h"
#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/explain/outcome.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/append.h"
#include "gateway/pipeline/judge.h"
#include "gateway/pipeline/request.h"
#include "gateway/pipeline/shadow.h"
#include "metering/books.h"
#include "policy/policy_set.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

std::string ReasonOf(const absl::Status& status) {
  const auto detail = base::DetailOf(status);
  return detail && !detail->reason.empty() ? detail->reason : std::string(absl::StatusCodeToString(status.code()));
}

void GiveRest(std::vector<OutputPiece>& rest, Reply& reply) {
  OutputPiece& first = rest.front();
  reply.text = std::move(first.text);
  reply.logprobs = std::move(first.logprobs);
  reply.thought = std::move(first.thought);
  reply.calls = std::move(first.calls);
  reply.more.assign(std::make_move_iterator(rest.begin() + 1), std::make_move_iterator(rest.end()));
}

}  // namespace

policy::Subject Request::SubjectOf() const {
  policy::Subject subject = pipeline::SubjectOf(principal_, call_, *key_, model_.name, began_s_);
  subject.pseudonyms = inspection_.pseudonyms;
  return subject;
}

std::int64_t Request::MicrosSinceReceipt() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - (before_ ? before_->began : caller_.received)).count();
}

std::int64_t Request::OverheadUs() const {
  const auto engine_us = std::chrono::duration_cast<std::chrono::microseconds>(EngineTime()).count();
  return std::max<std::int64_t>(0, MicrosSinceReceipt() - engine_us) + (before_ ? before_->overhead_us : 0);
}

Failure Request::FailureOf(absl::Status status, std::optional<audit::Position> position) const {
  Failure failure{.status = std::move(status)};
  failure.limits = LimitsOf(*with_.quotas, scopes_);
  if (position) {
    failure.head = head_;
    failure.head->model = model_.name;
    failure.head->told_route = told_route_;
    failure.head->log_id = position->log_id;
    failure.head->record_index = position->index;
  }
  return failure;
}

// Before the REQUEST record: counted by second, not recorded one by one. What was admitted and reserved goes back with its destructors.
Outcome<Reply> Request::Refuse(absl::Status status) {
  if (before_ && IsOfTheModel(status)) return PassOn(status);
  shared_.refusals.Count(who_.place, with_.keys->SourceHmac(caller_.source), ReasonOf(status));
  return FailureOf(std::move(status), std::nullopt);
}

template <typename Body>
void Request::FillJudged(Body* body) {
  body->set_model(model_.name);
  FillAdapters(model_, body->mutable_adapters());
  body->set_routed_by(routed_by_);
  body->set_surface(std::string(Name(caller_.surface)));
  body->set_counted_tokens(counted_tokens_);
  FillContinues(before_, body);
  body->set_policy_digest(std::string(base::View(policies_.acting->digest())));
  body->set_canary(policies_.canary);
  if (!shadow_.policy_digest().empty()) *body->mutable_shadow() = shadow_;
  *body->mutable_input_verdict() = ToProto(inspection_.verdict);
  shared_.shadows.Add(false, body->input_verdict(), shadow_);
  body->set_terms_accepted(fmt::format("{}", fmt::join(accepted_, ",")));
  for (const base::Uuid& approval : approvals_) body->add_approvals(approval.Bytes());
  body->set_client_request_id(caller_.client_request_id.empty() ? call_.client_request_id() : caller_.client_request_id);
}
template void Request::FillJudged(v1::RequestBody*);

v1::SealedContent Request::AskedContent() const {
  v1::SealedContent content;
  *content.mutable_prompt() = call_.messages();
  *content.mutable_tools() = call_.tools();
  *content.mutable_caller_system() = defaults_.caller_system;
  content.set_justification(call_.justification());
  content.set_output_schema(call_.output_form().has_grammar() ? call_.output_form().grammar() : call_.output_form().json_schema());
  return content;
}

// Policy said no: the prompt is on record, nothing is routed.
async::Awaitable<Outcome<Reply>> Request::Deny() {
  audit::Entry entry{.record = NewRecord(v1::RECORD_KIND_DENY, who_)};
  v1::DenyBody* body = entry.record.mutable_deny();
  body->set_model_requested(call_.model());
  FillJudged(body);
  body->set_reason(denial_->reason);
  *body->mutable_defaults() = defaults_.in_force;
  const v1::SealedContent content = AskedContent();  // Whoever is to approve it has to see all of it.
  entry.key = key_->row();
  absl::StatusOr<audit::Position> position = co_await SealAndAppend(with_, *key_, std::move(entry), content);
  if (!position.ok()) co_return Refuse(position.status());
  co_await AcceptTerms();
  co_return FailureOf(denial_->status, *position);
}

v1::EndBody Request::EndBodyOf(const Ending& ending) const {
  v1::EndBody end;
  end.set_finish_reason(ending.finish);
  end.set_reason(ending.reason);
  end.mutable_price()->set_version(price_.version());
  end.mutable_price()->set_currency(price_.currency());
  end.set_total_us(MicrosSinceReceipt());
  for (const v1::GuardOutcome& outcome : guarded_) *end.add_guards() = outcome;
  for (v1::GuardUsage& usage : guards_->usage()) *end.add_guard_usage() = std::move(usage);
  if (!guarded_.empty()) *end.mutable_input_verdict() = ToProto(inspection_.verdict);
  FillEnd(ending, end);
  return end;
}

// A record that was long on its way: what its caller may have is asked again. The record then tells of more than left.
std::optional<absl::Status> Request::LostWhile(steady_clock::time_point since, const Ending& ending) const {
  if (!ending.status.ok() || steady_clock::now() - since < with_.options.authority_check) return std::nullopt;
  if (auto lost = LostAuthority(with_, principal_, model_.name)) return std::move(lost->status);
  return std::nullopt;
}

// P3, P4: the one terminal record, and what was used, in one transaction.
async::Awaitable<Outcome<Reply>> Request::End(Ending ending) {
  co_await guards_->Stop();
  std::vector<OutputPiece> rest;
  if (ending.status.ok()) rest = TakeRest();
  audit::Entry entry{.record = NewRecord(ending.kind, who_)};
  const base::WallTime now = with_.clock->Wall();
  entry.record.set_wall_us(base::ToMicros(now));
  v1::EndBody end = EndBodyOf(ending);
  auto find = [&] {
    FindNext(end, ending);
    return true;
  };
  // It may read grammars and schemas.
  if (IsOfTheModel(ending)) co_await async::RunOnIf(IsLarge(), with_.cpu, find);
  const absl::Status amounts = metering::FillAmounts(price_, end);
  auto companions = metering::Settlement(request_record_, now, end);
  if (!amounts.ok() || !companions.ok()) {
    base::Error("pipeline", "request {} cannot be settled: {}", who_.request.ToString(),
                base::Message(amounts.ok() ? companions.status() : amounts));
    TG_CHECK(false, "a request's tokens do not make a bill");
  }
  *entry.record.mutable_end() = end;
  entry.companions = *std::move(companions);
  absl::StatusOr<audit::Position> position;
  const auto appending = steady_clock::now();
  v1::SealedContent content;
  for (const OutputPiece& piece : rest) FillReleased(piece, content);
  for (const v1::GuardAnswerText& said : guard_said_) *content.add_guard_answers() = said;
  if (FillRaw(content) || !guard_said_.empty()) {
    position = co_await SealAndAppend(with_, *key_, std::move(entry), content);
  } else {
    position = co_await Append(with_, std::move(entry));
  }
  // Late is not lost: the journal keeps a terminal record until it is written, and its usage with it; for one that the database refuses
  // it settles the same usage.
  if (position.ok() || absl::IsDeadlineExceeded(position.status()) || absl::IsUnavailable(position.status()))
    with_.quotas->Settle(reservation_, metering::AllTokens(end));
  if (!position.ok()) next_.reset();
  if (!position.ok()) co_return FailureOf(ending.status.ok() ? position.status() : std::move(ending.status), std::nullopt);
  if (auto lost = LostWhile(appending, ending)) co_return FailureOf(std::move(*lost), *position);
  if (!ending.status.ok()) co_return HandOver(FailureOf(std::move(ending.status), *position));
  Reply reply{.head = head_};
  if (!rest.empty()) GiveRest(rest, reply);
  reply.head.limits = LimitsOf(*with_.quotas, scopes_);
  reply.end.set_finish_reason(end.finish_reason());
  *reply.end.mutable_usage() = end.tokens();
  *reply.end.mutable_input_policy() = explain::ToOutcome(inspection_.verdict);
  *reply.end.mutable_output_policy() = explain::ToOutcome(end.output_verdict(), *policies_.acting);
  FillReply(ending, reply.end);
  reply.end.mutable_record()->set_log_id(position->log_id);
  reply.end.mutable_record()->set_index(position->index);
  reply.end.set_quota_reached(ending.quota_reached);
  reply.overhead_us = OverheadUs();
  co_return reply;
}

}  // namespace tollgate::pipeline
