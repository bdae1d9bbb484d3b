// One path for all: a credential that does not parse or is not known is compared with a dummy, so that the answer takes as long as for a
// wrong secret. Whether the key lives is looked at after the comparison only. The text of the refusal never depends on the reason.
//
// Tested by tests/gateway/identity/identity_test.cpp.
#include "gateway/identity/identity.h"

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/error_detail.h"
#include "gateway/identity/api_key.h"
#include "gateway/identity/permissions.h"

namespace tollgate::identity {
namespace {

constexpr std::string_view kDummySecret = "0000000000000000000000000000000000000000000";  // As long as a real one.
constexpr std::string_view kDummyId = "00000000";

absl::Status InvalidKey() {
  base::ErrorDetail detail;
  detail.reason = "INVALID_API_KEY";
  detail.may_retry = false;
  return base::WithDetail(
      base::Unauthenticated("the API key is missing or not valid; send a key that is in force as `Authorization: Bearer tg_…`"), detail);
}

absl::Status Blocked(std::string_view kind, std::string_view reason, const std::string& name) {
  base::ErrorDetail detail;
  detail.reason = std::string(reason);
  detail.may_retry = false;
  return base::WithDetail(
      base::PermissionDenied(fmt::format("{} {} is blocked; an owner of the installation can lift the block", kind, name)), detail);
}

}  // namespace

Identity::Identity(std::string pepper, bool allow_dev_keys) : pepper_(std::move(pepper)), allow_dev_keys_(allow_dev_keys) {
  TG_CHECK(pepper_.size() >= 32, "a pepper of less than 32 bytes");
}

Identity::~Identity() { base::Wipe(pepper_); }

absl::StatusOr<Principal> Identity::Recognise(const std::shared_ptr<const directory::Snapshot>& snapshot, std::string_view bearer,
                                              base::WallTime now) const {
  const absl::StatusOr<ApiKey> parsed = ParseApiKey(bearer);
  const std::string_view id = parsed.ok() ? std::string_view(parsed->public_id) : kDummyId;
  const std::string_view secret = parsed.ok() ? std::string_view(parsed->secret) : kDummySecret;
  const std::optional<directory::Place> place = snapshot->FindKey(id);
  const base::Digest given = SecretHmac(pepper_, secret);
  const base::Digest kept = place.has_value() ? place->key->secret_hmac : base::Digest{};
  const bool same = base::ConstantTimeEqual(base::View(given), base::View(kept));
  if (!parsed.ok() || !place.has_value() || !same) return InvalidKey();
  const directory::Key& key = *place->key;
  const bool dev_text = parsed->environment == Environment::kDev;
  if (key.dev != dev_text || (key.dev && !allow_dev_keys_)) return InvalidKey();
  if (key.revoked_us.has_value() || (key.expires_us.has_value() && *key.expires_us <= base::ToMicros(now))) return InvalidKey();
  return Principal{snapshot, *place};
}

absl::StatusOr<Principal> Identity::Authenticate(const std::shared_ptr<const directory::Snapshot>& snapshot, std::string_view bearer,
                                                 base::WallTime now) const {
  TG_ASSIGN(Principal who, Recognise(snapshot, bearer, now));
  TG_RETURN_IF_ERROR(snapshot->MayBegin(who.place, now));
  return who;
}

absl::StatusOr<Principal> Identity::AuthenticateAdmin(const std::shared_ptr<const directory::Snapshot>& snapshot, std::string_view bearer,
                                                      base::WallTime now) const {
  TG_ASSIGN(Principal who, Recognise(snapshot, bearer, now));
  const directory::Place& at = who.place;
  if (ReachesOverInstallation(*at.key)) return who;
  if (at.org->blocked) return Blocked("org", "ORG_BLOCKED", at.org->name);
  if (at.team->blocked) return Blocked("team", "TEAM_BLOCKED", at.team->name);
  if (at.project->blocked) return Blocked("project", "PROJECT_BLOCKED", at.project->name);
  return who;
}

}  // namespace tollgate::identity
