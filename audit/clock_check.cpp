// Postgres's time is known as its distance from the monotonic clock, which nobody sets: so a clock that is set wrong, or right again, is
// seen at once, and one that drifts with the next time that Postgres tells.
// Tested by tests/audit/clock_check_test.cpp.
#include "audit/clock_check.h"

#include <chrono>

#include <fmt/format.h>

namespace tollgate::audit {
namespace {

constexpr std::int64_t kSecondUs = 1'000'000;
constexpr std::int64_t kToleranceUs = 300 * kSecondUs;

std::string Text(std::int64_t us) { return base::FormatRfc3339(base::FromMicros(us - us % kSecondUs)); }

}  // namespace

std::int64_t ClockCheck::MonotonicUs() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(clock_.Mono().time_since_epoch()).count();
}

void ClockCheck::Saw(std::int64_t postgres_us) { offset_us_ = postgres_us - MonotonicUs(); }

std::string ClockCheck::Wrong() const {
  const std::int64_t offset = offset_us_;
  if (offset == kUnknown) return "";
  const std::int64_t postgres = MonotonicUs() + offset, host = base::ToMicros(clock_.Wall());
  if (host - postgres <= kToleranceUs && postgres - host <= kToleranceUs) return "";
  return fmt::format(
      "this host's clock says {}, Postgres's says {}: nothing is recorded until they agree within 5 minutes; set the one that is wrong "
      "(NTP)",
      Text(host), Text(postgres));
}

}  // namespace tollgate::audit
