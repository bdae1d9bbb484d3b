// Who may call what: one table, role × permission, and one table, call × permission. Data, so that a test and a reader see all of it.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "gateway/directory/snapshot.h"

namespace tollgate::identity {

// A comment each, which docs/roles.md has as it is.
enum class Permission {
  kUseModels,       // Chat, embed, rerank, count tokens, list models.
  kReadDirectory,   // Orgs, teams, projects, keys, allow-lists, quotas, prices; the registry of models, aliases, and the defaults of chats
                    // with the text of their system prompts.
  kManageOrgs,      // Make and block orgs; switch the two-person rule and the signers of policies on and off.
  kManageTeams,     // Make and block teams and projects; forget for good what pseudonyms stand for.
  kManageKeys,      // Make, rotate and revoke keys.
  kManageGrants,    // Model allow-lists; over the whole installation also those of restricted models.
  kManageQuotas,    // Limits, and the defaults and caps of chats; over the whole installation also bands and weights that go before other
                    // orgs.
  kManagePrices,    // The installation's price book.
  kReadPolicy,      // Read and try policies; have texts explained, for which guard models and detectors that rules in force ask are asked
                    // on nobody's bill, with the text sealed on record; see whose prompts wait for an approval.
  kWritePolicy,     // Store versions.
  kActivatePolicy,  // Put versions in and out of force; be the second person who lets a prompt pass; replay policies, which opens any
                    // prompt and reply of the org, on record, and shows counts of them.
  kReadAudit,       // Records without content.
  kReadContent,     // Content, with a reason, on record; what a pseudonym stands for; have a strict answer made again.
  kVerifyAudit,     // Recompute every leaf of the log.
  kReadUsage,       // Usage and cost.
  kReconcile,       // Compare records, usage and ledger.
  kReadSystem,      // How the instance stands, and what is stopped.
  kStop,            // Emergency stops of scopes.
  kStopEverything,  // Emergency stops of models and of everything.
  kManageModels,    // The installation's registry of models: add, load, unload, retire, restrict; aliases.
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

// Whether any permission of the key reaches over the whole installation: a block of where it belongs does not bind it then.
bool ReachesOverInstallation(const directory::Key& key);

// OK if the key may give `role` to another key: no permission of `role` reaches further than the key's own. PERMISSION_DENIED names both.
absl::Status MayGive(const directory::Key& giver, directory::Role role);

std::string_view PermissionName(Permission permission);  // "manage_keys"

}  // namespace tollgate::identity
