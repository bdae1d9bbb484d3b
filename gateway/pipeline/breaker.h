// Breaker: keeps questions from a server that failed again and again, and lets one through now and then to see. One thread.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/mutex.h"
#include "base/uuid.h"

namespace tollgate::pipeline {

class Breaker {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Breaker(int failures_max, std::chrono::milliseconds rest) : failures_max_(failures_max), rest_(rest) {}

  // Whether a question may go now. Every one that may is to be followed by Succeeded, Failed or Abandoned.
  bool May(Time now);
  void Succeeded();
  void Failed(Time now);
  void Abandoned();  // Its end says nothing of the server.
  bool open() const { return failures_ >= failures_max_; }

 private:
  const int failures_max_;  // In a row.
  const std::chrono::milliseconds rest_;
  int failures_ = 0;
  bool probing_ = false;
  Time rests_until_{};
};

// A breaker for each tenant and guard model, so that no tenant's trouble with a model is another's. Thread-safe.
class GuardBreakers {
 public:
  static constexpr int kFailuresMax = 5;
  static constexpr std::chrono::milliseconds kRest{5000};
  static constexpr std::size_t kKeptMax = 10'000;  // More fail one by one, unspared.

  bool May(const base::TeamId& team, const std::string& model, Breaker::Time now);
  // How a question that might go ended: whether the model answered at all, not what.
  void Ended(const base::TeamId& team, const std::string& model, bool answered, Breaker::Time now);

 private:
  base::Mutex mu_;
  std::map<std::string, Breaker, std::less<>> breakers_ GUARDED_BY(mu_);  // Of those that failed lately.
};

}  // namespace tollgate::pipeline
