// A moment as a plain number, for a timer that looks at many a few times a second. Set on one strand, read on any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace tollgate::http_front {

class Deadline {
 public:
  void In(std::int64_t ms) { ns_ = Ns(std::chrono::steady_clock::now()) + ms * 1'000'000; }
  void Never() { ns_ = kNever; }

  bool set() const { return ns_ != kNever; }
  bool Passed(std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now()) const { return Ns(now) >= ns_; }

 private:
  static constexpr std::int64_t kNever = INT64_MAX;
  static std::int64_t Ns(std::chrono::steady_clock::time_point t) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
  }

  std::atomic<std::int64_t> ns_{kNever};
};

}  // namespace tollgate::http_front
