// Breaker: keeps questions from a server that failed again and again, and lets one through now and then to see. One thread.
#pragma once

#include <chrono>

namespace tollgate::guards {

class Breaker {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Breaker(int failures_max, std::chrono::milliseconds rest) : failures_max_(failures_max), rest_(rest) {}

  // Whether a question may go now. Every one that may is to be followed by Succeeded or Failed.
  bool May(Time now);
  void Succeeded();
  void Failed(Time now);
  bool open() const { return failures_ >= failures_max_; }

 private:
  const int failures_max_;  // In a row.
  const std::chrono::milliseconds rest_;
  int failures_ = 0;
  bool probing_ = false;
  Time rests_until_{};
};

}  // namespace tollgate::guards
