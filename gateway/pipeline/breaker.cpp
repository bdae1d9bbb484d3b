// Open after so many failures in a row; then one question at a time may go when the rest is over, and its end says whether to close or to
// rest again. Of tenants and guard models only those that failed lately are kept: the others are looked for once a minute, when one fails.
//
// Tested by tests/gateway/detectors/external_detectors_test.cpp, tests/gateway/pipeline/model_guards_test.cpp.
#include "gateway/pipeline/breaker.h"

#include <algorithm>

namespace tollgate::pipeline {

namespace {
constexpr std::chrono::minutes kForgetEvery{1};
}

bool Breaker::May(Time now) {
  if (!open()) return true;
  if (probing_ || now < rests_until_) return false;
  probing_ = true;
  return true;
}

void Breaker::Succeeded() {
  failures_ = 0;
  probing_ = false;
}

void Breaker::Failed(Time now) {
  failures_ = std::min(failures_ + 1, failures_max_);
  probing_ = false;
  failed_at_ = now;
  if (open()) rests_until_ = now + rest_;
}

void Breaker::Abandoned() { probing_ = false; }

bool Breakers::May(const std::string& key, Breaker::Time now) {
  base::Lock lock(mu_);
  const auto found = breakers_.find(key);
  return found == breakers_.end() || found->second.May(now);
}

void Breakers::Succeeded(const std::string& key) {
  base::Lock lock(mu_);
  const auto found = breakers_.find(key);
  if (found == breakers_.end()) return;
  if (found->second.open()) --open_;
  breakers_.erase(found);
}

void Breakers::Failed(const std::string& key, Breaker::Time now) {
  base::Lock lock(mu_);
  ForgetLocked(now);
  if (breakers_.size() >= kKeptMax && !breakers_.contains(key)) return;
  Breaker& breaker = breakers_.try_emplace(key, failures_max_, rest_).first->second;
  const bool was_open = breaker.open();
  breaker.Failed(now);
  if (!was_open && breaker.open()) ++open_;
}

void Breakers::ForgetLocked(Breaker::Time now) {
  if (now - forgot_ < kForgetEvery) return;
  forgot_ = now;
  std::erase_if(breakers_, [&](const auto& kept) REQUIRES(mu_) {
    const Breaker& breaker = kept.second;
    if (breaker.resting(now) || now - breaker.failed_at() < kForgottenAfter) return false;
    if (breaker.open()) --open_;
    return true;
  });
}

void Breakers::Abandoned(const std::string& key) {
  base::Lock lock(mu_);
  if (const auto found = breakers_.find(key); found != breakers_.end()) found->second.Abandoned();
}

bool Breakers::open() const {
  base::Lock lock(mu_);
  return open_ > 0;
}

bool Breakers::resting(Breaker::Time now) const {
  base::Lock lock(mu_);
  return open_ > 0 && std::any_of(breakers_.begin(), breakers_.end(), [now](const auto& kept) { return kept.second.resting(now); });
}

}  // namespace tollgate::pipeline
