// Reads a policy file into rules. The only place that knows the YAML; docs/policy.md describes it.
#pragma once

#include <span>
#include <vector>

#include "base/status.h"
#include "policy/budget.h"
#include "policy/faults.h"
#include "policy/policy_set.h"
#include "policy/rule.h"

namespace tollgate::policy {

// Appends the rules of one source, compiled. INVALID_ARGUMENT: "name:line:column: what; remedy", a line for each rule, list and included
// file that is wrong.
absl::Status ReadPolicy(const PolicySource& source, std::vector<Rule>& rules);
// Of all sources; the first status of the budget's `keep_going` that is not OK.
absl::Status ReadPolicies(std::span<const PolicySource> sources, std::vector<Rule>& rules, Budget& budget);
// Of one, where more may be wrong than this source, or `budget` ended: then nothing more is read. The rules that are good are appended all
// the same.
void ReadPolicy(const PolicySource& source, std::vector<Rule>& rules, Faults& faults, Budget& budget);

// "name:line:column: what", as every error of a policy begins.
absl::Status PolicyError(const std::string& name, int line, int column, std::string_view what);

}  // namespace tollgate::policy
