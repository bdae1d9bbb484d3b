// Counts what is inside, and waits until nothing is. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>

#include "base/mutex.h"

namespace tollgate::grpc_front {

class Inside {
 public:
  void Enter() {
    const base::Lock lock(mu_);
    ++inside_;
  }
  void Leave() {
    const base::Lock lock(mu_);
    if (--inside_ == 0) empty_.notify_all();
  }
  void AwaitEmpty() {
    base::Lock lock(mu_);
    while (inside_ != 0) empty_.wait(lock.native());
  }

 private:
  base::Mutex mu_;
  std::condition_variable empty_;
  std::int64_t inside_ GUARDED_BY(mu_) = 0;
};

}  // namespace tollgate::grpc_front
