// The signers of an org are one text, so that its row holds them all: what the row's MAC covers cannot lose one unseen.
//
// Tested by tests/gateway/admin/bundles_test.cpp.
#include "gateway/admin/bundles.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error_detail.h"

namespace tollgate::admin {

namespace {

absl::StatusOr<policy::Signers> TrustedBy(const directory::Row& org) {
  return ReadSigners(org.IsNull("policy_signers") ? "" : org.Text("policy_signers"));
}

}  // namespace

absl::StatusOr<policy::Signers> ReadSigners(std::string_view text) {
  policy::Signers out;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return base::DataLoss("an org's policy signers are stored badly; restore them from a backup");
    TG_ASSIGN(out[std::string(line.substr(0, space))], base::Base64Decode(line.substr(space + 1)));
  }
  return out;
}

std::string WriteSigners(const policy::Signers& signers) {
  std::string out;
  for (const auto& [name, key] : signers) out += fmt::format("{} {}\n", name, base::Base64Encode(key));
  return out;
}

bool WantsSigned(const directory::Row& org) { return !org.IsNull("signed_policies") && org.Bool("signed_policies"); }

absl::StatusOr<std::string> CheckSigned(const directory::Row& org, const std::string& name, const std::string& yaml) {
  TG_ASSIGN(const policy::Bundle bundle, policy::ReadBundle(name, yaml));
  if (!bundle.name.empty() && bundle.name != name) {
    return base::WithDetail(
        base::FailedPrecondition(fmt::format("this is a bundle of policy {}, not of {}: give --name {}", bundle.name, name, bundle.name)),
        {.reason = "POLICY_SIGNATURE", .may_retry = false});
  }
  TG_ASSIGN(const policy::Signers trusted, TrustedBy(org));
  if (!WantsSigned(org) && (trusted.empty() || bundle.signatures.empty())) return std::string();
  return policy::SignerOf(bundle, trusted);
}

std::int64_t BundleVersionOf(const std::string& yaml) {
  const auto bundle = policy::ReadBundle("", yaml);
  return bundle.ok() ? bundle->version : 0;
}

std::int64_t NumberHeldBy(const directory::Row& org, const directory::Row& policy) {
  const auto bundle = policy::ReadBundle("", policy.Text("yaml"));
  const auto trusted = TrustedBy(org);
  if (!bundle.ok() || !trusted.ok()) return 0;
  const bool counts = trusted->empty() ? policy.IsNull("draft") || !policy.Bool("draft")
                                       : bundle->name == policy.Text("name") && policy::SignerOf(*bundle, *trusted).ok();
  return counts ? bundle->version : 0;
}

}  // namespace tollgate::admin
