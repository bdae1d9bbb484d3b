// How long policy may take over a text, and where: it asks while it judges (policy::KeepGoing), and nothing else can end it in the middle
// of one. Who writes rules chooses what they cost, and the threads are everybody's.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <string_view>
#include <type_traits>

#include "base/crypto.h"
#include "base/mutex.h"
#include "base/status.h"
#include "gateway/async/run_on.h"
#include "gateway/pipeline/call.h"

namespace tollgate::pipeline {

// Of one request: its client, its deadline, the instance, and a bound for each judgement. One judgement at a time; everything outlives it.
class Patience {
 public:
  Patience(const Cancellation& cancellation, const std::atomic<bool>& shutting_down, const std::chrono::steady_clock::time_point& deadline,
           std::string_view remedy)
      : cancellation_(cancellation), shutting_down_(shutting_down), deadline_(deadline), remedy_(remedy) {}

  // A judgement begins, now, and may take so long. `here`: it holds up an I/O thread, and may be begun anew elsewhere.
  std::chrono::steady_clock::time_point Begin(std::chrono::milliseconds most, bool here = false);
  bool here() const { return here_; }

  // OK: it may go on. CANCELLED, UNAVAILABLE, DEADLINE_EXCEEDED as a request ends for these; FAILED_PRECONDITION, POLICY_TOO_SLOW, with the
  // remedy, where it took all of its time.
  absl::Status Ask();
  absl::Status AskOfShadow();                // The same for half of the time, so that what acts has the rest.
  bool ran_out() const { return ran_out_; }  // Since it began.

 private:
  absl::Status AskUntil(std::chrono::steady_clock::time_point until);

  const Cancellation& cancellation_;
  const std::atomic<bool>& shutting_down_;
  const std::chrono::steady_clock::time_point& deadline_;
  const std::string_view remedy_;
  std::chrono::milliseconds most_{0};
  std::chrono::steady_clock::time_point began_;
  bool ran_out_ = false, here_ = false;
};

// The status of who took all of `most`.
absl::Status TooSlow(std::chrono::milliseconds most);

// Policies that took long over a small text within the last minute: theirs are judged where they hold up no I/O thread. Thread-safe; costs
// a load where there are none.
class SlowPolicies {
 public:
  static constexpr std::chrono::milliseconds kLong{20};
  static constexpr std::chrono::seconds kRemembered{60};
  static constexpr std::size_t kMost = 4096;  // Beyond, the one that was noted first is forgotten.

  bool Has(const base::Digest& policies, std::chrono::steady_clock::time_point now);
  // What a judgement by them took, if it is worth remembering.
  void Took(const base::Digest& policies, std::chrono::steady_clock::duration took, std::chrono::steady_clock::time_point now);

 private:
  std::atomic<std::size_t> count_{0};
  base::Mutex mu_;
  std::map<base::Digest, std::chrono::steady_clock::time_point> until_ GUARDED_BY(mu_);
};

// Does `work`, by policy, which asks `patience`: here if it is small and its policies were not slow of late, else on `cpu`, for `most` at
// most. What takes long here is done anew there.
template <typename Work>
async::Awaitable<std::invoke_result_t<Work>> RunJudgement(bool large, const base::Digest& policies, SlowPolicies& slow, Patience& patience,
                                                          std::chrono::milliseconds most, boost::asio::any_io_executor cpu, Work work) {
  using std::chrono::steady_clock;
  bool here = !large && !slow.Has(policies, steady_clock::now());
  auto timed = [&] {
    const auto began = patience.Begin(here ? SlowPolicies::kLong : most, here);
    auto done = work();
    const auto now = steady_clock::now();
    if (!large) slow.Took(policies, now - began, now);
    return done;
  };
  auto done = co_await async::RunOnIf(!here, cpu, timed);
  if (!here || !patience.ran_out()) co_return done;
  here = false;
  co_return co_await async::RunOn(cpu, timed);
}

}  // namespace tollgate::pipeline
