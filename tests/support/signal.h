// Something that happens on another thread and that a test waits for, at most 30 s.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace tollgate::testing {

class Signal {
 public:
  void Set() {
    const std::lock_guard lock(mu_);
    set_ = true;
    changed_.notify_all();
  }
  bool Wait() {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [this] { return set_; });
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool set_ = false;
};

}  // namespace tollgate::testing
