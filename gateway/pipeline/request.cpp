// Run() is the request. What can be refused cheaply is refused first; nothing is kept, counted or computed for a caller who is not known.
// From the REQUEST record on there is exactly one way out, End(), which appends the one terminal record with usage and ledger (P3, P4).
// Tested by tests/gateway/pipeline/request_test.cpp.
#include "gateway/pipeline/request.h"

#include <fmt/format.h>

#include <cstring>

#include "audit/keys.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/append.h"
#include "gateway/pipeline/prompt.h"
#include "gateway/pipeline/route.h"
#include "gateway/pipeline/shadow.h"
#include "inference/pool.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

std::uint64_t RandomSeed() {
  std::uint64_t seed = 0;
  const std::string bytes = base::RandomBytes(sizeof seed);
  std::memcpy(&seed, bytes.data(), sizeof seed);
  return seed;
}

}  // namespace

Request::Request(const Collaborators& with, Refusals& refusals, const Caller& caller, const v1::ChatRequest& call, StreamWriter* writer,
                 Cancellation& cancellation, const std::atomic<bool>& shutting_down, async::Event& event)
    : with_(with), refusals_(refusals), caller_(caller), call_(call), writer_(writer), cancellation_(cancellation),
      shutting_down_(shutting_down), event_(event), began_s_(base::ToMicros(with.clock->Wall()) / 1'000'000) {
  const auto now = steady_clock::now();
  deadline_ = std::min(caller.deadline.value_or(now + with.options.deadline_default), now + with.options.deadline_max);
  who_.request = caller.request_id;
}

async::Awaitable<Outcome<Reply>> Request::Run() {
  absl::Status status = Admit();
  if (!status.ok()) co_return Refuse(std::move(status));
  status = co_await Inspect();
  if (!status.ok() || inspection_.verdict.action == policy::Action::kBlock) {
    // It was work: nobody probes a policy without end.
    absl::Status counted = co_await CountRequest(with_, admission_);
    if (!counted.ok()) co_return Refuse(std::move(counted));
  }
  if (!status.ok()) co_return Refuse(std::move(status));
  status = co_await MakeKey();
  if (!status.ok()) co_return Refuse(std::move(status));
  if (inspection_.verdict.action == policy::Action::kBlock) co_return co_await Deny();
  status = co_await Reserve(static_cast<std::int64_t>(prompt_tokens_.size()), std::min(max_tokens_, with_.options.extension_tokens));
  if (!status.ok()) co_return Refuse(std::move(status));
  status = co_await Record();
  if (!status.ok()) co_return Refuse(std::move(status));
  std::optional<Ending> denied = co_await AskGuards();
  if (denied) co_return co_await End(std::move(*denied), nullptr);
  co_return co_await Generate();
}

absl::Status Request::Admit() {
  TG_ASSIGN(principal_, Authenticate(with_, caller_));
  who_.place = principal_->place;
  policies_ = principal_->snapshot->JudgesOf(who_.place, who_.request);
  scopes_ = ScopesOf(who_.place);
  TG_RETURN_IF_ERROR(Validate(call_, with_.options.limits));
  TG_ASSIGN(Route route, RouteOf(with_, *principal_, call_.model(), who_.request));
  model_ = std::move(route.model);
  led_ = std::move(route.led);
  TG_RETURN_IF_ERROR(ValidateFor(call_, model_));
  TG_ASSIGN(price_, principal_->snapshot->PriceOf(model_.name, with_.clock->Wall()));
  sampling_ = ToSampling(call_.sampling(), call_.sampling().has_seed() ? call_.sampling().seed() : RandomSeed());
  TG_ASSIGN(admission_, with_.quotas->Admit(scopes_));
  return absl::OkStatus();
}

// Policy, then the exact tokens of the prompt as it will be used.
async::Awaitable<absl::Status> Request::Inspect() {
  auto work = [this]() -> absl::Status {
    const std::vector<policy::Message> prompt = ToPolicy(call_.messages());
    TG_ASSIGN(inspection_, policies_.acting->Inspect(SubjectOf(), prompt));
    if (call_.output_form().has_json_schema()) inspection_.verdict.not_scanned.push_back("output_schema");
    shadow_ = ShadowOf(policies_.shadow.get(), SubjectOf(), prompt);
    if (inspection_.verdict.action == policy::Action::kBlock) return absl::OkStatus();
    TG_ASSIGN(prompt_tokens_, with_.pool->Render(model_.name, ToTurns(inspection_.prompt)));
    return absl::OkStatus();
  };
  const bool large = BytesOf(call_.messages()) >= with_.options.inspect_here_bytes;
  absl::Status status = co_await async::RunOnIf(large, with_.cpu, work);
  if (!status.ok() || inspection_.verdict.action == policy::Action::kBlock) co_return status;
  const auto input = static_cast<std::int64_t>(prompt_tokens_.size());
  const std::int64_t room = model_.context_tokens - input;
  if (room < 1) {
    co_return base::WithDetail(
        base::InvalidArgument(fmt::format("messages: the prompt is {} tokens long and {} takes {} in all, output included; shorten it", input,
                                          model_.name, model_.context_tokens)),
        {.reason = "CONTEXT_LENGTH_EXCEEDED", .param = "messages", .may_retry = false});
  }
  TG_CO_ASSIGN(max_tokens_, MaxOutputTokens(call_, room, writer_ != nullptr, with_.options.limits));
  co_return absl::OkStatus();
}

