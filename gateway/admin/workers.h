// Threads behind bounded queues, for calls that block on a database. Two lanes, so that an emergency stop never waits behind reports; in
// each an org has shares of the threads and of the places to wait, so that no org's work keeps another's, or an operator's, from its turn.
// Who waits has that turn once each of the others has had one. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::admin {

// Whose a job is.
struct Whose {
  bool urgent = false;  // Short, and must not wait: it runs on threads of its own.
  base::OrgId org;      // None: who acts for the whole installation, and has no share to keep to.
  // True once nobody wants the job any more, which then is quick; until it runs, at least. Null: it always is wanted.
  const std::atomic<bool>* gone = nullptr;
};

class Workers {
 public:
  Workers(int threads, int urgent_threads, std::size_t queue_max);  // `queue_max`: of each lane.
  ~Workers();                                                       // Runs what is queued, then joins.

  // RESOURCE_EXHAUSTED: no place is left, or none for this org; `job` was not taken. Those that are gone take nobody's place: they run
  // here and now, within this call.
  absl::Status Submit(const Whose& whose, std::function<void()> job);

 private:
  struct Load {
    std::size_t waiting = 0;
    std::size_t running = 0;
    std::uint64_t served = 0;  // When it last had a turn.
  };
  struct Waiting {
    base::OrgId org;
    std::function<void()> job;
    const std::atomic<bool>* gone = nullptr;
  };
  struct Lane {
    std::size_t threads = 0;
    std::condition_variable ready;
    std::deque<Waiting> queue;
    std::map<base::OrgId, Load> orgs;  // All that ever had something here: who comes back has had its turn.
    Load of_orgs;                      // All of them together; without who acts for the installation.
  };

  void Loop(Lane& lane);
  absl::Status HasPlace(const Lane& lane, const base::OrgId& org) const REQUIRES(mu_);
  std::deque<Waiting>::iterator Next(Lane& lane) const REQUIRES(mu_);  // Whose turn it is; end: nobody's.
  std::deque<Waiting> TakeGone(Lane& lane) REQUIRES(mu_);
  void Leave(Lane& lane, const base::OrgId& org) REQUIRES(mu_);

  const std::size_t queue_max_;
  base::Mutex mu_;
  std::array<Lane, 2> lanes_ GUARDED_BY(mu_);  // Ordinary, urgent.
  std::uint64_t turns_ GUARDED_BY(mu_) = 0;
  bool stopping_ GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace tollgate::admin
