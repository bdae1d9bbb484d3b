// Counts what is inside, and waits until nothing is. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>

#include "base/mutex.h"

namespace tollgate::grpc_front {

class Inside {
 public:
  // Inside from construction to destruction.
  class Stay {
   public:
    explicit Stay(Inside& inside) : inside_(inside) { inside_.Enter(); }
    ~Stay() { inside_.Leave(); }
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;

   private:
    Inside& inside_;
  };

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
  // False: not within that time.
  bool AwaitEmpty(std::chrono::milliseconds within) {
    base::Lock lock(mu_);
    return empty_.wait_for(lock.native(), within, [this]() REQUIRES(mu_) { return inside_ == 0; });
  }

 private:
  base::Mutex mu_;
  std::condition_variable empty_;
  std::int64_t inside_ GUARDED_BY(mu_) = 0;
};

}  // namespace tollgate::grpc_front
