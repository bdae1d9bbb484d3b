// Open after so many failures in a row; then one question at a time may go when the rest is over, and its end says whether to close or to
// rest again. Of tenants and guard models only those that failed lately are kept.
//
// Tested by tests/gateway/guards/external_detectors_test.cpp, tests/gateway/pipeline/model_guards_test.cpp.
#include "gateway/pipeline/breaker.h"

#include <algorithm>

namespace tollgate::pipeline {

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
  if (open()) rests_until_ = now + rest_;
}

void Breaker::Abandoned() { probing_ = false; }

bool GuardBreakers::May(const base::TeamId& team, const std::string& model, Breaker::Time now) {
  base::Lock lock(mu_);
  const auto found = breakers_.find(team.value.Bytes() + model);
  return found == breakers_.end() || found->second.May(now);
}

void GuardBreakers::Ended(const base::TeamId& team, const std::string& model, bool answered, Breaker::Time now) {
  const std::string key = team.value.Bytes() + model;
  base::Lock lock(mu_);
  if (answered) {
    breakers_.erase(key);
  } else if (breakers_.contains(key) || breakers_.size() < kKeptMax) {
    breakers_.try_emplace(key, kFailuresMax, kRest).first->second.Failed(now);
  }
}

}  // namespace tollgate::pipeline
