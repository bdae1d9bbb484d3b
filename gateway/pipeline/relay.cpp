// One loop, one coroutine: take what the pool decoded, filter it, and whenever a cut is due put what is clear on record and then release it
// (promises P7, then P2). Between takes it asks whether it must stop: the client has gone, the key was revoked, the deadline passed.
// Tested by tests/gateway/pipeline/request_test.cpp.
#include "gateway/pipeline/relay.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/directory/directory.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/append.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

// A hung engine must not hold a request for ever: after this long its end is taken as it stands.
constexpr std::chrono::seconds kStopPatience{5};
// Alternatives of a piece that are judged where the relay runs: some tens of microseconds each under many rules. More go to `cpu`.
constexpr std::size_t kAlternativesHere = 4;

Ending Broken(std::string reason, absl::Status status) {
  return {.kind = v1::RECORD_KIND_ABORT, .reason = std::move(reason), .status = std::move(status)};
}

Ending Ended(std::string reason, absl::Status status) { return {.reason = std::move(reason), .status = std::move(status)}; }

}  // namespace

Relay::Relay(const RelayContext& context, std::shared_ptr<inference::TokenStream> tokens, std::unique_ptr<policy::StreamFilter> filter,
             metering::Reservation& reservation, LogprobGate::OpenFilter logprobs)
    : context_(context),
      tokens_(std::move(tokens)),
      filter_(std::move(filter)),
      semantic_(dynamic_cast<SemanticFilter*>(filter_.get())),
      inbox_(semantic_ == nullptr ? nullptr : GuardInbox::Make(context.with.guards, context.event.Notifier())),
      reservation_(reservation),
      gate_(std::move(logprobs)),
      allowed_(reservation.output_tokens()),
      next_authority_check_(steady_clock::now() + context.with.options.authority_check) {}

async::Awaitable<Ending> Relay::Run() {
  const auto notify = context_.event.Notifier();
  for (;;) {
    std::optional<Ending> stop = MustStop();
    inference::Piece piece;
    const inference::Taken taken = stop ? inference::Taken::kEmpty : tokens_->Take(piece);
    if (taken == inference::Taken::kPiece) {
      absl::Status filtered = co_await Push(piece);
      if (!filtered.ok()) stop = Broken("POLICY_FAILED", std::move(filtered));
      if (filter_->blocked()) stop = Ending{.finish = v1::FINISH_REASON_CONTENT_FILTER, .reason = "CONTENT_FILTER"};
    } else if (taken == inference::Taken::kParked) {
      stop = co_await Extend();
    } else if (taken == inference::Taken::kEnd) {
      ended_ = true;
      co_return co_await EndOfTokens();
    }
    if (!stop) stop = Consult();
    if (!stop && CutDue()) stop = co_await Release();
    if (stop) {
      co_await StopDecoding();
      co_return std::move(*stop);
    }
    if (taken == inference::Taken::kEmpty) {
      tokens_->NotifyOnce(notify);
      const auto wake = NextWake();
      co_await context_.event.WaitUntil(wake);
    }
  }
}

// Takes what others have answered, and asks what is to be asked now.
std::optional<Ending> Relay::Consult() {
  if (semantic_ == nullptr) return std::nullopt;
  for (const GuardAnswer& answer : inbox_->Take()) {
    absl::Status taken = semantic_->Answer(answer, released_bytes_ + static_cast<std::int64_t>(pending_.size()));
    if (!taken.ok()) return Broken("POLICY_FAILED", std::move(taken));
  }
  pending_ += semantic_->TakeApproved();
  if (semantic_->blocked()) return Ending{.finish = v1::FINISH_REASON_CONTENT_FILTER, .reason = "CONTENT_FILTER"};
  for (GuardAsk& ask : semantic_->TakeAsks()) {
    ask.model = context_.model;
    ask.deadline = context_.deadline;
    inbox_->Ask(std::move(ask));
  }
  return std::nullopt;
}

std::vector<v1::GuardOutcome> Relay::guarded() const {
  return semantic_ == nullptr ? std::vector<v1::GuardOutcome>() : semantic_->outcomes();
}

