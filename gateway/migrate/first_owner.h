// The first owner's key: what `tollgate migrate` makes at the end of the first run, so that somebody can make the rest. And another, when
// no owner's key is left: who has the owner's login and the root key could do anything anyway, and so it is on record.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"

namespace tollgate::migrate {

struct FirstOwnerOptions {
  std::string postgres_url;
  std::string keys_url;
  std::string state_dir;  // A folder of its own for the journal that records the change; `tollgate migrate` uses STATE_DIR/migrate.
  std::string mac_key;    // audit::RootKey::Derive("directory-mac")
  std::string pepper;
  std::string actor;  // "cli:USER"
  std::string owner;  // The person it belongs to.
  std::string build;
  bool dev = false;      // Makes a dev key, which `serve` refuses.
  bool another = false;  // Whatever keys there are.
};

// Whether the installation has keys.
absl::StatusOr<bool> HasKeys(const std::string& postgres_url);

// DATA_LOSS: the directory is not of this root key, or was changed by who has not got it.
absl::Status CheckDirectory(const std::string& postgres_url, const std::string& mac_key);

// The key's text, shown once; nullopt if the installation has keys already and not `another` is wanted, for which one SELECT is enough.
// Else opens a journal of its own for the ADMIN records and closes it.
absl::StatusOr<std::optional<std::string>> MakeFirstOwner(const FirstOwnerOptions& options);

}  // namespace tollgate::migrate
