// What a database has lost of what it acknowledged: how much of a log is missing, what of that was accepted, and whether a failover would
// lose anything. Internal to audit/. Every call is a few statements on the given session (role tollgate_writer).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "audit/head_watch.h"
#include "base/crypto.h"
#include "base/postgres.h"
#include "base/uuid.h"

namespace tollgate::audit {

// What an owner of a log was told is durable.
struct Told {
  std::int32_t log_id = 0;
  std::int64_t size = 0;             // The first so many records, …
  std::optional<base::Digest> leaf;  // … the last of which has this leaf. Absent: not known, as of a version before it was kept.
  base::InstanceId owner;
  std::int64_t epoch = 0;  // Under which it was told; 0: not known.
  std::int64_t since = 0;  // Where its own records begin, with its START; `size` where that is not known.
  std::int64_t day = 0;    // When, about, in days since 1970.
};

// So many of them are there still; what others wrote since begins behind them.
struct Kept {
  std::int64_t records = 0;
  bool exact = true;  // False: perhaps fewer. That some are missing is certain all the same.
};

// With the leaf exact whatever was written since, and under whatever epochs. Without it only this is seen: that the log is shorter, that
// its epoch went back, or another owner's START.
absl::StatusOr<Kept> RecordsKept(base::Session& session, const Told& told);

// Of the record at `index`, which was written on about that day; nothing if there is none.
absl::StatusOr<std::optional<base::Digest>> LeafAt(base::Session& session, std::int32_t log_id, std::int64_t index, std::int64_t day);

// DATA_LOSS, with the remedy: the database holds fewer records of a log than it acknowledged.
absl::Status RecordsLost(const Told& told, const Kept& kept);

// Which records these are, for the record of their acceptance.
std::string LostRecordsOf(const Told& told, const Kept& kept);

// Losses of records that were accepted, on record (`tollgate migrate --lost-records`).
struct AcceptedLoss {
  std::int64_t last_us = 0;  // The newest one, by Postgres's clock; 0: there was none.
  bool covers = false;       // What `instance`, whose log was `log_id`, has lost is accepted: it was not running then.
};
// Of those after `since_us`.
absl::StatusOr<AcceptedLoss> ReadAcceptedLoss(base::Session& session, base::InstanceId instance, std::int32_t log_id,
                                              std::int64_t since_us);

// Of all logs but `own_log`, how far they reach.
absl::StatusOr<std::vector<HeadSeen>> ReadHeads(base::Session& session, std::int32_t own_log);

// Whether others follow this server's log of changes, standbys for one, and none of them is waited for: a failover to one of them would
// lose what was acknowledged last.
absl::StatusOr<bool> LosesByFailover(base::Session& session);
void WarnOfFailover(base::Session& session, std::string_view what);  // If it does; `what` it would lose.

}  // namespace tollgate::audit
