// KeyWriter: stores the wrapped keys of requests in the keys database, in batches, beside the journal's own writing. Internal to audit/.
// One thread and one connection. Storing is idempotent, so a broken connection is simply tried again. Where nothing is to be stored the
// database is asked all the same, so that whether the instance is ready does not wait for somebody to fail. A database that has lost the
// keys that were stored last, as after a failover, is given no others until they are back, or their loss is accepted.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <thread>

#include "audit/journal_queue.h"
#include "audit/keys_binding.h"
#include "base/postgres.h"

namespace tollgate::audit {

class KeyWriter {
 public:
  // Tells `queue` what was stored, and at least every `look_every` whether keys can be. UNAVAILABLE … as Session::Connect.
  static absl::StatusOr<std::unique_ptr<KeyWriter>> Start(base::PostgresOptions postgres, std::chrono::milliseconds look_every,
                                                          JournalQueue& queue);
  ~KeyWriter();
  void Stop();  // Drops what waits and what still comes, joins.

  void Add(std::span<const PendingPtr> group);  // Stores the keys of those that have one. Any thread.
  const std::string& system_identifier() const { return system_identifier_; }

 private:
  KeyWriter(base::PostgresOptions postgres, std::chrono::milliseconds look_every, JournalQueue& queue)
      : postgres_(std::move(postgres)), look_every_(look_every), queue_(queue) {}
  void Run();
  void Look();
  void Troubled(const absl::Status& status);
  void Answered();
  void Store(std::vector<PendingPtr>& group);
  // Stores the keys; those whose day's key is not there go from `group` to `left_out`.
  absl::Status Insert(std::vector<PendingPtr>& group, std::vector<PendingPtr>& left_out);
  absl::Status SortOut(std::vector<PendingPtr>& group, std::vector<PendingPtr>& left_out);
  void Refuse(const std::vector<PendingPtr>& left_out);
  absl::Status Attach();
  void Remember(const std::vector<PendingPtr>& group);
  bool Pause(std::chrono::milliseconds time);  // False when stopping.

  const base::PostgresOptions postgres_;
  const std::chrono::milliseconds look_every_;
  JournalQueue& queue_;
  std::string system_identifier_;
  std::uint64_t session_number_ = 0;        // Another one for each session.
  std::unique_ptr<base::Session> session_;  // The thread's, as is
  bool troubled_ = false;                   // that the database did not take the last keys, or answer when it was last looked at.
  TimePoint quiet_until_{};                 // Of the warning of keys of the day that are not there.
  std::vector<StoredKey> last_;             // The last keys that were told as stored.
  base::Mutex mu_;
  std::condition_variable changed_;
  std::deque<PendingPtr> waiting_ GUARDED_BY(mu_);
  bool stopping_ GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace tollgate::audit
