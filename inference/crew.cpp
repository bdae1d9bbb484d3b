// How it works. A job is a counter that helpers wait on (a futex). Each takes pieces by counting up until there are none; the caller does
// the same, then waits until all helpers have put the job down. Every helper takes part in every job, if only to see that nothing is left:
// so none can still hold a job when the next begins.
//
// Tested by tests/inference/crew_test.cpp.
#include "inference/crew.h"

#include <algorithm>

namespace tollgate::inference {

Crew::Crew(int helpers) {
  for (int worker = 1; worker <= helpers; ++worker) threads_.emplace_back([this, worker] { Help(worker); });
}

Crew::~Crew() {
  stopping_.store(true, std::memory_order_relaxed);
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Crew::Run(int pieces, const std::function<void(int, int)>& piece) {
  if (threads_.empty() || pieces < 2) {
    for (int i = 0; i < pieces; ++i) piece(i, 0);
    return;
  }
  piece_ = &piece;
  pieces_ = pieces;
  next_.store(0, std::memory_order_relaxed);
  helping_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  Take(0);
  for (int left; (left = helping_.load(std::memory_order_acquire)) != 0;) helping_.wait(left, std::memory_order_acquire);
}

void Crew::Help(int worker) {
  for (std::uint32_t seen = 0;;) {
    job_.wait(seen, std::memory_order_acquire);
    seen = job_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    Take(worker);
    if (helping_.fetch_sub(1, std::memory_order_acq_rel) == 1) helping_.notify_one();
  }
}

void Crew::Take(int worker) {
  for (int i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < pieces_;) (*piece_)(i, worker);
}

int SamplingHelpers(int rows) {
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(std::min(processors / 2, rows) - 1, 0, 7);
}

}  // namespace tollgate::inference
