// The part of Changes that takes a policy's version from draft to retired. Every step that lets a version act compiles it with the org's
// other policies in force (together.h), whose tests then run on all of them together. Tested by tests/gateway/admin/lifecycle_test.cpp and
// tests/gateway/admin/changes_test.cpp.
#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/ed25519.h"
#include "base/error_detail.h"
#include "gateway/admin/bundles.h"
#include "gateway/admin/changes_impl.h"
#include "gateway/admin/text.h"
#include "gateway/admin/together.h"
#include "gateway/directory/names.h"
#include "policy/policy_set.h"

namespace tollgate::admin {

using directory::Row;
using directory::Table;

namespace {

// What a step works on.
struct Found {
  FoundScope in;
  std::optional<Row> binding;  // As it stands.
};
absl::StatusOr<Found> FindPolicy(Transaction& t, const std::string& org, const std::string& name) {
  Found out;
  TG_ASSIGN(out.in, t.FindScope({org, {}, {}, {}}));
  TG_ASSIGN(out.binding, t.Find(Table::kPolicyBinding, "org = $1::uuid AND name = $2::text", {out.in.org.ToString(), name}));
  return out;
}

absl::StatusOr<Row> FindVersion(Transaction& t, const Found& found, const std::string& name, std::int64_t version) {
  TG_ASSIGN(const auto row, t.Find(Table::kPolicy, "org = $1::uuid AND name = $2::text AND policy_version = $3::int8",
                                   {found.in.org.ToString(), name, version}));
  if (!row.has_value())
    return base::NotFound(fmt::format("org {} has no policy '{}' version {}", found.in.row.Text("name"), name, version));
  return *row;
}

Row NewBinding(const Found& found, const std::string& name) {
  Row row = directory::NewRow(Table::kPolicyBinding);
  row.Set("org", found.in.org.ToString());
  row.Set("name", name);
  row.Set("policy_version", std::int64_t{0});
  row.Set("mode", std::string("enforce"));
  return row;
}

std::int64_t InForce(const Found& found) { return found.binding.has_value() ? found.binding->Int("policy_version") : 0; }
std::int64_t CandidateOf(const Row& binding) { return binding.IsNull("candidate_version") ? 0 : binding.Int("candidate_version"); }

void ClearCandidate(Row& binding) {
  for (const char* column : {"candidate_version", "candidate_mode", "canary_by", "canary_share"}) binding.Set(column, std::monostate());
}

// Where the org wants it, nobody lets act, or takes out of force, what they wrote themselves.
absl::Status NeedSecondPerson(Transaction& t, const Found& found, const Row& version) {
  const Row& org = found.in.row;
  if (!org.Says("second_person") || version.IsNull("author")) return absl::OkStatus();
  TG_ASSIGN(const Person person, t.Acting());
  return NeedTwoPeople({version.Text("author"), version.TextOr("author_made_by", "")}, person,
                       fmt::format("org {} wants a second person: {} stored version {} of policy {}, so somebody else with the role "
                                   "policy_author, approver or admin must do this",
                                   org.Text("name"), person.name, version.Int("policy_version"), version.Text("name")));
}

// The greatest number, of `least` and more, that the policy's stored bundles hold against older ones; 0: none does. Versions from before
// the number had a column are read for it.
absl::StatusOr<std::int64_t> NewestBundle(Transaction& t, const FoundScope& in, const std::string& name, std::int64_t least) {
  TG_ASSIGN(const auto versions, t.FindAll(Table::kPolicy,
                                           "org = $1::uuid AND name = $2::text AND (bundle >= $3::int8 OR (bundle IS NULL AND "
                                           "position('# bundle: ' IN yaml) > 0))",
                                           {in.org.ToString(), name, least}));
  std::int64_t newest = 0;
  for (const Row& row : versions) newest = std::max(newest, NumberHeldBy(in.row, row));
  return newest >= least ? newest : 0;
}

// Whether the org lets this text act. Where it wants signatures, an older bundle acts only as what a rollback goes back to.
absl::Status MayAct(Transaction& t, const Found& found, const std::string& name, const std::string& yaml) {
  TG_RETURN_IF_ERROR(CheckSigned(found.in.row, name, yaml).status());
  if (!WantsSigned(found.in.row)) return absl::OkStatus();
  TG_ASSIGN(const std::int64_t newest, NewestBundle(t, found.in, name, BundleVersionOf(yaml) + 1));
  if (newest == 0) return absl::OkStatus();
  return base::WithDetail(
      base::FailedPrecondition(fmt::format("bundle {} of policy {} is older than {}, which is stored; to undo the last step: "
                                           "tollgate policy rollback {}",
                                           BundleVersionOf(yaml), name, newest, name)),
      {.reason = "POLICY_BUNDLE_OLD", .may_retry = false});
}

constexpr const char* kNewestVersion =
    "org = $1::uuid AND name = $2::text AND policy_version = (SELECT max(policy_version) FROM directory.policy WHERE org = $1::uuid AND "
    "name = $2::text)";

// Every version stays in the memory of every instance, and goes with every backup.
absl::Status CheckRoom(Transaction& t, const FoundScope& in, std::size_t bytes, std::int64_t bytes_max) {
  if (t.actor().installation) return absl::OkStatus();
  static const std::string kSum = "SELECT coalesce(sum(octet_length(yaml)), 0)::int8 FROM directory.policy WHERE org = $1::uuid";
  TG_ASSIGN(const base::Rows stored, t.session().Run("count an org's policies", kSum, {in.org.ToString()}));
  if (stored.Int(0, 0) + static_cast<std::int64_t>(bytes) <= bytes_max) return absl::OkStatus();
  return base::WithDetail(
      base::FailedPrecondition(fmt::format(
          "org {} has stored policies of {} bytes, and its own people may store {}; no version is ever deleted: ask an owner of the "
          "installation to store this one, and store changes of long lists less often",
          in.row.Text("name"), stored.Int(0, 0), bytes_max)),
      {.reason = "POLICIES_FULL", .may_retry = false});
}

// OK, or why a text with this number may not be stored behind those that are.
absl::Status CheckNumber(Transaction& t, const FoundScope& in, const std::string& name, std::int64_t number) {
  if (number == 0) return absl::OkStatus();
  TG_ASSIGN(const std::int64_t newest, NewestBundle(t, in, name, number));
  if (newest == 0) return absl::OkStatus();
  return base::WithDetail(
      base::FailedPrecondition(fmt::format("bundle {} of policy {} is no newer than {}, which is stored: number it {} or more", number,
                                           name, newest, newest + 1)),
      {.reason = "POLICY_BUNDLE_OLD", .may_retry = false});
}

Row NewVersion(Transaction& t, const FoundScope& in, const std::string& name, std::int64_t version, const std::string& yaml,
               const Person& author) {
  Row row = directory::NewRow(Table::kPolicy);
  row.Set("org", in.org.ToString());
  row.Set("name", name);
  row.Set("policy_version", version);
  row.Set("sha256", base::Blob{std::string(base::View(base::Sha256(yaml)))});
  row.Set("yaml", yaml);
  row.Set("bundle", BundleVersionOf(yaml));
  row.Set("created_us", t.now_us());
  row.Set("author", author.name);
  if (!author.made_by.empty()) row.Set("author_made_by", author.made_by);
  return row;
}

}  // namespace

absl::StatusOr<Changed> Changes::PutPolicy(const Actor& actor, const std::string& org, const std::string& name, const std::string& yaml,
                                           bool draft) {
  TG_RETURN_IF_ERROR(directory::CheckName("policy name", name));
  if (yaml.size() > 3 << 20) return base::InvalidArgument("a policy's text, with what it includes, is at most 3 MiB");
  const policy::PolicySource source{name, yaml};
  const absl::Status tested = policy::PolicySet::Compile({&source, 1}, policy::RunTests::kYes, actor.keep_going).status();
  if (!draft) TG_RETURN_IF_ERROR(tested);
  if (!tested.ok()) TG_RETURN_IF_ERROR(policy::PolicySet::Compile({&source, 1}, policy::RunTests::kNo, actor.keep_going).status());
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundScope in, t.FindScope({org, {}, {}, {}}));
    TG_ASSIGN(const auto newest, t.Find(Table::kPolicy, kNewestVersion, {in.org.ToString(), name}));
    if (newest.has_value()) out.row = *newest;
    if (newest.has_value() && newest->Text("yaml") == yaml) return absl::OkStatus();
    std::string signer;
    if (!draft) {
      TG_ASSIGN(signer, CheckSigned(in.row, name, yaml));
    }
    TG_RETURN_IF_ERROR(CheckNumber(t, in, name, BundleVersionOf(yaml)));
    TG_RETURN_IF_ERROR(CheckRoom(t, in, yaml.size(), impl_->changer.options().policy_bytes_max));
    TG_ASSIGN(const Person author, t.Acting());
    const std::int64_t version = newest.has_value() ? newest->Int("policy_version") + 1 : 1;
    out.row = NewVersion(t, in, name, version, yaml, author);
    if (!tested.ok()) out.row.Set("draft", std::string("t"));
    const std::int64_t number = out.row.Int("bundle");
    return t.Write(out.row, nullptr,
                   NoteOf(in, "policy.put",
                          fmt::format("stored policy {} version {}{} of org {}{}{}", name, version, tested.ok() ? "" : " (a draft)", org,
                                      number > 0 ? fmt::format(", bundle {}", number) : "",
                                      signer.empty() ? "" : fmt::format(", signed by {}", signer))));
  });
}

