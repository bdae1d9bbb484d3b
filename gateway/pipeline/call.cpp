// A wake-up that comes while it is being replaced is not lost: flag and function change under one lock.
// Tested by tests/gateway/pipeline/pipeline_test.cpp.
#include "gateway/pipeline/call.h"

namespace tollgate::pipeline {

void Cancellation::Cancel() {
  std::function<void()> wake;
  {
    base::Lock lock(mu_);
    cancelled_.store(true, std::memory_order_release);
    wake = std::exchange(wake_, nullptr);
  }
  if (wake) wake();
}

void Cancellation::OnCancel(std::function<void()> wake) {
  {
    base::Lock lock(mu_);
    if (!cancelled() || !wake) {
      wake_ = std::move(wake);
      return;
    }
  }
  wake();
}

}  // namespace tollgate::pipeline