async::Awaitable<absl::Status> Relay::Push(const inference::Piece& piece) {
  decoded_ = piece.tokens_decoded;
  if (semantic_ != nullptr) semantic_->Count(decoded_);
  raw_.Append(piece.text, piece.tokens_delivered);
  const bool large = gate_.AlternativesToJudge(piece) > kAlternativesHere;
  auto work = [this, &piece] { return gate_.Push(piece, *filter_); };
  absl::StatusOr<std::string> clear = co_await async::RunOnIf(large, context_.with.cpu, work);
  if (!clear.ok()) co_return clear.status();
  pending_ += *clear;
  co_return absl::OkStatus();
}

// The sequence stands at its allowance: get more, or let it end there.
async::Awaitable<std::optional<Ending>> Relay::Extend() {
  const std::int64_t want = context_.with.options.extension_tokens;
  auto ask = [&](auto done) { context_.with.quotas->Extend(reservation_, want, std::move(done)); };
  absl::StatusOr<metering::Extension> more = co_await async::Callback<absl::StatusOr<metering::Extension>>(ask);
  if (!more.ok()) co_return Broken("QUOTA_UNAVAILABLE", more.status());
  allowed_ += more->granted;
  if (more->granted < want) {
    allowance_final_ = true;
    limited_by_ = more->limited_by;
  }
  tokens_->Allow(allowed_, allowance_final_);
  co_return std::nullopt;
}

std::optional<Ending> Relay::MustStop() {
  if (context_.cancellation.cancelled()) return Ended("CLIENT_GONE", base::Cancelled("the client went away"));
  if (context_.shutting_down.load(std::memory_order_relaxed)) {
    return Broken("SHUTDOWN", ShuttingDown());
  }
  const auto now = steady_clock::now();
  if (now >= context_.deadline) return Ended("DEADLINE", base::DeadlineExceeded("the request's deadline passed while its output was made"));
  if (now < next_authority_check_) return std::nullopt;
  next_authority_check_ = now + context_.with.options.authority_check;
  auto snapshot = context_.with.directory->InForce();
  if (!snapshot.ok()) return Broken("DIRECTORY_STALE", snapshot.status());
  const auto place = (*snapshot)->FindKey(context_.principal.place.key->id);
  absl::Status may = place ? (*snapshot)->MayRun(*place, context_.model, context_.with.clock->Wall())
                           : base::WithDetail(base::PermissionDenied("the key that this request was made with is gone"),
                                              {.reason = "KEY_REVOKED", .may_retry = false});
  if (may.ok()) return std::nullopt;
  const auto detail = base::DetailOf(may);
  return Ended(detail ? detail->reason : "KEY_REVOKED", std::move(may));
}

bool Relay::CutDue() const {
  return context_.writer != nullptr && !pending_.empty() && (segment_ == 0 || steady_clock::now() >= next_cut_);
}

steady_clock::time_point Relay::NextWake() const {
  auto wake = std::min(context_.deadline, next_authority_check_);
  if (context_.writer != nullptr && !pending_.empty()) wake = std::min(wake, next_cut_);
  return wake;
}

// P2: the record first, then the bytes.
async::Awaitable<std::optional<Ending>> Relay::Release() {
  audit::Entry entry;
  entry.record = NewRecord(v1::RECORD_KIND_SEGMENT, context_.who);
  entry.record.set_segment(++segment_);
  v1::SegmentBody* body = entry.record.mutable_segment_body();
  body->set_offset(released_bytes_);
  body->set_size(static_cast<std::int64_t>(pending_.size()));
  body->set_output_tokens(decoded_);
  v1::SealedContent content;
  content.set_text(pending_);
  OutputPiece out{.text = {}, .logprobs = gate_.Take(*filter_)};
  FillLogprobs(out.logprobs, content);
  absl::StatusOr<audit::Position> position = co_await SealAndAppend(context_.with, context_.key, std::move(entry), content);
  if (!position.ok()) co_return Broken("JOURNAL_FAILED", position.status());
  out.text = std::exchange(pending_, {});
  const auto decided = filter_->decided_bytes();
  const auto size = static_cast<std::int64_t>(out.text.size());
  absl::Status written;
  if (!std::exchange(begun_, true)) written = co_await context_.writer->Begin(context_.head);
  if (written.ok()) written = co_await context_.writer->Write(std::move(out));
  if (!written.ok()) co_return Ended("CLIENT_GONE", base::Cancelled("the client went away"));
  released_bytes_ += size;
  raw_.ReleaseUpTo(decided);
  next_cut_ = steady_clock::now() + context_.with.options.segment;
  co_return std::nullopt;
}

