// Changes: every change to the directory, for the admin API, `tollgate migrate` and `tollgate dev`.
//
// Each change is one transaction under the directory's lock: what stands is read and verified, an ADMIN record with the new row's digest is
// appended to the audit log, then the row is written with that record's id and position and its MAC. In force on every instance within a
// second (DirectoryOptions::poll_interval). A change that would change nothing makes no record.
//
// Calls block (a few milliseconds; at most `deadline`): use threads that may. Thread-safe.
// Errors: INVALID_ARGUMENT a bad name or value · NOT_FOUND · ALREADY_EXISTS · FAILED_PRECONDITION not migrated, or makes no sense now ·
// DATA_LOSS a row that was changed outside Tollgate is in the way · UNAVAILABLE Postgres or the journal cannot: nothing changed ·
// UNAUTHENTICATED, PERMISSION_DENIED the actor's key has ended or is blocked by now.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "audit/journal.h"
#include "base/clock.h"
#include "base/money.h"
#include "base/postgres.h"
#include "gateway/admin/actor.h"
#include "gateway/directory/rows.h"
#include "gateway/directory/snapshot.h"
#include "tollgate/v1/defaults.pb.h"

namespace tollgate::admin {

struct ChangesOptions {
  base::PostgresOptions postgres;                       // `role` is normally "tollgate_directory".
  std::string mac_key;                                  // audit::RootKey::Derive("directory-mac").
  std::string pepper;                                   // The same that Identity has.
  std::chrono::milliseconds deadline{5000};             // For one change, its record included; policies are compiled before.
  std::int64_t policy_bytes_max = 256 << 20;            // Of one org's stored policies, for whose permission ends at the org.
  std::function<void(std::int64_t version)> on_change;  // After each commit; for PostgresDirectory::Poke. May be empty.
};

// A scope by names; the deepest that is given is meant. `key` is a public id and needs no team or project.
struct ScopeNames {
  std::string org, team, project, key;
};

// A row as it stands after the change (directory/rows.h names the columns).
struct Changed {
  directory::Row row;
  std::int64_t version = 0;  // Of the directory, with this change in it.
  bool changed = true;       // False: it stood so already.
};
struct CreatedKey {
  directory::Row row;
  std::int64_t version = 0;
  std::string secret;  // The key's text; exists nowhere else.
};
using Cleared = std::pair<std::int64_t, std::int64_t>;  // Lines that the list had; version.
struct NewKey {
  std::string name, owner;
  std::vector<directory::Role> roles = {directory::Role::kMember};
  std::optional<std::int64_t> expires_us;
  bool dev = false;
};
struct NewPrice {
  std::string model;
  base::Money input, cached_input, output;  // For 1,000 tokens, in `currency`.
  std::string currency;                     // Empty = that of the price that it follows, or else EUR.
  std::int64_t effective_from_us = 0;       // 0 = now.
  bool keeps_cached = false;                // In place of `cached_input`: as in the price that it follows, where that has one of its own.
};
// A stored version of a policy that is tried beside the one in force.
struct Trial {
  std::int64_t version = 0;
  bool canary = false;               // It acts, on a share; else it is a shadow, which judges and is only recorded.
  std::int64_t share_per_10000 = 0;  // Canary: 1 to 10,000 …
  bool by_tenant = false;            // … of teams; else of requests.
};
struct StopTarget {
  enum class Kind { kEverything, kModel, kScope } kind = Kind::kScope;
  std::string model;
  ScopeNames scope;
  bool configured = false;  // tollgate.yaml names a model so: an alias of that name is not all that there is.
};

// Whether an org can have these policies (name → text) in force at once. Errors and `keep_going` as PolicySet::Compile.
absl::Status CompileTogether(const std::map<std::string, std::string>& texts, const std::function<absl::Status()>& keep_going = nullptr);
struct SignersChange;  // bundles.h
class Changes {
 public:
  Changes(ChangesOptions options, audit::Journal& journal, const base::Clock& clock);
  ~Changes();

  absl::StatusOr<Changed> CreateOrg(const Actor& actor, const std::string& org);
  absl::StatusOr<Changed> CreateTeam(const Actor& actor, const std::string& org, const std::string& team);
  absl::StatusOr<Changed> CreateProject(const Actor& actor, const std::string& org, const std::string& team, const std::string& project);
  absl::StatusOr<Changed> SetBlocked(const Actor& actor, const ScopeNames& scope, bool blocked, const std::string& reason);

