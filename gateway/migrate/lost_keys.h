// Going on without content keys that are lost for good: what `tollgate migrate --lost-keys REASON` does, on record.
#pragma once

#include <string>

#include "audit/keys.h"
#include "base/status.h"

namespace tollgate::migrate {

struct LostKeysOptions {
  std::string postgres_url;
  std::string keys_url;   // As the owner of its tables.
  std::string state_dir;  // As FirstOwnerOptions::state_dir.
  std::string actor;      // "cli:USER"
  std::string reason;
  std::string build;
};

// Adds an ADMIN record ("keys.lost") and notes in the keys database that keys of records from before are not missed
// (audit::AcceptLostKeys). INVALID_ARGUMENT: no reason, or one that is too long. PERMISSION_DENIED: not the owner.
absl::Status GoOnWithoutKeys(const audit::RootKey& root, const LostKeysOptions& options);

}  // namespace tollgate::migrate