absl::StatusOr<Changed> Changes::ActivatePolicy(const Actor& actor, const std::string& org, const std::string& name, std::int64_t version) {
  TG_RETURN_IF_ERROR(directory::CheckName("policy name", name));
  if (version < 0) return base::InvalidArgument("version: use 0 or more");
  return impl_->WithPolicies(actor, [&](Transaction& t, Changed& out, Together& together) -> absl::Status {
    TG_ASSIGN(const Found found, FindPolicy(t, org, name));
    if (version > 0) {
      TG_ASSIGN(const Row row, FindVersion(t, found, name, version));
      if (InForce(found) != version) {
        TG_RETURN_IF_ERROR(NeedSecondPerson(t, found, row));
        TG_RETURN_IF_ERROR(MayAct(t, found, name, row.Text("yaml")));
      }
    } else if (!found.binding.has_value()) {
      return base::NotFound(fmt::format("policy '{}' of org {} is not in force", name, org));
    } else if (InForce(found) > 0) {
      TG_ASSIGN(const Row row, FindVersion(t, found, name, InForce(found)));
      TG_RETURN_IF_ERROR(NeedSecondPerson(t, found, row));
    }
    out.row = found.binding.has_value() ? *found.binding : NewBinding(found, name);
    if (found.binding.has_value() && InForce(found) == version) return absl::OkStatus();
    TG_RETURN_IF_ERROR(together.Check(t, found.in.org.ToString(), name, version));
    out.row.Set("previous_version", InForce(found));
    out.row.Set("policy_version", version);
    if (CandidateOf(out.row) == version) ClearCandidate(out.row);
    const std::string summary = version > 0 ? fmt::format("put policy {} version {} in force for org {}", name, version, org)
                                            : fmt::format("took policy {} out of force for org {}", name, org);
    return t.Write(out.row, found.binding.has_value() ? &*found.binding : nullptr, NoteOf(found.in, "policy.activate", summary));
  });
}

