// Whose log is whose: claiming, taking back, adopting. And what a database must be like before anything is written to it.
// Internal to audit/. Every call is one or two statements on the given session (role tollgate_writer).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "audit/batch.h"
#include "base/postgres.h"
#include "base/uuid.h"

namespace tollgate::audit {

// What `owner` held under epochs below `below` is dead.
struct Dead {
  base::InstanceId owner;
  std::int64_t below = 0;
  bool operator==(const Dead&) const = default;
};

struct Claim {
  Head head;
  std::int64_t open_from = 0;
  base::InstanceId previous;  // Who wrote it before, itself for a new log: what that one held is dead.
  std::optional<Dead> owed;   // Whom an owner of this log took it from and had not told of when it died; or itself takes it from now.
};

// All that is to be told of.
std::vector<Dead> DeadOf(const Claim& claim);

// A log whose claim has lapsed.
struct Lapsed {
  std::int32_t log_id = 0;
  std::int64_t epoch = 0;
  auto operator<=>(const Lapsed&) const = default;
};

// This instance's own log, at once: the caller holds the file lock that proves the predecessor dead. Nothing if it has another owner by
// now.
absl::StatusOr<std::optional<Claim>> TakeBack(base::Session& session, std::int32_t log_id, base::InstanceId instance,
                                              std::chrono::milliseconds claim);
// A log that names this instance, else (`others`) a released one that owes nothing, else a new one. As above, the caller knows the
// predecessor dead.
absl::StatusOr<Claim> TakeFree(base::Session& session, base::InstanceId instance, std::chrono::milliseconds claim, bool others = true);
// Also those that were released while they owed, as instances do that know nothing of it.
absl::StatusOr<std::vector<Lapsed>> FindLapsed(base::Session& session, std::int32_t own_log);
// Nothing if its owner came back or another was quicker. The row goes on naming the dead instance, and says in `adopted` that another holds
// the log, until a new owner takes it.
absl::StatusOr<std::optional<Claim>> Adopt(base::Session& session, const Lapsed& lapsed, std::chrono::milliseconds claim);

// They were told of: the head no longer keeps in mind whom its log was taken from.
absl::Status ForgetOwed(base::Session& session, const Head& head);

// What Postgres's clock says, in microseconds (clock_check.h).
absl::StatusOr<std::int64_t> PostgresTime(base::Session& session);

// FAILED_PRECONDITION, naming the setting: what this server acknowledges it could lose in a crash.
absl::Status CheckDurable(base::Session& session);

// FAILED_PRECONDITION, naming what to change: a role that may change records, a setting that loses commits, a standby, no schema.
absl::Status CheckDatabase(base::Session& session);
struct Partitions {
  bool strays = false;        // Records lie in the default partition, which none should …
  std::int64_t left_out = 0;  // … and because of them so many of the days have no partition.
};
// Makes partitions for the days to come. Needs the log to itself for a moment, in which all writers wait: gives up with ABORTED after
// `patience` of waiting for readers.
absl::StatusOr<Partitions> MakePartitions(base::Session& session, std::chrono::milliseconds patience = std::chrono::milliseconds(50));
void WarnOfStrays(const Partitions& partitions);  // If there are any.
// The setting `max_locks_per_transaction` that this server needs: a search of all days locks every partition with its indexes, and some run
// at once. 0: the one that it has is enough.
absl::StatusOr<std::int64_t> LocksWanted(base::Session& session);
void WarnOfLocks(std::int64_t wanted);  // If it is not 0.
// Whether today and tomorrow (UTC) have theirs.
absl::StatusOr<bool> HasPartitions(base::Session& session);
absl::StatusOr<std::string> SystemIdentifier(base::Session& session);

}  // namespace tollgate::audit
