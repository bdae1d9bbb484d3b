// ClockCheck: whether this host's clock agrees with Postgres's. Internal to audit/. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>

#include "base/clock.h"

namespace tollgate::audit {

class ClockCheck {
 public:
  explicit ClockCheck(const base::Clock& clock) : clock_(clock) {}

  // What to ask Postgres for, in any statement.
  static constexpr const char* kPostgresTime = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8";
  // What it answered just now.
  void Saw(std::int64_t postgres_us);

  // Empty: they agree, within minutes, or Postgres was not asked yet. Else what is wrong and how to mend it, for the operator. Costs no
  // question: it is seen at once when the clock is set, and within a heartbeat when it drifts.
  std::string Wrong() const;

 private:
  std::int64_t MonotonicUs() const;

  static constexpr std::int64_t kUnknown = std::numeric_limits<std::int64_t>::min();
  const base::Clock& clock_;
  std::atomic<std::int64_t> offset_us_{kUnknown};  // Postgres's time less the monotonic one.
};

}  // namespace tollgate::audit
