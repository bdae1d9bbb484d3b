// One ADMIN record of `tollgate migrate`, in a journal of its own that needs no keys and looks after nobody else's log. Internal to
// gateway/migrate.
#pragma once

#include <string>

#include "base/status.h"

namespace tollgate::migrate {

struct OnRecord {
  std::string postgres_url;
  std::string state_dir;  // As FirstOwnerOptions::state_dir.
  std::string build;
  std::string actor;  // "cli:USER"
  std::string action;
  std::string summary;
  bool accept_lost_records = false;  // The journal's own log may have lost records.
};

// OK: it is durable. Blocks.
absl::Status PutOnRecord(const OnRecord& what);

// INVALID_ARGUMENT, beginning with `what`: none is given, or it is too long for a record.
absl::Status CheckReason(const std::string& what, const std::string& reason);

}  // namespace tollgate::migrate