  absl::StatusOr<CreatedKey> CreateKey(const Actor& actor, const ScopeNames& project, const NewKey& key);
  // The successor lasts as long as the key was made for. FAILED_PRECONDITION: one that follows it works already.
  absl::StatusOr<CreatedKey> RotateKey(const Actor& actor, const std::string& public_id, std::chrono::seconds overlap);
  // FAILED_PRECONDITION: no other key with the role owner works.
  absl::StatusOr<Changed> RevokeKey(const Actor& actor, const std::string& public_id, const std::string& reason);

  absl::StatusOr<Changed> GrantModel(const Actor& actor, const ScopeNames& scope, const std::string& model);
  absl::StatusOr<Changed> RevokeGrant(const Actor& actor, const ScopeNames& scope, const std::string& model);
  absl::StatusOr<Cleared> ClearGrants(const Actor& actor, const ScopeNames& scope);
  // Stores a version unless `yaml` is the newest one's. INVALID_ARGUMENT is the compiler's, name:line:column; a draft's tests may fail.
  absl::StatusOr<Changed> PutPolicy(const Actor& actor, const std::string& org, const std::string& name, const std::string& yaml,
                                    bool draft = false);
  // The next three give the binding's row; version 0 is none, and an org has one trial. INVALID_ARGUMENT: as CompileTogether.
  // FAILED_PRECONDITION, reason SECOND_PERSON_NEEDED: the org wants somebody else than the version's author; bundles.h has others.
  absl::StatusOr<Changed> ActivatePolicy(const Actor& actor, const std::string& org, const std::string& name, std::int64_t version);
  absl::StatusOr<Changed> TryPolicy(const Actor& actor, const std::string& org, const std::string& name, const Trial& trial);
  // Undoes the last step: ends a trial, else puts back what was in force before. Needs a second person only where that is nothing.
  absl::StatusOr<Changed> RollbackPolicy(const Actor& actor, const std::string& org, const std::string& name);
  absl::StatusOr<Changed> SetSecondPerson(const Actor& actor, const std::string& org, bool wanted);
  absl::StatusOr<Changed> SetPolicySigners(const Actor& actor, const std::string& org, const SignersChange& change);  // The org's row.
  // `meter`: "requests", "tokens", "concurrent". `window`: "minute", "hour", "day", "month"; "none" for concurrent.
  absl::StatusOr<Changed> SetQuota(const Actor& actor, const ScopeNames& scope, const std::string& meter, const std::string& window,
                                   std::int64_t amount);
  absl::StatusOr<Changed> RemoveQuota(const Actor& actor, const ScopeNames& scope, const std::string& meter, const std::string& window);
  // Chat defaults. Errors as Checked in chat_defaults.h; PERMISSION_DENIED: not `may_raise`, and it would go further before other orgs.
  absl::StatusOr<Changed> SetDefaults(const Actor& actor, const ScopeNames& scope, const tollgate::v1::ChatDefaults& set, bool may_raise);
  absl::StatusOr<Changed> RemoveDefaults(const Actor& actor, const ScopeNames& scope);
  absl::StatusOr<Changed> SetPrice(const Actor& actor, const NewPrice& price);  // The new line; none for the price in force.
  // The registry. Settings of a registered model never change. Retired, its name may be registered anew. Errors as Validate in models.h.
  absl::StatusOr<Changed> AddModel(const Actor& actor, const directory::Model& model);
  absl::StatusOr<Changed> SetModelLoaded(const Actor& actor, const std::string& name, bool loaded);
  absl::StatusOr<Changed> RestrictModel(const Actor& actor, const std::string& name, bool restricted);
  absl::StatusOr<Changed> RetireModel(const Actor& actor, const std::string& name, const std::string& reason);
  // Aliases. Rollback exchanges what an alias leads to with what it led to before. Errors as Validate in aliases.h.
  absl::StatusOr<Changed> SetAlias(const Actor& actor, const directory::Alias& alias);
  absl::StatusOr<Changed> RollbackAlias(const Actor& actor, const std::string& name, const std::string& reason);
  absl::StatusOr<Changed> RemoveAlias(const Actor& actor, const std::string& name, const std::string& reason);
  absl::StatusOr<Changed> Stop(const Actor& actor, const StopTarget& target, const std::string& reason);
  absl::StatusOr<Changed> LiftStop(const Actor& actor, const StopTarget& target, const std::string& reason);

  // The first owner's key, if the installation has no key yet: makes org "tollgate", team "operators", project "admin" and a key with the
  // role owner in it. nullopt if there is any key.
  absl::StatusOr<std::optional<CreatedKey>> Bootstrap(const Actor& actor, const std::string& owner, bool dev);
  // One more key with the role owner there, for when no owner's key is left.
  absl::StatusOr<CreatedKey> MakeOwner(const Actor& actor, const std::string& owner, bool dev);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::admin
