// The sample is known as data (company.h, sample_policies.h); everything that stands beside it is somebody's own.
//
// Tested by tests/gateway/dev/leftovers_test.cpp.
#include "gateway/dev/leftovers.h"

#include <algorithm>

#include <fmt/format.h>

#include "gateway/cli/words.h"
#include "gateway/dev/company.h"
#include "gateway/dev/sample_policies.h"

namespace tollgate::dev {
namespace {
constexpr const char* kReason = " --reason \"back to the sample\"";

Leftover Of(const v1::EmergencyStop& stop) {
  std::string target = "everything";
  if (!stop.target().model().empty()) target = "model " + stop.target().model();
  if (stop.target().has_scope()) {
    const v1::ScopeRef& scope = stop.target().scope();
    target = "org " + scope.org();
    if (!scope.team().empty()) target = "team " + scope.team();
    if (!scope.project().empty()) target = fmt::format("project {}/{}", scope.team(), scope.project());
  }
  return {fmt::format("emergency stop of {}: {}", target, stop.reason()), fmt::format("stop {} --lift{}", target, kReason)};
}

const SampleQuota* SampleOf(const v1::ScopeRef& scope, const std::string& limit) {
  const auto quotas = SampleQuotas();
  const auto found = std::find_if(quotas.begin(), quotas.end(), [&](const SampleQuota& quota) {
    return scope.key().empty() && scope.team() == quota.team && scope.project() == quota.project && limit == quota.limit;
  });
  return found == quotas.end() ? nullptr : &*found;
}

void Add(const v1::Quota& quota, std::vector<Leftover>& out) {
  const std::string limit = cli::ShowLimit(quota.meter(), quota.window());
  const SampleQuota* sample = SampleOf(quota.scope(), limit);
  if (sample != nullptr && sample->amount == quota.amount()) return;
  const std::string what = fmt::format("limit of {} {} on {}", cli::ShowCount(quota.amount()), limit, cli::ShowScope(quota.scope()));
  const std::string scope = cli::ShowScopeOptions(quota.scope());
  out.push_back({what, sample != nullptr ? fmt::format("quota set {} {}{}", limit, sample->amount, scope)
                                         : fmt::format("quota remove {}{}", limit, scope)});
}

void Add(const v1::StoredPolicy& policy, std::vector<Leftover>& out) {
  const auto samples = SamplePolicies();
  const bool sample = std::any_of(samples.begin(), samples.end(), [&](const SamplePolicy& one) { return one.name == policy.name(); });
  const std::int64_t expected = sample ? 1 : 0;
  if (policy.version_in_force() == expected) return;
  const std::string state =
      policy.version_in_force() == 0 ? "is out of force" : fmt::format("is in force in version {}", policy.version_in_force());
  out.push_back({fmt::format("policy {} {}", policy.name(), state), fmt::format("policy activate {} {}", policy.name(), expected)});
}
}  // namespace

std::vector<Leftover> FindLeftovers(const CompanyNow& now) {
  std::vector<Leftover> out;
  for (const auto& stop : now.stops.stops()) out.push_back(Of(stop));
  for (const auto& team : now.teams.teams()) {
    if (team.blocked()) out.push_back({"block of team " + team.name(), fmt::format("team unblock {}{}", team.name(), kReason)});
  }
  for (const auto& project : now.projects.projects()) {
    const std::string name = project.team() + "/" + project.name();
    if (project.blocked()) out.push_back({"block of project " + name, fmt::format("project unblock {}{}", name, kReason)});
  }
  for (const auto& grant : now.grants.grants()) {
    out.push_back({fmt::format("allow-list of {}, with model {} {}", cli::ShowScope(grant.scope()), grant.model(),
                               grant.granted() ? "on it" : "taken off"),
                   "models clear" + cli::ShowScopeOptions(grant.scope())});
  }
  for (const auto& quota : now.quotas.quotas()) Add(quota, out);
  for (const auto& policy : now.policies.policies()) Add(policy, out);
  return out;
}

}  // namespace tollgate::dev
