// Telling RecoveryCallbacks::taken what is dead, until it has answered OK. Internal to audit/.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "audit/log_writer.h"
#include "audit/open_requests.h"
#include "audit/ownership.h"
#include "audit/recovery.h"

namespace tollgate::audit {

// For a log that is being adopted: tells of `dead`, and renews the writer's claim for as long as that takes. An error: `options.stopping`
// became true, or another owner has the log.
absl::Status TellTaken(LogWriter& writer, const std::vector<Dead>& dead, const TakeoverOptions& options);

// For a log that serves meanwhile: on a thread of its own. Once they are told of, the head forgets whom its log was taken from.
class Teller {
 public:
  struct Options {
    LogTaken taken;  // May be empty.
    std::vector<Dead> dead;
    Head head;
    bool owed = false;
    bool tells = true;  // False: that is for others, and what is owed stays so.
    base::PostgresOptions postgres;
  };

  explicit Teller(Options options);
  ~Teller();
  void Stop();                         // Joins, as soon as `taken` returns.
  bool told() const { return told_; }  // All of it.

 private:
  void Run();
  absl::Status Forget() const;

  const Options options_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> told_{false};
  std::thread thread_;
};

}  // namespace tollgate::audit
