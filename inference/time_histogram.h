// TimeHistogram: how many durations fell between bounds that are the same for all: 100 microseconds to 200 seconds, each two to two and a
// half times the one before, so that a quantile read from it is right to that factor. A plain value of fixed size: adding costs
// nanoseconds, copying 200 bytes. One thread at a time.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tollgate::inference {

class TimeHistogram {
 public:
  // Upper bounds, included, in microseconds; beyond the last there is one more bucket.
  static constexpr std::array<std::int64_t, 20> kBoundsMicros = {
      100,     200,     500,       1'000,     2'000,     5'000,      10'000,     20'000,     50'000,      100'000,
      200'000, 500'000, 1'000'000, 2'000'000, 5'000'000, 10'000'000, 20'000'000, 50'000'000, 100'000'000, 200'000'000};

  // What is less than nothing counts as nothing.
  void Add(std::chrono::nanoseconds took, std::int64_t times = 1) {
    const std::int64_t micros = std::max<std::int64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count(), 0);
    const auto bound = std::lower_bound(kBoundsMicros.begin(), kBoundsMicros.end(), micros);
    counts_[static_cast<std::size_t>(bound - kBoundsMicros.begin())] += times;
    count_ += times;
    sum_micros_ += micros * times;
  }

  // One a bucket, not cumulated.
  const std::array<std::int64_t, kBoundsMicros.size() + 1>& counts() const { return counts_; }
  std::int64_t count() const { return count_; }
  std::int64_t sum_micros() const { return sum_micros_; }

 private:
  std::array<std::int64_t, kBoundsMicros.size() + 1> counts_{};
  std::int64_t count_ = 0;
  std::int64_t sum_micros_ = 0;
};

}  // namespace tollgate::inference
