// Going on without records that the main database acknowledged and has lost: what `tollgate migrate --lost-records REASON` does, on record.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
  // Logs of instances that run, or ended within their claim's 10 seconds, and for which nothing was accepted. All other instances go on,
  // and say which of their records are missing.
  std::vector<std::int32_t> served;
};

std::string Words(const LostRecords& accepted);  // For whoever accepted it: what goes on now, and what not.

// Adds an ADMIN record ("records.lost") and notes in the database that instances may start whose state says that their logs had more
// records, each once. INVALID_ARGUMENT: no reason, or one that is too long.
absl::StatusOr<LostRecords> GoOnWithoutRecords(const LostRecordsOptions& options);

}  // namespace tollgate::migrate
