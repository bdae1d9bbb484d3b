// Time, injected. Wall time is for records and windows, monotonic time for waits and expiry.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace tollgate::base {

using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
using MonoTime = std::chrono::steady_clock::time_point;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Wall() const = 0;
  virtual MonoTime Mono() const = 0;
};

const Clock& SystemClock();

// A clock that tests move. Both times advance together; SetWall moves wall time alone (a clock step).
class ManualClock final : public Clock {
 public:
  explicit ManualClock(WallTime start = WallTime(std::chrono::seconds(1'790'000'000))) : wall_us_(start.time_since_epoch().count()) {}
  WallTime Wall() const override { return WallTime(std::chrono::microseconds(wall_us_.load())); }
  MonoTime Mono() const override { return MonoTime(std::chrono::microseconds(mono_us_.load())); }
  void Advance(std::chrono::microseconds by) {
    wall_us_ += by.count();
    mono_us_ += by.count();
  }
  void SetWall(WallTime to) { wall_us_ = to.time_since_epoch().count(); }

 private:
  std::atomic<std::int64_t> wall_us_;
  std::atomic<std::int64_t> mono_us_{1'000'000};
};

std::string FormatRfc3339(WallTime t);  // 2026-12-01T00:00:00Z, with microseconds where not zero.
std::int64_t ToMicros(WallTime t);      // Since 1970-01-01T00:00:00Z.
WallTime FromMicros(std::int64_t micros);

}  // namespace tollgate::base
