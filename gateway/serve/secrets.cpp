// The pepper's file has the root key's format, so that both are made, marked and checked in one way.
// Tested by tests/gateway/serve/secrets_test.cpp.
#include "gateway/serve/secrets.h"

#include <fmt/format.h>

namespace tollgate::serve {

namespace {

absl::Status RefuseDev(const audit::RootKey& key, const std::string& path) {
  if (!key.made_by_dev()) return absl::OkStatus();
  return base::FailedPrecondition(fmt::format(
      "{} was made by `tollgate dev` and is not for serving; make one of your own: (umask 077; openssl rand -hex 32 > FILE)", path));
}

}  // namespace

absl::StatusOr<InstallationSecrets> ReadSecrets(const tollgate::v1::Config::Secrets& config, bool dev) {
  TG_ASSIGN(audit::RootKey root, audit::RootKey::Load(config.root_key_file()));
  TG_ASSIGN(const audit::RootKey pepper, audit::RootKey::Load(config.pepper_file()));
  if (!dev) {
    TG_RETURN_IF_ERROR(RefuseDev(root, config.root_key_file()));
    TG_RETURN_IF_ERROR(RefuseDev(pepper, config.pepper_file()));
  }
  std::string mac_key = root.Derive("directory-mac");
  std::string salt_key = root.Derive("upstream-cache-salt");
  return InstallationSecrets{std::move(root), pepper.secret(), std::move(mac_key), std::move(salt_key)};
}

}  // namespace tollgate::serve