// Within one step of the pool; its end says what was decoded to the token.
async::Awaitable<void> Relay::StopDecoding() {
  tokens_->Cancel();
  const auto patience = steady_clock::now() + kStopPatience;
  const auto notify = context_.event.Notifier();
  while (steady_clock::now() < patience) {
    inference::Piece piece;
    const inference::Taken taken = tokens_->Take(piece);
    if (taken == inference::Taken::kEnd) {
      ended_ = true;
      break;
    }
    if (taken == inference::Taken::kPiece) {
      raw_.Append(piece.text, piece.tokens_delivered);
      continue;
    }
    tokens_->NotifyOnce(notify);
    co_await context_.event.WaitUntil(patience);
  }
  decoded_ = ended_ ? tokens_->end().tokens_decoded : tokens_->tokens_decoded();
}

async::Awaitable<Ending> Relay::EndOfTokens() {
  const inference::StreamEnd& end = tokens_->end();
  decoded_ = end.tokens_decoded;
  absl::StatusOr<std::string> rest = filter_->Finish();
  if (!rest.ok()) co_return Broken("POLICY_FAILED", rest.status());
  pending_ += *rest;
  while (semantic_ != nullptr && semantic_->waiting()) {
    std::optional<Ending> stop = Consult();
    if (!stop) stop = MustStop();
    if (stop) co_return std::move(*stop);
    if (!semantic_->waiting()) break;
    const auto wake = std::min(context_.deadline, next_authority_check_);
    co_await context_.event.WaitUntil(wake);
  }
  if (semantic_ != nullptr) pending_ += semantic_->TakeApproved();
  if (filter_->blocked()) co_return Ending{.finish = v1::FINISH_REASON_CONTENT_FILTER, .reason = "CONTENT_FILTER"};
  switch (end.reason) {
    case inference::EndReason::kStop: co_return Ending{.finish = v1::FINISH_REASON_STOP, .reason = "STOP"};
    case inference::EndReason::kLength: co_return Ending{.finish = v1::FINISH_REASON_LENGTH, .reason = "LENGTH"};
    case inference::EndReason::kAllowance:
      co_return Ending{.finish = v1::FINISH_REASON_LENGTH, .reason = "QUOTA", .quota_reached = limited_by_};
    case inference::EndReason::kCancelled: co_return Ended("CLIENT_GONE", end.status);
    case inference::EndReason::kDeadline: co_return Ended("DEADLINE", end.status);
    case inference::EndReason::kQueueTimeout: co_return Broken("QUEUE_TIMEOUT", end.status);
    case inference::EndReason::kEngineFailed: co_return Broken("ENGINE_FAILED", end.status);
    case inference::EndReason::kShutdown: co_return Broken("SHUTDOWN", end.status);
  }
  co_return Broken("ENGINE_FAILED", base::Internal("the engine ended for no known reason"));
}

void Relay::ReleaseRest() {
  raw_.ReleaseUpTo(filter_->decided_bytes());
  last_logprobs_ = gate_.Take(*filter_);
}

v1::TokenCounts Relay::Tokens() const {
  v1::TokenCounts tokens;
  tokens.set_input(decoded_ > 0 ? context_.input_tokens : 0);
  tokens.set_output(decoded_);
  tokens.set_delivered(std::min(raw_.delivered_tokens(), decoded_));
  if (ended_) {
    const inference::StreamEnd& end = tokens_->end();
    tokens.set_input(end.input_tokens_evaluated);
    tokens.set_cached_input(end.cached_input_tokens);
  }
  return tokens;
}

steady_clock::duration Relay::engine_time() const {
  return ended_ ? tokens_->end().ended_at - tokens_->end().submitted_at : steady_clock::duration::zero();
}

std::int64_t Relay::first_token_us() const {
  if (!ended_ || !tokens_->end().first_token_at) return 0;
  return std::chrono::duration_cast<std::chrono::microseconds>(*tokens_->end().first_token_at - tokens_->end().submitted_at).count();
}

}  // namespace tollgate::pipeline
