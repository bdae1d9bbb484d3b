// Whether policies are the same as before is told by the digests that their rows hold, under the rows' MACs: an org may have hundreds of
// MiB of them, and a change of any of its rows comes by here on the directory's thread. The texts are first read by whoever compiles them.
//
// While they are compiled what was compiled before goes on, in force and on trial, so that no rule that acts stops, or comes back, for want
// of others' lists. Where there is nothing that could go on, nothing begins (Shard::policy_missing).
//
// Tested by tests/gateway/directory/snapshot_test.cpp, tests/gateway/directory/policy_compiler_test.cpp,
// tests/gateway/directory/canary_test.cpp.
#include "gateway/directory/shard_policies.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/diagnostics.h"

namespace tollgate::directory {
namespace {

using Versions = std::map<std::pair<std::string_view, std::int64_t>, std::shared_ptr<const Row>>;
using Chosen = std::map<std::string, std::shared_ptr<const Row>>;  // By name: the order does not depend on ids.
using Compiles = PolicyCompiler::Of;

absl::StatusOr<std::shared_ptr<const Row>> VersionOf(const Versions& versions, const Row& binding, const char* column) {
  const auto version = versions.find({binding.Text("name"), binding.Int(column)});
  if (version == versions.end()) return MakesNoSense(binding, fmt::format("the version of its {} does not exist", column));
  return version->second;
}

base::Digest DigestOf(const Chosen& chosen) {
  std::string all;
  for (const auto& [name, row] : chosen) all += fmt::format("{}:{}:", name, row->Bytes("sha256"));
  return base::Sha256(all);
}

PolicyVersions VersionsOf(const Chosen& chosen) {
  PolicyVersions versions;
  for (const auto& [name, row] : chosen) versions[name] = row->Int("policy_version");
  return versions;
}

bool Lacks(const PolicyVersions& versions, const Chosen& chosen) {
  return std::any_of(chosen.begin(), chosen.end(), [&versions](const auto& one) { return !versions.contains(one.first); });
}

// Of a version: those that are tried draw their shares anew.
std::string SaltOf(const std::string& name, std::int64_t version) { return fmt::format("{}:{}:", name, version); }

std::vector<policy::PolicySource> SourcesOf(const Chosen& chosen) {
  std::vector<policy::PolicySource> sources;
  for (const auto& [name, row] : chosen) sources.push_back({name, row->Text("yaml")});
  return sources;
}

// nullopt: they are being compiled. Whatever is in force or on trial passed its tests before.
std::optional<PolicyCompiler::Compiled> CompiledOf(const Shard& shard, Compiles of, const base::Digest& key, const Chosen& chosen,
                                                   PolicyCompiler* compiler) {
  if (compiler == nullptr || chosen.empty()) return PolicyCompiler::WithoutTests(SourcesOf(chosen), nullptr);
  return compiler->Get(shard.org.id.value, of, key, [chosen] { return SourcesOf(chosen); });
}

void TakeOver(const Shard& before, Shard& shard) {
  shard.policies = before.policies;
  shard.policy_versions = before.policy_versions;
  shard.policies_key = before.policies_key;
  shard.policy_problem = before.policy_problem;
}

// Whether what is tried stands beside the versions that are in force. While newer ones are compiled it may stand beside older ones.
bool KeepsUp(const Trial& trial, const Shard& shard) {
  PolicyVersions tried = trial.versions, in_force = shard.policy_versions;
  tried.erase(trial.policy);
  in_force.erase(trial.policy);
  return tried == in_force;
}

// While they are being compiled those of before go on; or, where a version that was tried is now in force, those that it was tried with:
// but where these are behind, which would put back what others replaced, a canary goes on as one. A policy of which those that act have no
// version would judge nobody: that must not be.
void AwaitCompiled(const Chosen& chosen, Shard& shard, const Shard* before) {
  if (before != nullptr) TakeOver(*before, shard);
  const std::shared_ptr<const Trial> tried = before == nullptr ? nullptr : before->trial;
  const auto is_its = [&](const auto& one) { return tried->salt == SaltOf(one.first, one.second->Int("policy_version")); };
  if (tried != nullptr && std::any_of(chosen.begin(), chosen.end(), is_its)) {
    if (KeepsUp(*tried, *before)) {
      shard.policies = tried->policies;
      shard.policy_versions = tried->versions;
      shard.policies_key = before->trial_key;
      shard.policy_problem.clear();
    } else if (tried->canary) {
      shard.trial = tried;
      shard.trial_key = before->trial_key;
    }
  }
  shard.compiling = true;
  shard.policy_missing = Lacks(shard.policy_versions, chosen) || (shard.trial != nullptr && Lacks(shard.trial->versions, chosen));
}

absl::Status AddInForce(const Chosen& chosen, Shard& shard, const Shard* before, PolicyCompiler* compiler) {
  const base::Digest key = DigestOf(chosen);
  const bool same = before != nullptr && before->policies_key == key;
  const bool was_tried = before != nullptr && before->trial != nullptr && before->trial_key == key;
  if ((same || was_tried) && compiler != nullptr) compiler->GiveUp(shard.org.id.value, Compiles::kInForce);
  if (same) {
    TakeOver(*before, shard);
    return absl::OkStatus();
  }
  std::optional<PolicyCompiler::Compiled> compiled;
  if (was_tried) {
    compiled = before->trial->policies;
  } else {
    compiled = CompiledOf(shard, Compiles::kInForce, key, chosen, compiler);
  }
  TG_ASSIGN(shard.policies, policy::PolicySet::Compile({}));
  if (!compiled.has_value()) {
    AwaitCompiled(chosen, shard, before);
    return absl::OkStatus();
  }
  shard.policies_key = key;
  shard.policy_versions = VersionsOf(chosen);
  if (compiled->ok()) {
    shard.policies = **std::move(compiled);
    return absl::OkStatus();
  }
  shard.policy_problem = base::Message(compiled->status());
  base::Error("directory", "org {}: a policy in force does not compile with this version of Tollgate; its requests are refused: {}",
              shard.org.name, shard.policy_problem);
  return absl::OkStatus();
}

// As the binding has it, but for its policies.
Trial TrialOf(const Row& binding) {
  Trial trial;
  trial.canary = binding.Text("candidate_mode") == "canary";
  if (trial.canary) {
    trial.share_per_10000 = binding.Int("canary_share");
    trial.by_tenant = binding.Text("canary_by") == "tenant";
  }
  trial.policy = binding.Text("name");
  trial.salt = SaltOf(trial.policy, binding.Int("candidate_version"));
  return trial;
}

// While it is being compiled, what was tried of the same policy goes on, of another version as it was, unless it may have been `ended`
// before this one was begun. Of a canary that this instance has not had since it was started nobody here knows whether it acted before:
// nothing begins without it. One that is new begins when it is compiled.
void AwaitTrial(const Chosen& chosen, Trial trial, Shard& shard, const Before& before) {
  shard.compiling = true;
  const std::shared_ptr<const Trial> tried = before.shard == nullptr ? nullptr : before.shard->trial;
  const bool goes_on = tried != nullptr && tried->canary == trial.canary && !before.skipped;
  if (tried != nullptr && tried->policy == trial.policy && (tried->salt == trial.salt || goes_on)) {
    trial.policies = tried->policies;
    trial.versions = tried->versions;
    shard.policy_missing = shard.policy_missing || (trial.canary && Lacks(trial.versions, chosen));
    shard.trial = tried->salt == trial.salt ? std::make_shared<const Trial>(std::move(trial)) : tried;
    shard.trial_key = before.shard->trial_key;
  } else if (trial.canary && (before.shard == nullptr || before.shard->canary_awaited == trial.policy)) {
    shard.canary_awaited = trial.policy;
    shard.policy_missing = true;
  }
}

// A trial that does not compile hurts nobody: it is said, once, and left out.
void AddTrial(const Row& binding, const Chosen& chosen, Shard& shard, const Before& before, PolicyCompiler* compiler) {
  const base::Digest key = DigestOf(chosen);
  Trial trial = TrialOf(binding);
  if (before.shard != nullptr && before.shard->trial_key == key) {
    if (compiler != nullptr) compiler->GiveUp(shard.org.id.value, Compiles::kTrial);
    if (before.shard->trial != nullptr) trial.policies = before.shard->trial->policies;
  } else {
    auto compiled = CompiledOf(shard, Compiles::kTrial, key, chosen, compiler);
    if (!compiled.has_value()) return AwaitTrial(chosen, std::move(trial), shard, before);
    if (compiled->ok()) {
      trial.policies = **std::move(compiled);
    } else {
      base::Warn("directory", "org {}: version {} of policy {} is on trial and does not compile; it is left out: {}", shard.org.name,
                 binding.Int("candidate_version"), binding.Text("name"), base::Message(compiled->status()));
    }
  }
  shard.trial_key = key;
  trial.versions = VersionsOf(chosen);
  shard.trial = trial.policies == nullptr ? nullptr : std::make_shared<const Trial>(std::move(trial));
}

}  // namespace

absl::Status MakesNoSense(const Row& row, std::string_view why) {
  return base::DataLoss(
      fmt::format("directory: row {} of {} makes no sense: {}; restore it from a backup", row.id.ToString(), SpecOf(row.table).name, why));
}

// All versions are found before any is compiled: what was compiled is told once.
absl::Status AddPolicies(const RowsById& versions, const RowsById& bindings, const Before& before, PolicyCompiler* compiler, Shard& shard) {
  Versions by_name;
  for (const auto& [id, row] : versions) by_name[{row->Text("name"), row->Int("policy_version")}] = row;
  Chosen in_force, with_trial;
  const Row* on_trial = nullptr;
  for (const auto& [id, row] : bindings) {
    if (!row->IsNull("candidate_version")) on_trial = row.get();
    if (row->Int("policy_version") == 0) continue;
    TG_ASSIGN(in_force[row->Text("name")], VersionOf(by_name, *row, "policy_version"));
  }
  if (on_trial != nullptr) {
    with_trial = in_force;
    TG_ASSIGN(with_trial[on_trial->Text("name")], VersionOf(by_name, *on_trial, "candidate_version"));
  }
  TG_RETURN_IF_ERROR(AddInForce(in_force, shard, before.shard, compiler));
  if (on_trial != nullptr) {
    AddTrial(*on_trial, with_trial, shard, before, compiler);
  } else if (compiler != nullptr) {
    compiler->GiveUp(shard.org.id.value, Compiles::kTrial);
  }
  return absl::OkStatus();
}

}  // namespace tollgate::directory
