// PostgresJournal: the Journal over Postgres, with one writer thread and one connection for records, and one of each for keys.
//
// Open takes this instance's log (see "Ownership"), closes what a predecessor left open, appends START and returns ready to serve.
// Postgres may go away at any time after that: appends are then refused by their deadlines, and service returns unaided.
//
// Ownership: the log's claim lapses `claim` after its last renewal, by Postgres's clock; the writer renews it. An instance that
// restarts with its own state directory takes its log back at once (the file lock proves its predecessor dead). Any instance (see `adopt`)
// adopts the logs of others whose claims have lapsed. An owner that was overtaken is fenced: nothing it sends is written, health() is
// kLost.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "audit/journal.h"
#include "audit/recovery.h"
#include "base/clock.h"
#include "base/uuid.h"

namespace tollgate::audit {

struct JournalOptions {
  std::string postgres_url;
  std::string keys_url;                  // Its own database. Empty: no entry may carry a key.
  std::string role = "tollgate_writer";  // SET ROLE on the records' connection; empty = as logged in.
  std::string keys_role = "tollgate_keys";
  std::string state_dir;  // Holds the file lock and the last acknowledged size. Made if missing.
  std::string build;      // For START and STOP records.

  // Bounds. A refused entry costs its caller an UNAVAILABLE, never memory.
  std::size_t queue_rows_max = 8192;
  std::size_t queue_bytes_max = 64u << 20;
  std::chrono::milliseconds queue_age_max{3000};  // Entries that are not terminal never wait longer.
  std::size_t batch_rows_max = 512;
  std::size_t batch_bytes_max = 4u << 20;

  std::chrono::milliseconds claim{10'000};         // How long a silent owner keeps its log.
  std::chrono::milliseconds adopt_poll{1000};      // How often others' claims are looked at.
  std::chrono::milliseconds adopt_patience{3000};  // A lapsed claim must stay so for as long: nobody is robbed after a common stall.
  std::chrono::milliseconds statement_timeout{5000};
  std::chrono::milliseconds connect_timeout{2000};
  std::chrono::milliseconds lock_timeout{2000};
  std::chrono::milliseconds stop_timeout{5000};

  RecoveryCallbacks recovery;
  // Whether it looks after others' logs: takes a released one if it has none, adopts those whose owners died (`recovery.settle` is then
  // required). False for tools that make a few records and end: a log of their own, and what it owes stays for others to tell of.
  bool adopt = true;
  // What the database has lost of this instance's own log is accepted: for the tool that puts the acceptance on record.
  bool accept_lost_records = false;
  const base::Clock* clock = nullptr;  // Stamps records; null = SystemClock(). Waits use the steady clock.
};

// Totals since Open, for metrics.
struct JournalStats {
  std::int64_t rows = 0;  // Durable records.
  std::int64_t batches = 0;
  std::int64_t commit_us = 0;    // Sum over batches, from sending to the answer.
  std::int64_t refused = 0;      // Entries answered UNAVAILABLE.
  std::int64_t quarantined = 0;  // Entries that were bad by themselves.
  std::int64_t reconnects = 0;
  std::int64_t in_doubt = 0;  // Batches whose fate the head had to tell.
  std::int64_t adopted_logs = 0;
  std::int64_t recovered_requests = 0;
  std::int64_t queue_rows = 0;  // Now.
  std::int64_t queue_bytes = 0;
  std::int64_t open_requests = 0;  // REQUESTs without a terminal record, now.
};

class PostgresJournal : public Journal {
 public:
  // FAILED_PRECONDITION: another process holds the state directory; the role may change records; a setting loses commits; the
  // schema is missing (run `tollgate migrate`); this host's clock and Postgres's are minutes apart; `adopt` without settle. DATA_LOSS: the
  // database has fewer records than were acknowledged, and nobody has accepted that on record, or the keys database lacks a key of one: it
  // was rolled back. UNAVAILABLE: Postgres cannot be reached. Blocks; seconds at most beside the recovery itself.
  static absl::StatusOr<std::unique_ptr<PostgresJournal>> Open(JournalOptions options);

  // Appends STOP once nothing is queued or open, lets the log go, joins. What is still queued after `stop_timeout` is answered
  // UNAVAILABLE. Called by the destructor if need be. Append after Stop is UNAVAILABLE. Not all `home`: leases are still out that an
  // adopter of the log brings home; it is left for one.
  virtual void Stop(bool home = true) = 0;

  virtual base::InstanceId instance() const = 0;  // Stays the same while the state directory lives.
  virtual std::int32_t log_id() const = 0;
  virtual std::int64_t epoch() const = 0;  // Fencing number of this ownership: leases are held under (instance, epoch).
  virtual JournalStats stats() const = 0;
};

}  // namespace tollgate::audit