async::Awaitable<absl::Status> Request::Reserve(std::int64_t input_tokens, std::int64_t output_tokens) {
  auto reserve = [&](auto done) { with_.quotas->Reserve(admission_, input_tokens, output_tokens, std::move(done)); };
  absl::StatusOr<metering::Reservation> held =
      co_await async::Callback<absl::StatusOr<metering::Reservation>>(reserve);
  TG_CO_ASSIGN(reservation_, std::move(held));
  co_return absl::OkStatus();
}

async::Awaitable<absl::Status> Request::MakeKey() {
  const auto patience = steady_clock::now() + with_.options.append_timeout;
  auto make = [&](auto done) { with_.keys->NewRequestKey(who_.place.team->id, who_.request, patience, std::move(done)); };
  using Key = absl::StatusOr<std::shared_ptr<const audit::RequestKey>>;
  Key key = co_await async::Callback<Key>(make);
  TG_CO_ASSIGN(key_, std::move(key));
  if (!call_.end_user().empty()) {
    const base::Digest hmac = key_->EndUserHmac(call_.end_user());
    who_.end_user_hmac = std::string(base::View(hmac));
  }
  co_return absl::OkStatus();
}

// P1: nothing is routed before this is durable.
async::Awaitable<absl::Status> Request::Record() {
  request_record_ = NewRecord(v1::RECORD_KIND_REQUEST, who_);
  request_record_.set_wall_us(base::ToMicros(with_.clock->Wall()));
  v1::RequestBody* body = request_record_.mutable_request();
  if (call_.model() != model_.name) body->set_model_requested(call_.model());
  body->set_model(model_.name);
  body->set_model_sha256(std::string(base::View(model_.sha256)));
  body->set_surface(std::string(Name(caller_.surface)));
  body->set_stream(writer_ != nullptr);
  body->set_input_tokens(static_cast<std::int64_t>(prompt_tokens_.size()));
  body->set_max_output_tokens(max_tokens_);
  *body->mutable_sampling() = ToProto(sampling_);
  FillOutput(call_, body);
  body->set_policy_digest(std::string(base::View(policies_.acting->digest())));
  body->set_canary(policies_.canary);
  if (!shadow_.policy_digest().empty()) *body->mutable_shadow() = shadow_;
  with_.shadows->Add(false, inspection_.verdict, shadow_);
  *body->mutable_input_verdict() = ToProto(inspection_.verdict);
  *body->mutable_price() = price_;
  body->set_reserved_tokens(reservation_.tokens());
  body->set_deadline_us(caller_.deadline ? request_record_.wall_us() + std::chrono::duration_cast<std::chrono::microseconds>(
                                                                           deadline_ - steady_clock::now()).count()
                                         : 0);
  body->set_client_request_id(caller_.client_request_id.empty() ? call_.client_request_id() : caller_.client_request_id);
  body->set_retry_count(caller_.retry_count);
  body->set_source_hmac(with_.keys->SourceHmac(caller_.source));
  metering::FillHolds(reservation_, body);
  v1::SealedContent content;
  *content.mutable_prompt() = call_.messages();
  if (inspection_.changed) ToProto(inspection_.prompt, content.mutable_prompt_used());
  content.set_output_schema(call_.output_form().json_schema());
  audit::Entry entry{.record = request_record_};
  entry.key = key_->row();
  absl::StatusOr<audit::Position> appended = co_await SealAndAppend(with_, *key_, std::move(entry), content);
  TG_CO_ASSIGN(const audit::Position position, std::move(appended));
  reservation_.MarkRecorded();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(with_.clock->Wall().time_since_epoch());
  head_ = {model_.name, seconds.count(), {}, position.log_id, position.index, led_};
  if (writer_ != nullptr) head_.limits = LimitsOf(*with_.quotas, scopes_);
  co_return absl::OkStatus();
}

async::Awaitable<Outcome<Reply>> Request::Generate() {
  inference::SequenceRequest sequence{.model = model_.name,
                                      .prompt_tokens = prompt_tokens_,
                                      .sampling = sampling_,
                                      .stop = {call_.stop().begin(), call_.stop().end()},
                                      .max_tokens = max_tokens_,
                                      .allowance = reservation_.output_tokens(),
                                      .tenant = who_.place.team->id,
                                      .key = who_.place.key->id,
                                      .deadline = deadline_};
  FillOutput(call_, sequence);
  auto tokens = with_.pool->Submit(std::move(sequence));
  if (!tokens.ok()) {
    Ending ending{.kind = v1::RECORD_KIND_ABORT, .reason = "POOL_REFUSED", .status = tokens.status()};
    co_return co_await End(std::move(ending), nullptr);
  }
  const RelayContext context{with_, caller_, *principal_, who_, model_.name, static_cast<std::int64_t>(prompt_tokens_.size()), *key_,
                             cancellation_, shutting_down_, event_, deadline_, head_, writer_};
  LogprobGate::OpenFilter logprobs;
  if (call_.logprobs()) logprobs = [this, subject = SubjectOf()] { return policies_.acting->OpenOutput(subject); };
  Relay relay(context, *std::move(tokens), OpenOutput(policies_, SubjectOf(), writer_ != nullptr), reservation_, std::move(logprobs));
  Ending ending = co_await relay.Run();
  co_return co_await End(std::move(ending), &relay);
}

}  // namespace tollgate::pipeline
