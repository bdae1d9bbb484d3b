// Words of the directory as text: names, roles, meters. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gateway/directory/snapshot.h"

namespace tollgate::directory {

// OK if `name` is 1 to 63 of [a-z0-9-], with '-' neither first nor last. INVALID_ARGUMENT names `what` ("team name") and the rule.
absl::Status CheckName(std::string_view what, std::string_view name);

// OK if `model` is 1 to 128 of [A-Za-z0-9._:/@+-].
absl::Status CheckModelName(std::string_view model);

// "owner", "admin", "policy_author", "approver", "auditor", "finance", "operator", "member", "grammar_author", "evidence".
std::string_view RoleName(Role role);
absl::StatusOr<Role> ParseRole(std::string_view name);
std::string JoinRoles(const std::vector<Role>& roles);  // "admin,member", in the order of Role, without repeats.
absl::StatusOr<std::vector<Role>> SplitRoles(std::string_view text);

}  // namespace tollgate::directory
