// Run() is the request. What can be refused cheaply is refused first; nothing is kept, counted or computed for a caller who is not known.
// From the REQUEST record on there is exactly one way out, End(), which appends the one terminal record with usage and ledger (P3, P4).
// Tested by tests/gateway/pipeline/request_test.cpp, tests/gateway/pipeline/faults_test.cpp.
#include "gateway/pipeline/request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "audit/keys.h"
#include "base/clock.h"
#include "gateway/async/run_on.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/append.h"
#include "gateway/pipeline/judge.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/route.h"
#include "gateway/pipeline/shadow.h"
#include "gateway/pipeline/tool_prompt.h"
#include "gateway/pipeline/watch.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t kValuesSealedHere = 64;  // More than these are sealed on the cpu executor.

}  // namespace

Request::Request(Shared& shared, const Caller& caller, identity::Principal principal, const v1::ChatRequest& call, StreamWriter* writer,
                 Cancellation& cancellation, async::Event& event)
    : shared_(shared),
      with_(shared.with),
      caller_(caller),
      call_(call),
      writer_(writer),
      cancellation_(cancellation),
      event_(event),
      began_s_(base::ToMicros(with_.clock->Wall()) / 1'000'000),
      limit_(TimeLimitOf(caller, with_.options, steady_clock::now())),
      deadline_(limit_.at),
      patience_(cancellation_, shared_.shutting_down, deadline_, limit_.remedy),
      principal_(std::move(principal)) {
  who_.request = caller.request_id;
  who_.place = principal_.place;
}

async::Awaitable<Outcome<Reply>> Request::Run() {
  auto admit = [this] { return Admit(); };
  absl::Status status = co_await async::RunOnIf(IsLarge(), with_.cpu, admit);
  if (!status.ok()) co_return Refuse(std::move(status));
  status = co_await MakeKey();
  if (!status.ok()) co_return Refuse(std::move(status));
  status = co_await Inspect();
  if (denial_ || !(status.ok() || absl::IsUnavailable(status))) {
    // It was work: nobody probes a policy without end.
    absl::Status counted = co_await CountRequest(with_, admission_);
    if (!counted.ok()) co_return Refuse(std::move(counted));
  }
  if (!status.ok()) co_return Refuse(std::move(status));
  if (denial_) co_return co_await Deny();
  status = co_await Reserve();
  if (!status.ok()) co_return Refuse(std::move(status));
  status = co_await PassGates();
  // What a rule refuses was work, and no tokens. That nobody could be asked is not the caller's doing.
  if (denial_ || !(status.ok() || absl::IsUnavailable(status))) with_.quotas->Settle(reservation_, v1::TokenCounts());
  if (!status.ok()) co_return Refuse(std::move(status));
  if (denial_) co_return co_await Deny();
  if (auto stop = MustStop()) {
    co_await GiveGrantsBack();
    co_return Refuse(std::move(stop->status));
  }
  status = co_await Record();
  if (!status.ok()) {
    co_await GiveGrantsBack();
    co_return Refuse(std::move(status));
  }
  guards_.emplace(shared_, principal_, who_.request, event_, reservation_, inspection_.prompt);
  // For requests that are on record alone; values before anybody meets their pseudonyms.
  co_await AcceptTerms();
  status = co_await KeepPseudonyms();
  std::optional<Ending> denied;
  if (status.ok()) {
    denied = co_await AskOthers();
  } else {
    denied = Broken("KEYS_UNAVAILABLE", std::move(status));
  }
  if (denied) {
    co_await GiveGrantsBack();
    co_return co_await End(std::move(*denied));
  }
  co_return co_await Generate();
}

Watch Request::NewWatch() const { return {with_, principal_, model_.name, cancellation_, shared_.shutting_down, deadline_, limit_.remedy}; }

std::optional<Ending> Request::MustStop() const { return NewWatch().MustStopNow("its prompt was judged"); }

int Request::SequencesAsked() const { return std::max(1, call_.choices()); }

// It would hold up the I/O thread.
bool Request::IsLarge() const { return Bytes() >= with_.options.inspect_here_bytes; }

