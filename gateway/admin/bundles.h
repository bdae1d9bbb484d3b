// Signed policy bundles on the server: whose signatures an org trusts, and what it demands of a policy's text. Room-internal; pure.
//
// Where Changes refuses a policy's text for that, the reason is POLICY_SIGNATURE, or POLICY_BUNDLE_OLD where one with a greater number is
// stored.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gateway/directory/rows.h"
#include "policy/bundle.h"

namespace tollgate::admin {

// What SetPolicySigners changes: public keys in PEM by name, and names.
struct SignersChange {
  std::map<std::string, std::string> add;
  std::vector<std::string> remove;
  std::optional<bool> required;  // Only policies that one of them signed may act.
};

// As directory.org has them in one text: a line each, "NAME BASE64".
absl::StatusOr<policy::Signers> ReadSigners(std::string_view text);
std::string WriteSigners(const policy::Signers& signers);

// No policy acts in the org that nobody it trusts has signed.
bool WantsSigned(const directory::Row& org);

// The signer of a policy's text; empty: it is not signed, or the org trusts nobody, and it need not be. Errors as policy::SignerOf, and of
// a bundle that is another policy's.
absl::StatusOr<std::string> CheckSigned(const directory::Row& org, const std::string& name, const std::string& yaml);

// A text's number as a bundle; 0: it has none.
std::int64_t BundleVersionOf(const std::string& yaml);
// The number that a stored policy's bundle holds against older ones; 0: none. Where the org trusts signers only what one of them signed
// counts, so that nobody else numbers their bundles out; else what is no draft.
std::int64_t NumberHeldBy(const directory::Row& org, const directory::Row& policy);

}  // namespace tollgate::admin
