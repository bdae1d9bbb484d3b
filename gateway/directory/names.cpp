// Plain tables and loops. Tested by tests/gateway/directory/names_test.cpp.
#include "gateway/directory/names.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace tollgate::directory {
namespace {

constexpr std::array<std::pair<Role, std::string_view>, 10> kRoles = {{
    {Role::kOwner, "owner"},
    {Role::kAdmin, "admin"},
    {Role::kPolicyAuthor, "policy_author"},
    {Role::kApprover, "approver"},
    {Role::kAuditor, "auditor"},
    {Role::kFinance, "finance"},
    {Role::kOperator, "operator"},
    {Role::kMember, "member"},
    {Role::kGrammarAuthor, "grammar_author"},
    {Role::kEvidence, "evidence"},
}};

bool LowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

absl::Status CheckName(std::string_view what, std::string_view name) {
  const bool good = !name.empty() && name.size() <= 63 && name.front() != '-' && name.back() != '-' &&
                    std::all_of(name.begin(), name.end(), [](char c) { return LowerOrDigit(c) || c == '-'; });
  if (good) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("{}: use 1 to 63 characters of a-z, 0-9 and '-', with '-' neither first nor last", what));
}

absl::Status CheckModelName(std::string_view model) {
  const auto ok = [](char c) {
    return LowerOrDigit(c) || (c >= 'A' && c <= 'Z') || std::string_view("._:/@+-").find(c) != std::string_view::npos;
  };
  if (!model.empty() && model.size() <= 128 && std::all_of(model.begin(), model.end(), ok)) return absl::OkStatus();
  return base::InvalidArgument("model name: use 1 to 128 characters of A-Z, a-z, 0-9 and . _ : / @ + -");
}

std::string_view RoleName(Role role) {
  for (const auto& [value, name] : kRoles) {
    if (value == role) return name;
  }
  base::Die(__FILE__, __LINE__, "a role without a name");
}

absl::StatusOr<Role> ParseRole(std::string_view name) {
  for (const auto& [value, text] : kRoles) {
    if (text == name) return value;
  }
  return base::InvalidArgument(
      "unknown role; there are owner, admin, policy_author, approver, auditor, finance, operator, member, grammar_author, evidence");
}

std::string JoinRoles(const std::vector<Role>& roles) {
  std::string text;
  for (const auto& [value, name] : kRoles) {
    if (std::find(roles.begin(), roles.end(), value) == roles.end()) continue;
    if (!text.empty()) text += ',';
    text += name;
  }
  return text;
}

absl::StatusOr<std::vector<Role>> SplitRoles(std::string_view text) {
  std::vector<Role> roles;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    TG_ASSIGN(const Role role, ParseRole(text.substr(0, comma)));
    roles.push_back(role);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return roles;
}

}  // namespace tollgate::directory
