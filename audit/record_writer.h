// RecordWriter: the writer thread of the journal. Takes batches from the queue and gets each of them stored, refused or dropped, through
// broken connections and bad rows, in order. Internal to audit/.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <unordered_map>

#include "audit/closings.h"
#include "audit/journal_queue.h"
#include "audit/key_writer.h"
#include "audit/log_writer.h"
#include "audit/recovery.h"
#include "audit/state_dir.h"

namespace tollgate::audit {

struct WriterCounters {
  std::atomic<std::int64_t> rows{0}, batches{0}, commit_us{0}, quarantined{0}, reconnects{0}, in_doubt{0}, open_requests{0};
};

class RecordWriter {
 public:
  struct Options {
    std::size_t rows_max = 512;
    std::size_t bytes_max = 4u << 20;
    std::chrono::milliseconds renew_every{2500};
    base::InstanceId instance;
    std::string build;
    SettleOpen settle;
    bool partitions_made = true;  // False: they are tried again at the next heartbeats.
    const base::Clock* clock = nullptr;
    const ClockCheck* clock_check = nullptr;
  };

  // `log` is attached, nothing is open in it.
  // `keys` may be null; it is given the keys of each batch, to be stored while the batch is.
  RecordWriter(Options options, LogWriter log, JournalQueue& queue, StateDir& state, KeyWriter* keys);
  ~RecordWriter();

  // Writes what is queued, then STOP, and lets the log go, `home` as of LogWriter::Release; gives up at `deadline`. Joins. Once.
  void Finish(TimePoint deadline, bool home);

  bool lost() const { return lost_; }
  std::string lost_why() const;
  std::chrono::milliseconds silence() const;  // How long the batch under way has been under way.
  WriterCounters& counters() { return counters_; }

 private:
  enum class Next { kDone, kAgain, kSplit, kGone };
  using Group = std::vector<PendingPtr>;
  struct Aside {
    PendingPtr pending;
    std::int64_t settled_before = 0;  // settled_, when it was refused first.
  };

  void Run();
  void WriteBatch(std::vector<PendingPtr> batch);
  std::vector<PendingPtr> Screened(std::vector<PendingPtr> batch);
  Next Attempt(Group& group);
  Next AttachFor(Group& group);
  void Stored(const Group& group, std::int64_t first_index);
  std::int64_t OpenFrom(const Group& group) const;
  void CloseLate();
  bool Stubborn(const absl::Status& why);
  Next Suspected(Group& group, const absl::Status& why);
  Next Refused(Group& group, const absl::Status& why);
  Next StandIn(Group& group, const absl::Status& why);
  Next Condemn(const PendingPtr& refused, const absl::Status& why);
  bool Closes(const EncodedRow& row) const;
  void RetryAside();
  void RenewIfDue();
  void Heartbeat();
  void TellClock();
  void MakePartitionsDaily();
  void Stop();
  void Trouble(const absl::Status& status);
  void Well();
  void Lose(const absl::Status& why);
  bool Pause(std::chrono::milliseconds time);

  const Options options_;
  const Closings closings_;
  LogWriter log_;
  JournalQueue& queue_;
  StateDir& state_;
  KeyWriter* const keys_;
  WriterCounters counters_;
  std::unordered_map<base::Uuid, std::int64_t, base::UuidHash> open_;  // REQUESTs without a terminal record, and their indices.
  std::set<std::int64_t> open_indices_;
  std::vector<PendingPtr> late_;         // Durable REQUESTs that are still to be closed.
  std::string refused_state_;            // How the database refused this batch last …
  int refused_times_ = 0;                // … and how often in a row.
  PendingPtr original_;                  // What the group under way, a single record of ours, stands in for; else null.
  absl::Status original_why_;            // Why that was refused.
  std::int64_t original_delivered_ = 0;  // What of its output had left before it.
  std::map<base::Uuid, Aside> aside_;    // Terminal records by request, that are tried again at each heartbeat.
  std::int64_t settled_ = 0;             // Terminal records with companions that were stored …
  std::int64_t settled_before_ = 0;      // … before the batch under way.
  TimePoint heartbeat_{};                // When the next one is due.
  bool troubled_ = false;
  bool clock_wrong_ = false;  // As was last told.
  bool abandoned_ = false;    // A batch was given up at the end; its fate is not known here.
  std::int64_t partitions_day_ = 0;
  TimePoint partitions_again_{};  // Not before this.
  std::atomic<bool> lost_{false};
  std::atomic<std::int64_t> sent_at_us_{0};  // 0 = nothing under way.
  mutable base::Mutex mu_;
  std::condition_variable wake_;
  TimePoint give_up_ GUARDED_BY(mu_) = TimePoint::max();
  bool home_ GUARDED_BY(mu_) = false;
  std::string lost_why_ GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace tollgate::audit