absl::StatusOr<Changed> Changes::TryPolicy(const Actor& actor, const std::string& org, const std::string& name, const Trial& trial) {
  TG_RETURN_IF_ERROR(directory::CheckName("policy name", name));
  if (trial.canary && (trial.share_per_10000 < 1 || trial.share_per_10000 > 10000))
    return base::InvalidArgument("share: a canary takes from 0.01 to 100 percent");
  return impl_->WithPolicies(actor, [&](Transaction& t, Changed& out, Together& together) -> absl::Status {
    TG_ASSIGN(const Found found, FindPolicy(t, org, name));
    TG_ASSIGN(const Row row, FindVersion(t, found, name, trial.version));
    if (InForce(found) == trial.version)
      return base::FailedPrecondition(fmt::format("version {} of policy {} is in force already", trial.version, name));
    TG_ASSIGN(const auto others, t.FindAll(Table::kPolicyBinding, "org = $1::uuid AND candidate_version > 0 AND name <> $2::text",
                                           {found.in.org.ToString(), name}));
    if (!others.empty())
      return base::FailedPrecondition(fmt::format(
          "policy {} of org {} has a version on trial, and an org tries one at a time; end it first: tollgate policy rollback {}",
          others.front().Text("name"), org, others.front().Text("name")));
    if (trial.canary) {
      TG_RETURN_IF_ERROR(NeedSecondPerson(t, found, row));
      TG_RETURN_IF_ERROR(MayAct(t, found, name, row.Text("yaml")));
    }
    TG_RETURN_IF_ERROR(together.Check(t, found.in.org.ToString(), name, trial.version));
    out.row = found.binding.has_value() ? *found.binding : NewBinding(found, name);
    ClearCandidate(out.row);
    out.row.Set("candidate_version", trial.version);
    out.row.Set("candidate_mode", std::string(trial.canary ? "canary" : "shadow"));
    if (trial.canary) {
      out.row.Set("canary_by", std::string(trial.by_tenant ? "tenant" : "request"));
      out.row.Set("canary_share", trial.share_per_10000);
    }
    if (found.binding.has_value() && directory::RowDigest(out.row) == directory::RowDigest(*found.binding)) return absl::OkStatus();
    const std::string summary =
        trial.canary ? fmt::format("canary: policy {} version {} acts on {:.2f} % of org {} by {}", name, trial.version,
                                   static_cast<double>(trial.share_per_10000) / 100, org, trial.by_tenant ? "tenant" : "request")
                     : fmt::format("shadow: policy {} version {} judges beside the one in force for org {}", name, trial.version, org);
    return t.Write(out.row, found.binding.has_value() ? &*found.binding : nullptr,
                   NoteOf(found.in, trial.canary ? "policy.canary" : "policy.shadow", summary));
  });
}

