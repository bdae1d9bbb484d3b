// A small prompt is judged where it came in, for at most as long as nobody notices; one that takes longer is judged anew elsewhere, and so
// are the next ones of its policies from the start. What rules cost is not known before: a search that its automaton does for nothing may
// take a thousand times as long on a text that its author wrote for it.
// Tested by tests/gateway/pipeline/patience_test.cpp.
#include "gateway/pipeline/patience.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/pipeline/admission.h"

namespace tollgate::pipeline {

using std::chrono::steady_clock;

absl::Status TooSlow(std::chrono::milliseconds most) {
  return base::WithDetail(base::FailedPrecondition(fmt::format(
                              "the rules in force take more than {} ms over this text: send less of it, or have their author write "
                              "fewer or simpler regexes (tollgate policy lint tells what each costs)",
                              most.count())),
                          {.reason = "POLICY_TOO_SLOW", .may_retry = false});
}

steady_clock::time_point Patience::Begin(std::chrono::milliseconds most, bool here) {
  most_ = most;
  here_ = here;
  began_ = steady_clock::now();
  ran_out_ = false;
  return began_;
}

absl::Status Patience::Ask() { return AskUntil(began_ + most_); }
absl::Status Patience::AskOfShadow() { return AskUntil(began_ + most_ / 2); }

absl::Status Patience::AskUntil(steady_clock::time_point until) {
  if (cancellation_.cancelled()) return base::Cancelled("the client went away");
  if (shutting_down_.load(std::memory_order_relaxed)) return ShuttingDown();
  const auto now = steady_clock::now();
  if (now >= deadline_) return base::DeadlinePassed(fmt::format("the request's deadline passed while its text was judged: {}", remedy_));
  if (now < until) return absl::OkStatus();
  ran_out_ = true;
  return TooSlow(most_);
}

bool SlowPolicies::Has(const base::Digest& policies, steady_clock::time_point now) {
  if (count_.load(std::memory_order_relaxed) == 0) return false;
  base::Lock lock(mu_);
  const auto found = until_.find(policies);
  if (found == until_.end()) return false;
  if (now < found->second) return true;
  until_.erase(found);
  count_.store(until_.size(), std::memory_order_relaxed);
  return false;
}

void SlowPolicies::Took(const base::Digest& policies, steady_clock::duration took, steady_clock::time_point now) {
  if (took < kLong) return;
  base::Lock lock(mu_);
  until_[policies] = now + kRemembered;
  if (until_.size() > kMost) {
    const auto sooner = [](const auto& a, const auto& b) { return a.second < b.second; };
    until_.erase(std::min_element(until_.begin(), until_.end(), sooner));
  }
  count_.store(until_.size(), std::memory_order_relaxed);
}

}  // namespace tollgate::pipeline
