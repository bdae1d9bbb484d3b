// Whether a keys database is the one that an installation's records were sealed under: all of it, and no other. Internal to audit/.
// Some short statements at a start. Blocks.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "audit/keys.h"
#include "base/postgres.h"
#include "base/status.h"

namespace tollgate::audit {

// FAILED_PRECONDITION: the keys were made under another root key; they belong to another installation than `main`'s; or there are none, and
// records of `main` have content. A new keys database is noted as `main`'s and the root key's, one from before as `main`'s. `main` null:
// only the root key counts.
absl::Status CheckKeys(base::Session& keys, const RootKey& root, base::Session* main);

// DATA_LOSS: contents at the end of a log that were only recorded once their keys were stored have none, and nobody has accepted that
// (AcceptLostKeys). Asks for log `own`, if there is such a log, and the others that were written last, some at most; of each the newest
// thousand contents, at its end: the week before its owner was last heard of. To be asked before a log is taken.
absl::Status CheckNewestKeys(base::Session& main, base::Session& keys, std::int32_t own);

struct StoredKey {
  std::string request;
  std::int64_t wall_us = 0;  // Of its record.
};
// DATA_LOSS: the database lacks one of these keys, or the key of its day, which it had acknowledged, and nobody has accepted that since.
absl::Status CheckStoredKeys(base::Session& keys, std::span<const StoredKey> stored);

}  // namespace tollgate::audit
