// Runs the tests that ship with rules, on the compiled set.
#pragma once

#include <span>

#include "base/status.h"
#include "policy/policy_set.h"
#include "policy/rule.h"

namespace tollgate::policy {

// The tests that fail, as INVALID_ARGUMENT, a line each with its place and what happened instead.
absl::Status RunRuleTests(const PolicySet& policies, std::span<const Rule> rules);

}  // namespace tollgate::policy
