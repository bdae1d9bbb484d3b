// Counts what is inside, and waits until nothing is. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>

#include "base/mutex.h"

namespace tollgate::grpc_front {

class Inside {
 public:
  // Inside from construction to destruction; not counted from the first AwaitEmpty with a limit on.
  class Stay {
   public:
    explicit Stay(Inside& inside) : inside_(inside), counted_(inside.MayEnter()) {}
    ~Stay() {
      if (counted_) inside_.Leave();
    }
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;

   private:
    Inside& inside_;
    const bool counted_;
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
  // For those that stay already: who comes meanwhile, again and again, would keep it from ever being empty. False: not within that time.
  bool AwaitEmpty(std::chrono::milliseconds within) {
    base::Lock lock(mu_);
    closed_ = true;
    return empty_.wait_for(lock.native(), within, [this]() REQUIRES(mu_) { return inside_ == 0; });
  }

 private:
  bool MayEnter() {
    const base::Lock lock(mu_);
    if (!closed_) ++inside_;
    return !closed_;
  }

  base::Mutex mu_;
  bool closed_ GUARDED_BY(mu_) = false;
  std::condition_variable empty_;
  std::int64_t inside_ GUARDED_BY(mu_) = 0;
};

}  // namespace tollgate::grpc_front