absl::StatusOr<Changed> Changes::RollbackPolicy(const Actor& actor, const std::string& org, const std::string& name) {
  TG_RETURN_IF_ERROR(directory::CheckName("policy name", name));
  return impl_->WithPolicies(actor, [&](Transaction& t, Changed& out, Together& together) -> absl::Status {
    TG_ASSIGN(const Found found, FindPolicy(t, org, name));
    if (!found.binding.has_value()) return base::NotFound(fmt::format("policy '{}' of org {} was never in force", name, org));
    out.row = *found.binding;
    if (const std::int64_t candidate = CandidateOf(out.row); candidate > 0) {
      ClearCandidate(out.row);
      return t.Write(
          out.row, &*found.binding,
          NoteOf(found.in, "policy.rollback", fmt::format("ended the trial of policy {} version {} of org {}", name, candidate, org)));
    }
    if (out.row.IsNull("previous_version"))
      return base::FailedPrecondition(
          fmt::format("nothing was in force before version {} of policy {}; to take it out: tollgate policy activate {} 0", InForce(found),
                      name, name));
    const std::int64_t back = out.row.Int("previous_version");
    if (back > 0) {
      TG_ASSIGN(const Row row, FindVersion(t, found, name, back));
      TG_RETURN_IF_ERROR(CheckSigned(found.in.row, name, row.Text("yaml")).status());
    } else if (InForce(found) > 0) {  // Back to no rules at all: what `activate 0` does.
      TG_ASSIGN(const Row row, FindVersion(t, found, name, InForce(found)));
      TG_RETURN_IF_ERROR(NeedSecondPerson(t, found, row));
    }
    TG_RETURN_IF_ERROR(together.Check(t, found.in.org.ToString(), name, back));
    out.row.Set("previous_version", InForce(found));
    out.row.Set("policy_version", back);
    const std::string summary = back > 0
                                    ? fmt::format("rolled policy {} of org {} back from version {} to {}", name, org, InForce(found), back)
                                    : fmt::format("rolled policy {} of org {} back from version {} to none", name, org, InForce(found));
    return t.Write(out.row, &*found.binding, NoteOf(found.in, "policy.rollback", summary));
  });
}

absl::StatusOr<Changed> Changes::SetSecondPerson(const Actor& actor, const std::string& org, bool wanted) {
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundScope in, t.FindScope({org, {}, {}, {}}));
    out.row = in.row;
    const bool stands = in.row.Says("second_person");
    if (stands == wanted) return absl::OkStatus();
    out.row.Set("second_person", std::string(wanted ? "t" : "f"));
    return t.Write(out.row, &in.row,
                   NoteOf(in, "policy.second_person",
                          fmt::format("org {} {} a second person to put a policy in force", org, wanted ? "wants" : "no longer wants")));
  });
}

absl::StatusOr<Changed> Changes::SetPolicySigners(const Actor& actor, const std::string& org, const SignersChange& change) {
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundScope in, t.FindScope({org, {}, {}, {}}));
    out.row = in.row;
    TG_ASSIGN(policy::Signers signers, ReadSigners(in.row.IsNull("policy_signers") ? "" : in.row.Text("policy_signers")));
    for (const std::string& name : change.remove) {
      if (signers.erase(name) == 0) return base::NotFound(fmt::format("org {} trusts no policy signer '{}'", org, name));
    }
    for (const auto& [name, pem] : change.add) {
      TG_RETURN_IF_ERROR(directory::CheckName("signer", name));
      TG_ASSIGN(signers[name], base::Ed25519PublicKey(pem));
    }
    const bool wanted = change.required.value_or(WantsSigned(in.row));
    if (wanted && signers.empty())
      return base::FailedPrecondition(
          "an org that wants signed policies trusts at least one signer: --add NAME=PUBLIC.pem, or --require off");
    if (!signers.empty() || !in.row.IsNull("policy_signers")) out.row.Set("policy_signers", WriteSigners(signers));
    if (wanted != WantsSigned(in.row)) out.row.Set("signed_policies", std::string(wanted ? "t" : "f"));
    if (directory::RowDigest(out.row) == directory::RowDigest(in.row)) return absl::OkStatus();
    std::vector<std::string> names;
    for (const auto& [name, key] : signers) names.push_back(name);
    return t.Write(out.row, &in.row,
                   NoteOf(in, "policy.signers",
                          fmt::format("org {} trusts the policy signers [{}] and {} signatures", org, fmt::join(names, ", "),
                                      wanted ? "demands their" : "does not demand")));
  });
}

}  // namespace tollgate::admin
