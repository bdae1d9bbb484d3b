// The plainest queue there is. Tested by tests/gateway/admin/workers_test.cpp.
#include "gateway/admin/workers.h"

namespace tollgate::admin {

Workers::Workers(int threads, std::size_t queue_max) : queue_max_(queue_max) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

Workers::~Workers() {
  {
    base::Lock lock(mu_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status Workers::Submit(std::function<void()> job) {
  {
    base::Lock lock(mu_);
    if (queue_.size() >= queue_max_) return base::ResourceExhausted("the admin API is busy: too many calls wait; try again in a moment");
    queue_.push_back(std::move(job));
  }
  ready_.notify_one();
  return absl::OkStatus();
}

void Workers::Loop() {
  while (true) {
    std::function<void()> job;
    {
      base::Lock lock(mu_);
      ready_.wait(lock.native(), [this]() REQUIRES(mu_) { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job();
  }
}

}  // namespace tollgate::admin
