// Who may call what: one table, role × permission, and one table, call × permission. Data, so that a test and a reader see all of it.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "gateway/directory/snapshot.h"

namespace tollgate::identity {

enum class Permission {
  kUseModels,       // Chat, embed, rerank, count tokens, list models.
  kReadDirectory,   // Orgs, teams, projects, keys, allow-lists, quotas, prices.
  kManageOrgs,      // Make and block orgs.
  kManageTeams,     // Make and block teams and projects.
  kManageKeys,      // Make, rotate and revoke keys.
  kManageGrants,    // Model allow-lists.
  kManageQuotas,    // Limits, and the defaults and caps of chats.
  kManagePrices,    // The installation's price book.
  kReadPolicy,      // Read and try policies.
  kWritePolicy,     // Store versions.
  kActivatePolicy,  // Put versions in and out of force.
  kReadAudit,       // Records without content.
  kReadContent,     // Content, with a reason, on record.
  kVerifyAudit,
  kReadUsage,
  kReconcile,
  kReadSystem,
  kStop,            // Emergency stops of scopes.
  kStopEverything,  // Emergency stops of models and of everything.
  kManageModels,    // The installation's registry of models: add, load, unload, retire.
  kUseGrammars,     // Hold outputs to grammars of one's own: some cost a step milliseconds a token.
  kUseStrict,       // Ask for strict answers: each has a machine's step to itself.
};
inline constexpr int kPermissions = 22;

// How far a permission reaches.
enum class Reach { kNone, kOrg, kInstallation };

struct RolePermissions {
  directory::Role role;
  std::array<Reach, kPermissions> reach;  // By Permission.
};

// Every role once, in the order of directory::Role.
std::span<const RolePermissions> RoleTable();

struct CallPermission {
  std::string_view method;  // "/tollgate.v1.Directory/CreateKey"
  Permission permission;
};

// Every method of every tollgate.v1 service once.
std::span<const CallPermission> CallTable();

// The permission that a method needs; nullopt = unknown method: refuse.
std::optional<Permission> PermissionOf(std::string_view method);

Reach ReachOf(directory::Role role, Permission permission);

// The furthest reach that any of the key's roles gives.
Reach ReachOf(const directory::Key& key, Permission permission);

// OK if the key may give `role` to another key: no permission of `role` reaches further than the key's own. PERMISSION_DENIED names both.
absl::Status MayGive(const directory::Key& giver, directory::Role role);

std::string_view PermissionName(Permission permission);  // "manage_keys"

}  // namespace tollgate::identity
