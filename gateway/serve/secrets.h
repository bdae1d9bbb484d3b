// The installation's secrets, read before anything else, and refused where they are not fit for serving.
#pragma once

#include <string>

#include "audit/keys.h"
#include "base/status.h"
#include "tollgate/v1/config.pb.h"

namespace tollgate::serve {

struct InstallationSecrets {
  audit::RootKey root;
  std::string pepper;             // 32 bytes.
  std::string directory_mac_key;  // Derived from the root key;
  std::string upstream_salt_key;  // so too: what upstreams' cache salts are made with.
};

// FAILED_PRECONDITION: a secret that `tollgate dev` made, unless `dev`. Messages name paths, never contents.
absl::StatusOr<InstallationSecrets> ReadSecrets(const tollgate::v1::Config::Secrets& config, bool dev);

}  // namespace tollgate::serve