absl::Status Request::Admit() {
  policies_ = principal_.snapshot->JudgesOf(who_.place, caller_.request_id);
  scopes_ = ScopesOf(who_.place);
  const bool field = caller_.surface == Surface::kGrpc;
  TG_RETURN_IF_ERROR(CheckClientRequestId(caller_.client_request_id, field ? "client_request_id" : "x-client-request-id"));
  TG_RETURN_IF_ERROR(CheckCall());
  TG_RETURN_IF_ERROR(FindModel());
  TG_RETURN_IF_ERROR(Fits(model_));
  TG_ASSIGN(price_, principal_.snapshot->PriceOf(model_.name, with_.clock->Wall()));
  if (before_) return absl::OkStatus();
  TG_ASSIGN(admission_, with_.quotas->Admit(scopes_));
  return absl::OkStatus();
}

policy::KeepGoing Request::KeepGoing() {
  return [this] { return patience_.Ask(); };
}

absl::Status Request::Judge(std::span<const policy::Message> prompt) {
  const Judging how{with_,
                    principal_,
                    who_.request,
                    policies_,
                    SubjectOf(),
                    [this, prompt](const std::string& model) { return TokensOf(model, prompt); },
                    [this](const inference::ModelInfo& model) { return Fits(model); },
                    SequencesAsked(),
                    KeepGoing()};
  TG_ASSIGN(Judged judged, JudgePrompt(how, prompt));
  if (!patience_.here()) patience_.Begin(with_.options.judge_max);  // A shadow that takes all of it refuses nothing.
  shadow_ = ShadowOf(policies_.shadow.get(), judged.subject, prompt, KeepGoing());
  if (patience_.here() && patience_.ran_out()) return patience_.Ask();
  counted_tokens_ = std::max<std::int64_t>(0, judged.subject.prompt_tokens);
  inspection_ = std::move(judged.inspection);
  routed_by_ = std::move(judged.routed_by);
  if (judged.route) {
    told_route_ = std::move(judged.route->told);
    model_ = std::move(judged.route->model);
    TG_ASSIGN(price_, principal_.snapshot->PriceOf(model_.name, with_.clock->Wall()));
  }
  if (call_.output_form().has_grammar()) inspection_.verdict.not_scanned.push_back("output_grammar");
  return absl::OkStatus();
}

// Before there is work for it, or policy says anything. Of a model that a rule chose anew, where that makes a difference.
absl::Status Request::TakeRoom() {
  if (AnswerBytes() == room_bytes_) return absl::OkStatus();
  room_.reset();
  room_bytes_ = AnswerBytes();
  TG_ASSIGN(room_, shared_.answers.Take(TenantOf(who_.place), room_bytes_));
  return absl::OkStatus();
}

// Policy, then the exact tokens of the prompt as it will be used.
async::Awaitable<absl::Status> Request::Inspect() {
  auto work = [this]() -> absl::Status {
    if (auto stop = MustStop()) return std::move(stop->status);  // It may have waited for long.
    TG_RETURN_IF_ERROR(TakeRoom());
    TG_RETURN_IF_ERROR(ReadInputs());
    const std::vector<policy::Message> prompt = PolicyPrompt(call_);
    TG_RETURN_IF_ERROR(Judge(prompt));
    denial_ = DenialOf(inspection_.verdict, call_);
    if (denial_) return absl::OkStatus();
    TG_RETURN_IF_ERROR(TakeRoom());
    return LayOut(prompt);
  };
  absl::Status status =
      co_await RunJudgement(IsLarge(), policies_.acting->digest(), shared_.slow, patience_, with_.options.judge_max, with_.cpu, work);
  if (!status.ok() || denial_) co_return status;
  co_return CheckRoom();
}

async::Awaitable<absl::Status> Request::Reserve() {
  const std::int64_t choices = SequencesAsked();
  const std::int64_t step = std::min(max_tokens_, with_.options.extension_tokens);
  const auto input_tokens = static_cast<std::int64_t>(prompt_tokens_.size());
  auto reserve = [&](auto done) { with_.quotas->Reserve(admission_, input_tokens, choices * step, std::move(done), choices); };
  absl::StatusOr<metering::Reservation> held = co_await async::Callback<absl::StatusOr<metering::Reservation>>(reserve);
  TG_CO_ASSIGN(reservation_, std::move(held));
  output_held_ = reservation_.output_tokens();
  co_return absl::OkStatus();
}

