// Crew: a few threads that share the pieces of one job with the thread that has it. For work of some 100 µs a piece: asleep between jobs,
// they cost nothing then.
//
// Threads: one job at a time, from one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace tollgate::inference {

class Crew {
 public:
  explicit Crew(int helpers);  // 0 or more threads beside the caller's own, at its priority.
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  int workers() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls `piece(i, worker)` once for each i below `pieces`, worker in [0, workers()) being the same for calls that never overlap; returns
  // when all have returned. `piece` does not throw.
  void Run(int pieces, const std::function<void(int piece, int worker)>& piece);

 private:
  void Help(int worker);
  void Take(int worker);

  std::vector<std::thread> threads_;
  const std::function<void(int, int)>* piece_ = nullptr;  // Of the job; set before job_ moves.
  int pieces_ = 0;
  std::atomic<std::uint32_t> job_{0};  // Counts jobs: helpers wait for it to move.
  std::atomic<int> next_{0};
  std::atomic<int> helping_{0};
  std::atomic<bool> stopping_{false};
};

// How many helpers for as many rows a step on this machine: half of its processors, seven at most, none on two.
int SamplingHelpers(int rows);

}  // namespace tollgate::inference
