// What a transaction would need to know and does not, it asks for by failing: it is rolled back, the texts of the versions that it saw are
// read, one at a time so that other changes have their turns between, and compiled, and it is tried again, where the versions are compared.
// If they changed meanwhile they are asked for anew.
//
// Tested by tests/gateway/admin/together_test.cpp.
#include "gateway/admin/together.h"

#include <vector>

#include <fmt/format.h>

#include "gateway/admin/changes_impl.h"
#include "policy/policy_set.h"

namespace tollgate::admin {

using directory::Row;
using directory::Table;

absl::Status CompileTogether(const std::map<std::string, std::string>& texts, const std::function<absl::Status()>& keep_going) {
  constexpr const char* kWhat = "the org's policies in force together";
  std::vector<policy::PolicySource> sources;
  std::size_t bytes = 0;
  for (const auto& [name, yaml] : texts) bytes += yaml.size();
  if (bytes > kInForceBytesMax)
    return base::InvalidArgument(
        fmt::format("{}: their texts may have {} MiB, and would have more: take one out of force first, or make lists "
                    "shorter",
                    kWhat, kInForceBytesMax >> 20));
  for (const auto& [name, yaml] : texts) sources.push_back({name, yaml});
  return base::Annotate(policy::PolicySet::Compile(sources, policy::RunTests::kYes, keep_going).status(), kWhat);
}

absl::Status Together::Known(const Versions& versions) {
  if (const auto found = known_.find(versions); found != known_.end()) return found->second;
  asked_ = versions;
  return base::Cancelled("these policies are to be compiled first");
}

// All policies of an org are compiled together: one that is good alone may not go with the others, and another's tests may lean on one that
// is taken out. Where the present ones do not compile, any may be taken out.
absl::Status Together::Check(Transaction& t, const std::string& org_id, const std::string& name, std::int64_t version) {
  TG_ASSIGN(const auto bindings, t.FindAll(Table::kPolicyBinding, "org = $1::uuid AND policy_version > 0", {org_id}));
  org_id_ = org_id;
  Versions versions;
  for (const Row& binding : bindings) versions[binding.Text("name")] = binding.Int("policy_version");
  if (version == 0) {
    const absl::Status present = Known(versions);
    if (Asks()) return present;
    if (!present.ok()) return absl::OkStatus();
  }
  versions.erase(name);
  if (version > 0) versions[name] = version;
  return Known(versions);
}

// No more of them than tells that they are too many.
absl::StatusOr<std::map<std::string, std::string>> Together::TextsOf(const Versions& versions) {
  std::map<std::string, std::string> texts;
  std::size_t bytes = 0;
  for (const auto& [name, version] : versions) {
    std::string& text = texts_[{name, version}];
    if (text.empty()) {
      TG_RETURN_IF_ERROR(KeepGoing());
      TG_ASSIGN(const auto rows, changer_.Read(Table::kPolicy, "org = $1::uuid AND name = $2::text AND policy_version = $3::int8",
                                               {org_id_, name, version}));
      if (rows.empty()) return base::DataLoss(fmt::format("policy '{}' is in force and not stored; restore it from a backup", name));
      text = rows.front().Text("yaml");
    }
    texts[name] = text;
    if ((bytes += text.size()) > kInForceBytesMax) break;
  }
  return texts;
}

absl::StatusOr<bool> Together::CompileAsked() {
  if (!asked_.has_value()) return false;
  if (known_.size() == kTimesMax)
    return base::Aborted("the org's policies in force were changed by others each time that these were compiled beside them; try again");
  const Versions versions = *std::exchange(asked_, std::nullopt);
  TG_ASSIGN(const auto texts, TextsOf(versions));
  absl::Status compiled = CompileTogether(texts, keep_going_);
  if (!compiled.ok()) TG_RETURN_IF_ERROR(KeepGoing());  // Who gave up knows nothing of them.
  known_[versions] = std::move(compiled);
  return true;
}

absl::StatusOr<Changed> Changes::Impl::WithPolicies(const Actor& actor,
                                                    const std::function<absl::Status(Transaction&, Changed&, Together&)>& body) {
  Together together(changer, actor.keep_going);
  while (true) {
    absl::StatusOr<Changed> made = One(actor, [&](Transaction& t, Changed& out) {
      together.Begin();
      return body(t, out, together);
    });
    TG_ASSIGN(const bool compiled, together.CompileAsked());
    if (!compiled) return made;
  }
}

}  // namespace tollgate::admin