async::Awaitable<absl::Status> Request::MakeKey() {
  absl::StatusOr<std::shared_ptr<const audit::RequestKey>> key =
      co_await MakeRequestKey(with_, who_.place.team->id, who_.request, deadline_);
  TG_CO_ASSIGN(key_, std::move(key));
  if (!call_.end_user().empty()) {
    const base::Digest hmac = key_->EndUserHmac(call_.end_user());
    who_.end_user_hmac = std::string(base::View(hmac));
  }
  co_return absl::OkStatus();
}

// What they stand for can be told, or forgotten, before the model meets them.
async::Awaitable<absl::Status> Request::KeepPseudonyms() {
  if (inspection_.pseudonyms == nullptr) co_return absl::OkStatus();
  const std::vector<policy::Pseudonym>& all = inspection_.pseudonyms->all();
  const base::TeamId team = who_.place.team->id;
  std::vector<audit::Keys::SealedValue> values;
  auto seal = [&] {
    const audit::ValueSealer sealer = key_->Sealer();
    for (const policy::Pseudonym& one : all) {
      if (with_.keys->KnowsKept(team, who_.end_user_hmac, one.text)) continue;
      values.push_back({one.text, sealer.Seal(one.text, one.value), sealer.Mark(one.value)});
    }
    return true;
  };
  co_await async::RunOnIf(all.size() > kValuesSealedHere, with_.cpu, seal);
  if (values.empty()) co_return absl::OkStatus();
  const auto patience = std::min(steady_clock::now() + with_.options.append_timeout, deadline_);
  auto keep = [&](auto done) { with_.keys->KeepValues(team, who_.end_user_hmac, std::move(values), patience, std::move(done)); };
  co_return co_await async::Callback<absl::Status>(keep);
}

// P1: nothing is routed before this is durable.
async::Awaitable<absl::Status> Request::Record() {
  request_record_ = NewRecord(v1::RECORD_KIND_REQUEST, who_);
  request_record_.set_wall_us(base::ToMicros(with_.clock->Wall()));
  v1::RequestBody* body = request_record_.mutable_request();
  if (call_.model() != model_.name) body->set_model_requested(call_.model());
  body->set_model_sha256(std::string(base::View(model_.sha256)));
  body->set_justified(!call_.justification().empty());
  body->set_stream(writer_ != nullptr);
  body->set_input_tokens(static_cast<std::int64_t>(prompt_tokens_.size()));
  body->set_max_output_tokens(max_tokens_);
  FillDefaults(defaults_, body);
  FillJudged(body);
  *body->mutable_price() = price_;
  body->set_reserved_tokens(reservation_.tokens());
  body->set_deadline_us(limit_.asked ? request_record_.wall_us() +
                                           std::chrono::duration_cast<std::chrono::microseconds>(deadline_ - steady_clock::now()).count()
                                     : 0);
  body->set_retry_count(caller_.retry_count);
  body->set_source_hmac(with_.keys->SourceHmac(caller_.source));
  metering::FillHolds(reservation_, body);
  v1::SealedContent content = AskedContent();
  if (inspection_.pseudonyms != nullptr) body->set_pseudonyms(static_cast<std::int64_t>(inspection_.pseudonyms->all().size()));
  if (inspection_.changed) FillUsed(call_, inspection_.prompt, content);
  FillRequest(*body, content);
  audit::Entry entry{.record = request_record_};
  entry.key = key_->row();
  absl::StatusOr<audit::Position> appended = co_await SealAndAppend(with_, *key_, std::move(entry), content, deadline_);
  TG_CO_ASSIGN(const audit::Position position, std::move(appended));
  reservation_.MarkRecorded();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(with_.clock->Wall().time_since_epoch());
  head_ = {model_.name, seconds.count(), {}, position.log_id, position.index, told_route_, head_.request_id};
  if (writer_ != nullptr) head_.limits = LimitsOf(*with_.quotas, scopes_);
  co_return absl::OkStatus();
}

}  // namespace tollgate::pipeline
