// Identity: from a credential to who calls. Pure and quick: it reads the snapshot, never the database. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "gateway/directory/snapshot.h"

namespace tollgate::identity {

// Who calls, after authentication.
struct Principal {
  std::shared_ptr<const directory::Snapshot> snapshot;  // Keeps `place` alive.
  directory::Place place;
};

class Identity {
 public:
  // `pepper`: 32 bytes or more, never in the database. `allow_dev_keys`: true in `tollgate dev` only.
  Identity(std::string pepper, bool allow_dev_keys);
  ~Identity();

  // For requests to models. UNAUTHENTICATED (reason INVALID_API_KEY) for a missing, malformed, unknown, revoked or expired credential: one
  // answer for all, in the same time. Snapshot::MayBegin's refusal when the key is good but may run nothing now (blocked, stopped …).
  absl::StatusOr<Principal> Authenticate(const std::shared_ptr<const directory::Snapshot>& snapshot, std::string_view bearer,
                                         base::WallTime now) const;

  // For the admin API. The same but for what refuses a good key: emergency stops and unusable policies do not (somebody must lift and mend
  // them), a block does unless one of the key's roles reaches over the whole installation.
  absl::StatusOr<Principal> AuthenticateAdmin(const std::shared_ptr<const directory::Snapshot>& snapshot, std::string_view bearer,
                                              base::WallTime now) const;

 private:
  absl::StatusOr<Principal> Recognise(const std::shared_ptr<const directory::Snapshot>& snapshot, std::string_view bearer,
                                      base::WallTime now) const;

  std::string pepper_;
  bool allow_dev_keys_;
};

}  // namespace tollgate::identity
