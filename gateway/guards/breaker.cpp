// Tested by tests/gateway/guards/external_detectors_test.cpp.
#include "gateway/guards/breaker.h"

#include <algorithm>

namespace tollgate::guards {

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

}  // namespace tollgate::guards
