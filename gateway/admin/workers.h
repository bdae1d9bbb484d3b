// A few threads behind one bounded queue, for calls that block on a database. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

namespace tollgate::admin {

class Workers {
 public:
  Workers(int threads, std::size_t queue_max);
  ~Workers();  // Runs what is queued, then joins.

  // RESOURCE_EXHAUSTED: the queue is full; `job` was not taken.
  absl::Status Submit(std::function<void()> job);

 private:
  void Loop();

  const std::size_t queue_max_;
  base::Mutex mu_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> queue_ GUARDED_BY(mu_);
  bool stopping_ GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace tollgate::admin
