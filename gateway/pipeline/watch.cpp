// Authority is asked for every authority_check, from the snapshot in force then: a revoked key, a blocked team or a stop ends the request.
// Tested by tests/gateway/pipeline/authority_test.cpp, tests/gateway/pipeline/embed_test.cpp.
#include "gateway/pipeline/watch.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>

#include "base/clock.h"
#include "base/error_detail.h"
#include "gateway/directory/directory.h"
#include "gateway/pipeline/admission.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

Ending Broken(std::string reason, absl::Status status) {
  return {.kind = v1::RECORD_KIND_ABORT, .reason = std::move(reason), .status = std::move(status)};
}

Ending Ended(std::string reason, absl::Status status) { return {.reason = std::move(reason), .status = std::move(status)}; }

Ending Unjudged(absl::Status status) {
  if (absl::IsCancelled(status)) return Ended("CLIENT_GONE", std::move(status));
  if (absl::IsDeadlineExceeded(status)) return Ended("DEADLINE", std::move(status));
  const auto detail = base::DetailOf(status);
  if (detail && detail->reason == "SHUTTING_DOWN") return Broken("SHUTDOWN", std::move(status));
  return Broken(detail && detail->reason.starts_with("POLICY_") ? detail->reason : "POLICY_FAILED", std::move(status));
}

std::optional<Ending> LostAuthority(const Collaborators& with, const identity::Principal& principal, const std::string& model) {
  auto snapshot = with.directory->InForce();
  if (!snapshot.ok()) return Broken("DIRECTORY_STALE", snapshot.status());
  const auto place = (*snapshot)->FindKey(principal.place.key->id);
  absl::Status may = place ? (*snapshot)->MayRun(*place, model, with.clock->Wall())
                           : base::WithDetail(base::PermissionDenied("the key that this request was made with is gone: ask for a new one"),
                                              {.reason = "KEY_REVOKED", .may_retry = false});
  if (may.ok()) return std::nullopt;
  const auto detail = base::DetailOf(may);
  return Ended(detail ? detail->reason : "KEY_REVOKED", std::move(may));
}

Ending EndingOf(const inference::StreamEnd& end) {
  switch (end.reason) {
    case inference::EndReason::kStop: return {.finish = v1::FINISH_REASON_STOP, .reason = "STOP"};
    case inference::EndReason::kLength: return {.finish = v1::FINISH_REASON_LENGTH, .reason = "LENGTH"};
    case inference::EndReason::kAllowance: return {.finish = v1::FINISH_REASON_LENGTH, .reason = "QUOTA"};
    case inference::EndReason::kCancelled: return Ended("CLIENT_GONE", end.status);
    case inference::EndReason::kDeadline: return Ended("DEADLINE", end.status);
    case inference::EndReason::kQueueTimeout: return Broken("QUEUE_TIMEOUT", end.status);
    case inference::EndReason::kEngineFailed: return Broken("ENGINE_FAILED", end.status);
    case inference::EndReason::kShutdown: return Broken("SHUTDOWN", end.status);
  }
  return Broken("ENGINE_FAILED", base::Internal("the engine ended for no known reason"));
}

Watch::Watch(const Collaborators& with, const identity::Principal& principal, const std::string& model, const Cancellation& cancellation,
             const std::atomic<bool>& shutting_down, steady_clock::time_point deadline, std::string_view remedy)
    : with_(with),
      principal_(principal),
      model_(model),
      cancellation_(cancellation),
      shutting_down_(shutting_down),
      deadline_(deadline),
      remedy_(remedy),
      next_authority_check_(steady_clock::now() + with.options.authority_check) {}

steady_clock::time_point Watch::NextLook() const { return std::min(deadline_, next_authority_check_); }

std::optional<Ending> Watch::MustStop(std::string_view during) {
  if (cancellation_.cancelled()) return Ended("CLIENT_GONE", base::Cancelled("the client went away"));
  if (shutting_down_.load(std::memory_order_relaxed)) {
    return Broken("SHUTDOWN", ShuttingDown());
  }
  const auto now = steady_clock::now();
  if (now >= deadline_) return Late(during);
  if (now < next_authority_check_) return std::nullopt;
  next_authority_check_ = now + with_.options.authority_check;
  return LostAuthority(with_, principal_, model_);
}

Ending Watch::Late(std::string_view during) const {
  return Ended("DEADLINE", base::DeadlinePassed(fmt::format("the request's deadline passed while {}: {}", during, remedy_)));
}

// One timer for many writes: it is set when one begins and none is set, and looks whether one is under way when it fires.
struct WriteWatch::State : std::enable_shared_from_this<State> {
  State(const boost::asio::any_io_executor& executor, StreamWriter& to, std::chrono::milliseconds interval, std::function<bool()> asks)
      : timer(executor), writer(to), every(interval), must_stop(std::move(asks)) {}

  void Set() {
    set = true;
    timer.expires_after(every);
    timer.async_wait([self = shared_from_this()](boost::system::error_code) {
      self->set = false;
      if (self->over || !self->writing) return;
      if (self->must_stop()) return self->writer.Abort();
      self->Set();
    });
  }

  boost::asio::steady_timer timer;
  StreamWriter& writer;
  const std::chrono::milliseconds every;
  const std::function<bool()> must_stop;
  bool set = false, writing = false, over = false;
};

WriteWatch::WriteWatch(const boost::asio::any_io_executor& executor, StreamWriter& writer, std::chrono::milliseconds every,
                       std::function<bool()> must_stop)
    : state_(std::make_shared<State>(executor, writer, every, std::move(must_stop))) {}

WriteWatch::~WriteWatch() {
  state_->over = true;
  state_->timer.cancel();
}

void WriteWatch::Begins() {
  state_->writing = true;
  if (!state_->set) state_->Set();
}

void WriteWatch::Ends() { state_->writing = false; }

std::optional<Ending> Watch::MustStopNow(std::string_view during) {
  next_authority_check_ = {};
  return MustStop(during);
}

}  // namespace tollgate::pipeline
