// What a transaction would need to know and does not, it asks for by failing: it is rolled back, the texts that it saw are compiled, and it
// is tried again, where the texts are compared by their digest. If they changed meanwhile they are asked for anew.
//
// Tested by tests/gateway/admin/together_test.cpp.
#include "gateway/admin/together.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "gateway/admin/changes_impl.h"
#include "policy/policy_set.h"

namespace tollgate::admin {

using directory::Row;
using directory::Table;

namespace {

// Texts of the org's policies in force, by name.
absl::StatusOr<std::map<std::string, std::string>> PoliciesInForce(Transaction& t, const std::string& org_id) {
  std::map<std::string, std::string> texts;
  TG_ASSIGN(const auto bindings, t.FindAll(Table::kPolicyBinding, "org = $1::uuid AND policy_version > 0", {org_id}));
  for (const Row& binding : bindings) {
    const std::string& name = binding.Text("name");
    TG_ASSIGN(const auto row, t.Find(Table::kPolicy, "org = $1::uuid AND name = $2::text AND policy_version = $3::int8",
                                     {org_id, name, binding.Int("policy_version")}));
    if (!row.has_value()) return base::DataLoss(fmt::format("policy '{}' is in force and not stored; restore it from a backup", name));
    texts[name] = row->Text("yaml");
  }
  return texts;
}

base::Digest DigestOf(const std::map<std::string, std::string>& texts) {
  std::string all;
  for (const auto& [name, yaml] : texts) all += fmt::format("{}:{}:", name, base::View(base::Sha256(yaml)));
  return base::Sha256(all);
}

}  // namespace

absl::Status CompileTogether(const std::map<std::string, std::string>& texts, const std::function<absl::Status()>& keep_going) {
  std::vector<policy::PolicySource> sources;
  for (const auto& [name, yaml] : texts) sources.push_back({name, yaml});
  return base::Annotate(policy::PolicySet::Compile(sources, policy::RunTests::kYes, keep_going).status(),
                        "the org's policies in force together");
}

absl::Status Together::Known(const Texts& texts) {
  if (const auto found = known_.find(DigestOf(texts)); found != known_.end()) return found->second;
  asked_ = texts;
  return base::Cancelled("these policies are to be compiled first");
}

// All policies of an org are compiled together: one that is good alone may not go with the others, and another's tests may lean on one that
// is taken out. Where the present ones do not compile, any may be taken out.
absl::Status Together::Check(Transaction& t, const std::string& org_id, const std::string& name, const std::optional<std::string>& yaml) {
  TG_ASSIGN(Texts texts, PoliciesInForce(t, org_id));
  if (!yaml.has_value()) {
    const absl::Status present = Known(texts);
    if (Asks()) return present;
    if (!present.ok()) return absl::OkStatus();
  }
  texts.erase(name);
  if (yaml.has_value()) texts[name] = *yaml;
  return Known(texts);
}

absl::StatusOr<bool> Together::CompileAsked() {
  if (!asked_.has_value()) return false;
  if (known_.size() == kTimesMax)
    return base::Aborted("the org's policies in force were changed by others each time that these were compiled beside them; try again");
  const Texts texts = *std::exchange(asked_, std::nullopt);
  known_[DigestOf(texts)] = CompileTogether(texts);
  return true;
}

absl::StatusOr<Changed> Changes::Impl::WithPolicies(const Actor& actor,
                                                    const std::function<absl::Status(Transaction&, Changed&, Together&)>& body) {
  Together together;
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
