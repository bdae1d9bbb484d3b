// Two tables and lookups in them. Tested by tests/gateway/identity/permissions_test.cpp.
#include "gateway/identity/permissions.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/directory/names.h"

namespace tollgate::identity {
namespace {

using directory::Role;
constexpr Reach o = Reach::kOrg, A = Reach::kInstallation, x = Reach::kNone;  // own org, All of the installation, not at all

// One row a role, one column a permission, as in enum Permission.
// clang-format off
constexpr std::array<RolePermissions, 10> kRoles = {{
    //                      use read orgs team keys grnt quot pric rPol wPol aPol aud  cont vrfy usge rcnc sys  stop stopAll mdls gram strc
    {Role::kOwner,        {{o,  A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   A,   o,   o}}},
    {Role::kAdmin,        {{o,  o,   x,   o,   o,   o,   o,   x,   o,   o,   o,   o,   x,   x,   o,   x,   o,   o,   x,   x,   o,   o}}},
    {Role::kPolicyAuthor, {{o,  o,   x,   x,   x,   x,   x,   x,   o,   o,   o,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x}}},
    {Role::kApprover,     {{x,  o,   x,   x,   x,   x,   x,   x,   o,   x,   o,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x}}},
    {Role::kAuditor,      {{x,  o,   x,   x,   x,   x,   x,   x,   o,   x,   x,   o,   o,   x,   o,   x,   x,   x,   x,   x,   x,   x}}},
    {Role::kFinance,      {{x,  o,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   o,   x,   x,   x,   x,   x,   x,   x}}},
    {Role::kOperator,     {{x,  A,   x,   x,   x,   x,   x,   A,   x,   x,   x,   x,   x,   A,   x,   A,   A,   A,   A,   A,   x,   x}}},
    {Role::kMember,       {{o,  x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   o,   x,   x,   x,   x,   x}}},
    {Role::kGrammarAuthor,{{x,  x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   o,   x}}},
    {Role::kEvidence,     {{x,  x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   x,   o}}},
}};
// clang-format on

constexpr CallPermission kCalls[] = {
    {"/tollgate.v1.Inference/Chat", Permission::kUseModels},
    {"/tollgate.v1.Inference/ChatStream", Permission::kUseModels},
    {"/tollgate.v1.Tokens/Count", Permission::kUseModels},
    {"/tollgate.v1.Models/List", Permission::kUseModels},
    {"/tollgate.v1.Embeddings/Embed", Permission::kUseModels},
    {"/tollgate.v1.Embeddings/Rerank", Permission::kUseModels},
    {"/tollgate.v1.Directory/CreateOrg", Permission::kManageOrgs},
    {"/tollgate.v1.Directory/ListOrgs", Permission::kReadDirectory},
    {"/tollgate.v1.Directory/CreateTeam", Permission::kManageTeams},
    {"/tollgate.v1.Directory/ListTeams", Permission::kReadDirectory},
    {"/tollgate.v1.Directory/CreateProject", Permission::kManageTeams},
    {"/tollgate.v1.Directory/ListProjects", Permission::kReadDirectory},
    {"/tollgate.v1.Directory/SetBlocked", Permission::kManageTeams},  // Of an org: kManageOrgs too.
    {"/tollgate.v1.Directory/CreateKey", Permission::kManageKeys},
    {"/tollgate.v1.Directory/ListKeys", Permission::kReadDirectory},
    {"/tollgate.v1.Directory/RotateKey", Permission::kManageKeys},
    {"/tollgate.v1.Directory/RevokeKey", Permission::kManageKeys},
    {"/tollgate.v1.Directory/GrantModel", Permission::kManageGrants},
    {"/tollgate.v1.Directory/RevokeGrant", Permission::kManageGrants},
    {"/tollgate.v1.Directory/ClearGrants", Permission::kManageGrants},
    {"/tollgate.v1.Directory/ListGrants", Permission::kReadDirectory},
    {"/tollgate.v1.Directory/SetQuota", Permission::kManageQuotas},
    {"/tollgate.v1.Directory/RemoveQuota", Permission::kManageQuotas},
    {"/tollgate.v1.Directory/ListQuotas", Permission::kReadDirectory},
    {"/tollgate.v1.Directory/SetPrice", Permission::kManagePrices},
    {"/tollgate.v1.Directory/ListPrices", Permission::kReadDirectory},
    {"/tollgate.v1.Defaults/Set", Permission::kManageQuotas},  // Caps are limits as quotas are.
    {"/tollgate.v1.Defaults/Remove", Permission::kManageQuotas},
    {"/tollgate.v1.Defaults/List", Permission::kReadDirectory},
    {"/tollgate.v1.Registry/AddModel", Permission::kManageModels},
    {"/tollgate.v1.Registry/ListModels", Permission::kReadDirectory},
    {"/tollgate.v1.Registry/ShowModel", Permission::kReadDirectory},
    {"/tollgate.v1.Registry/LoadModel", Permission::kManageModels},
    {"/tollgate.v1.Registry/UnloadModel", Permission::kManageModels},
    {"/tollgate.v1.Registry/RetireModel", Permission::kManageModels},
    {"/tollgate.v1.Registry/RestrictModel", Permission::kManageModels},
    {"/tollgate.v1.Registry/SetAlias", Permission::kManageModels},
    {"/tollgate.v1.Registry/RollbackAlias", Permission::kManageModels},
    {"/tollgate.v1.Registry/RemoveAlias", Permission::kManageModels},
    {"/tollgate.v1.Registry/ListAliases", Permission::kReadDirectory},
    {"/tollgate.v1.Policy/Check", Permission::kReadPolicy},
    {"/tollgate.v1.Policy/Put", Permission::kWritePolicy},  // Putting it in force: kActivatePolicy too.
    {"/tollgate.v1.Policy/Activate", Permission::kActivatePolicy},
    {"/tollgate.v1.Policy/Try", Permission::kActivatePolicy},
    {"/tollgate.v1.Policy/Rollback", Permission::kActivatePolicy},
    {"/tollgate.v1.Policy/SetSecondPerson", Permission::kManageOrgs},
    {"/tollgate.v1.Policy/SetSigners", Permission::kManageOrgs},
    {"/tollgate.v1.Policy/List", Permission::kReadPolicy},
    {"/tollgate.v1.Policy/Show", Permission::kReadPolicy},
    {"/tollgate.v1.Policy/Explain", Permission::kReadPolicy},
    {"/tollgate.v1.Policy/Lint", Permission::kReadPolicy},
    {"/tollgate.v1.Policy/ListApprovals", Permission::kReadPolicy},
    {"/tollgate.v1.Policy/Approve", Permission::kActivatePolicy},
    {"/tollgate.v1.Policy/RevokeApproval", Permission::kActivatePolicy},
    {"/tollgate.v1.Policy/Replay", Permission::kActivatePolicy},    // Records as examples: kReadContent too.
    {"/tollgate.v1.Policy/ShadowReport", Permission::kReadPolicy},  // Records as examples: kReadAudit too.
    {"/tollgate.v1.Audit/List", Permission::kReadAudit},
    {"/tollgate.v1.Audit/Show", Permission::kReadAudit},  // With content: kReadContent too.
    {"/tollgate.v1.Audit/Verify", Permission::kVerifyAudit},
    {"/tollgate.v1.Audit/ShowPseudonym", Permission::kReadContent},
    {"/tollgate.v1.Audit/ErasePseudonyms", Permission::kManageTeams},
    {"/tollgate.v1.Audit/Replay", Permission::kReadContent},
    {"/tollgate.v1.Usage/Report", Permission::kReadUsage},
    {"/tollgate.v1.Usage/Reconcile", Permission::kReconcile},
    {"/tollgate.v1.System/Status", Permission::kReadSystem},
    {"/tollgate.v1.System/Stop", Permission::kStop},  // Of a model or of everything: kStopEverything too.
    {"/tollgate.v1.System/LiftStop", Permission::kStop},
    {"/tollgate.v1.System/ListStops", Permission::kReadSystem},
};

constexpr std::array<std::string_view, kPermissions> kNames = {
    "use_models",  "read_directory", "manage_orgs",     "manage_teams",  "manage_keys",  "manage_grants", "manage_quotas", "manage_prices",
    "read_policy", "write_policy",   "activate_policy", "read_audit",    "read_content", "verify_audit",  "read_usage",    "reconcile",
    "read_system", "stop",           "stop_everything", "manage_models", "use_grammars", "use_strict"};

}  // namespace

std::span<const RolePermissions> RoleTable() { return kRoles; }
std::span<const CallPermission> CallTable() { return kCalls; }

std::optional<Permission> PermissionOf(std::string_view method) {
  const auto* row = std::find_if(std::begin(kCalls), std::end(kCalls), [method](const CallPermission& c) { return c.method == method; });
  if (row == std::end(kCalls)) return std::nullopt;
  return row->permission;
}

Reach ReachOf(Role role, Permission permission) {
  return kRoles[static_cast<std::size_t>(role)].reach[static_cast<std::size_t>(permission)];
}

Reach ReachOf(const directory::Key& key, Permission permission) {
  Reach reach = Reach::kNone;
  for (const Role role : key.roles) reach = std::max(reach, ReachOf(role, permission));
  return reach;
}

bool ReachesOverInstallation(const directory::Key& key) {
  for (int p = 0; p < kPermissions; ++p) {
    if (ReachOf(key, static_cast<Permission>(p)) == Reach::kInstallation) return true;
  }
  return false;
}

absl::Status MayGive(const directory::Key& giver, Role role) {
  for (int p = 0; p < kPermissions; ++p) {
    const auto permission = static_cast<Permission>(p);
    if (ReachOf(role, permission) <= ReachOf(giver, permission)) continue;
    base::ErrorDetail detail;
    detail.reason = "ROLE_TOO_FAR";
    detail.param = "roles";
    detail.may_retry = false;
    return base::WithDetail(
        base::PermissionDenied(fmt::format("a key with the roles {} may not give the role {}: that one reaches further in {}; ask an owner",
                                           directory::JoinRoles(giver.roles), directory::RoleName(role), PermissionName(permission))),
        detail);
  }
  return absl::OkStatus();
}

std::string_view PermissionName(Permission permission) { return kNames[static_cast<std::size_t>(permission)]; }

}  // namespace tollgate::identity
