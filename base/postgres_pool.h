// SessionPool: Postgres sessions for work that comes from many threads. Who has one thread of its own keeps a Session instead.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/postgres.h"
#include "base/status.h"

namespace tollgate::base {

// A few sessions, each with a thread of its own, behind one bounded queue. Thread-safe.
class SessionPool {
 public:
  struct Options {
    PostgresOptions postgres;
    int sessions = 2;
    int queue_max = 1000;                           // RESOURCE_EXHAUSTED beyond.
    std::chrono::milliseconds queue_timeout{2000};  // UNAVAILABLE for a job that waited longer.
    std::function<void()> connected;                // May be null. Called with each new session, before its first job, on its thread.
  };
  using Job = std::function<void(absl::StatusOr<Session*>)>;  // Called once on a pool thread; an error means there is no session.

  explicit SessionPool(Options options);
  ~SessionPool();  // Finishes what is queued with CANCELLED, joins.

  absl::Status Submit(Job job);
  // Runs `body` on a pool thread and waits. Not from I/O threads.
  absl::Status RunAndWait(const std::function<absl::Status(Session&)>& body);

  // Ends the pool's work for good: CANCELLED for what is queued or comes later, and the server is asked to end the statements under way
  // (UNAVAILABLE), until no job runs or `patience` is over; a server that does not answer may take two seconds longer. Any thread.
  void Stop(std::chrono::milliseconds patience);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::base
