// JournalQueue: what waits to be written, what is being written, and who still waits for an answer. Internal to audit/. Thread-safe; the
// callbacks of entries are called by whoever causes the answer, never under the lock.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "audit/batch.h"
#include "audit/journal.h"
#include "base/mutex.h"

namespace tollgate::audit {

using TimePoint = std::chrono::steady_clock::time_point;

// One entry on its way. Fields below the line belong to the queue's lock.
struct Pending {
  EncodedRow row;
  std::optional<KeyRow> key;
  TimePoint deadline;  // The earlier of the caller's and the queue's; for a terminal record the caller's alone.
  TimePoint enqueued;
  std::size_t bytes = 0;
  // ----
  enum class Stage { kQueued, kSent, kDurable, kDropped };
  Stage stage = Stage::kQueued;
  bool key_stored = false;
  bool answered = false;
  bool counted = false;  // Takes room in the queue; the journal's own records do not.
  std::uint64_t id = 0;
  Position position;
  Journal::Done done;
};
using PendingPtr = std::shared_ptr<Pending>;

// Always taken in, never dropped.
constexpr bool AlwaysWritten(v1::RecordKind kind) { return EndsRequest(kind); }

// UNAVAILABLE with reason AUDIT_UNAVAILABLE, for whoever called the API: `what` happened, what follows for the caller, what to do.
absl::Status Refusal(v1::RecordKind kind, std::string_view what);
// UNAVAILABLE (AUDIT_IN_DOUBT), not to be tried again unseen: the record may be written all the same.
absl::Status InDoubt(v1::RecordKind kind, std::string_view what);

struct QueueLimits {
  std::size_t rows_max = 8192;
  std::size_t bytes_max = 64u << 20;
};

class JournalQueue {
 public:
  explicit JournalQueue(QueueLimits limits) : limits_(limits) {}

  // Takes the entry in, or answers it UNAVAILABLE at once and returns false. Terminal records always have room.
  bool Add(const PendingPtr& pending);
  // Waits until there is something to write or close, or `until`; takes from the front and marks it sent. May be empty.
  std::vector<PendingPtr> Take(std::size_t rows_max, std::size_t bytes_max, TimePoint until);
  // Removes from a group that is known not to be written the entries that nobody waits for any more; terminal records stay.
  void DropAnswered(std::vector<PendingPtr>& group);
  void Durable(std::span<const PendingPtr> group, std::int32_t log_id, std::int64_t first_index);
  void Fail(const PendingPtr& pending, const absl::Status& status);  // Not written, never will be.
  void FailAll(const absl::Status& status);
  void KeysStored(std::span<const PendingPtr> group, const absl::Status& status);
  void DropUnwanted(std::vector<PendingPtr>& keys);  // Whose callers have been answered.

  // REQUESTs that became durable after their callers were refused; the writer closes them. Each is given once.
  std::vector<PendingPtr> TakeLate();

  // Answers what is overdue. Waits up to `tick` first, longer once nothing was unanswered for a while. False after Stop.
  bool Expire(std::chrono::milliseconds tick);

  void Close();  // No more entries.
  void Stop();   // Ends Expire and all waiting.
  bool closed() const;
  bool empty() const;  // Nothing queued or sent.

  // Why appends are being refused, per source ("records", "keys"); empty = it works.
  void SetTrouble(bool keys, const std::string& reason);
  std::string trouble() const;

  struct Counts {
    std::int64_t rows = 0, bytes = 0, refused = 0;
  };
  Counts counts() const;

 private:
  using Answers = std::vector<std::pair<Journal::Done, absl::StatusOr<Position>>>;
  void Answer(const PendingPtr& pending, absl::StatusOr<Position> result, Answers& out) REQUIRES(mu_);
  void Leave(const PendingPtr& pending, Pending::Stage stage) REQUIRES(mu_);
  void Overdue(const PendingPtr& pending, Answers& out) REQUIRES(mu_);
  static void Call(Answers& answers);

  const QueueLimits limits_;
  mutable base::Mutex mu_;
  std::condition_variable changed_;                                 // For the writer.
  std::condition_variable watch_;                                   // For Expire.
  std::deque<PendingPtr> queue_ GUARDED_BY(mu_);                    // May hold dropped entries.
  std::map<std::uint64_t, PendingPtr> unanswered_ GUARDED_BY(mu_);  // By age.
  std::vector<PendingPtr> late_ GUARDED_BY(mu_);
  std::uint64_t last_id_ GUARDED_BY(mu_) = 0;
  int idle_ticks_ GUARDED_BY(mu_) = 0;  // In a row, with nothing unanswered; after many the watch sleeps.
  Counts counts_ GUARDED_BY(mu_);
  std::string trouble_[2] GUARDED_BY(mu_);
  bool closed_ GUARDED_BY(mu_) = false;
  bool stopped_ GUARDED_BY(mu_) = false;
};

}  // namespace tollgate::audit
