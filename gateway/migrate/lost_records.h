// Going on without records that the main database acknowledged and has lost: what `tollgate migrate --lost-records REASON` does, on record.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace tollgate::migrate {

struct LostRecordsOptions {
  std::string owner_url;  // Of the main database, as its owner: who serves cannot accept a loss.
  std::string state_dir;  // As FirstOwnerOptions::state_dir.
  std::string actor;      // "cli:USER"
  std::string reason;
  std::string build;
};

struct LostRecords {
  std::int64_t accepted = 0;  // Logs that nobody serves: their instances go on, and say which of their records are missing.
  std::int64_t served = 0;    // Logs that somebody serves, and for which nothing was accepted.
};

// Adds an ADMIN record ("records.lost") and notes in the database that instances may start whose state says that their logs had more
// records, each once. INVALID_ARGUMENT: no reason, or one that is too long.
absl::StatusOr<LostRecords> GoOnWithoutRecords(const LostRecordsOptions& options);

}  // namespace tollgate::migrate
