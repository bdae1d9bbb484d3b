// Breaker: keeps questions from a server that failed again and again, and lets one through now and then to see. One thread.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/mutex.h"

namespace tollgate::pipeline {

class Breaker {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Breaker(int failures_max, std::chrono::milliseconds rest) : failures_max_(failures_max), rest_(rest) {}

  // Whether a question may go now. Every one that may is to be followed by Succeeded, Failed or Abandoned.
  bool May(Time now);
  void Succeeded();
  void Failed(Time now);
  void Abandoned();  // Its end says nothing of the server: another may try at once.
  bool open() const { return failures_ >= failures_max_; }
  bool resting(Time now) const { return open() && now < rests_until_; }  // Nobody may try.
  Time rests_until() const { return open() ? rests_until_ : Time{}; }
  Time failed_at() const { return failed_at_; }

 private:
  const int failures_max_;  // In a row.
  const std::chrono::milliseconds rest_;
  int failures_ = 0;
  bool probing_ = false;
  Time rests_until_{}, failed_at_{};
};

// A breaker for each key, as of a tenant or of a tenant and a model, so that no tenant's trouble is another's. Thread-safe.
class Breakers {
 public:
  static constexpr std::size_t kKeptMax = 10'000;            // More fail one by one, unspared.
  static constexpr std::chrono::minutes kForgottenAfter{5};  // Without a failure, when its rest is over: others need the room.

  Breakers(int failures_max, std::chrono::milliseconds rest) : failures_max_(failures_max), rest_(rest) {}

  // As Breaker's.
  bool May(const std::string& key, Breaker::Time now);
  void Succeeded(const std::string& key);
  void Failed(const std::string& key, Breaker::Time now);
  void Abandoned(const std::string& key);
  bool open() const;                      // One is.
  bool resting(Breaker::Time now) const;  // One is.

  int failures_max() const { return failures_max_; }

 private:
  void ForgetLocked(Breaker::Time now) REQUIRES(mu_);

  const int failures_max_;
  const std::chrono::milliseconds rest_;
  mutable base::Mutex mu_;
  std::map<std::string, Breaker> breakers_ GUARDED_BY(mu_);  // Of those that failed lately.
  std::size_t open_ GUARDED_BY(mu_) = 0;
  Breaker::Time forgot_ GUARDED_BY(mu_){};  // When those of long ago were last looked for.
};

// Of guard models, by tenant and model.
constexpr int kGuardFailuresMax = 5;
constexpr std::chrono::milliseconds kGuardRest{5000};

}  // namespace tollgate::pipeline
