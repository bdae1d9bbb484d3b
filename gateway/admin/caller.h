// Caller: who makes an admin call, how far its key reaches, and the tools that handlers share. One for each call; one thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "audit/reader.h"
#include "base/postgres_pool.h"
#include "gateway/admin/admin_services.h"
#include "gateway/admin/replay.h"
#include "gateway/directory/shard.h"
#include "gateway/identity/permissions.h"
#include "tollgate/v1/directory.pb.h"

namespace tollgate::admin {

// What a list is narrowed to.
struct Narrowed {
  std::optional<base::TeamId> team;
  std::optional<base::ProjectId> project;
  std::optional<base::KeyId> key;
};

// What all calls work with. Lives as long as the services.
struct AdminContext {
  AdminCollaborators with;
  base::SessionPool& usage;
  base::SessionPool& verify;
  base::SessionPool& taken;  // What is taken of limits; quick.
  audit::Reader& reader;
  std::atomic<bool> stopping{false};  // Set by AdminServices::Stop.
  CompiledSets replayed;
  std::atomic<bool> replaying{false};  // A strict answer is being made again.
  std::atomic<bool> asking{false};     // Others are being asked about a text that is explained.
};

class Caller {
 public:
  // Authenticates, and checks the permission that `method` needs. UNAUTHENTICATED, PERMISSION_DENIED, or UNAVAILABLE (directory).
  // `gone` becomes true when the call is cancelled; it must outlive the Caller.
  static absl::StatusOr<Caller> Admit(AdminContext& context, std::string_view method, std::string_view bearer,
                                      const std::atomic<bool>& gone);

  // For long work to ask between its steps: CANCELLED once the call is, UNAVAILABLE once the services stop.
  absl::Status KeepGoing() const;
  // Runs long work on a session, and waits. When the services stop, its statement is interrupted, and the answer is KeepGoing's.
  absl::Status RunLong(base::SessionPool& sessions, const std::function<absl::Status(base::Session&)>& work) const;

  AdminContext& context() const { return *context_; }
  Changes& changes() const { return *context_->with.changes; }
  const directory::Snapshot& snapshot() const { return *who_.snapshot; }
  const directory::Place& place() const { return who_.place; }
  const identity::Principal& who() const { return who_; }
  // A record of what this call does, to be filled and appended.
  audit::Entry NewEntry(v1::RecordKind kind, const base::OrgId& org, const base::TeamId& team) const;

  Actor actor() const;  // Not to outlive what this was admitted with.

  identity::Reach ReachOf(identity::Permission permission) const { return identity::ReachOf(*who_.place.key, permission); }
  bool SeesAll() const { return ReachOf(permission_) == identity::Reach::kInstallation; }  // By this call's permission.

  // Of a restricted model that the key may not use, nothing is told; of one that was retired, to nobody here.
  bool IsHidden(std::string_view model) const;
  // Whether what stands of a model's name, a stop or a price, is for this caller: one that no model has yet may be anybody's.
  bool Knows(std::string_view model) const;

  // PERMISSION_DENIED unless the key has `permission`, over the whole installation if asked for.
  absl::Status Need(identity::Permission permission, bool installation = false) const;

  // The org that a call is about; empty = the caller's own. NOT_FOUND for one that does not exist or is out of reach: no difference.
  absl::StatusOr<const directory::Shard*> ShardOf(const std::string& org) const;

  // The org that a list is about; null: all of them, where none is named and the caller sees all. Errors as ShardOf.
  absl::StatusOr<const directory::Shard*> ScopeOf(const std::string& org) const;

  // What a list of `scope` (null: the caller's own org) is narrowed to by the names that a request gives; empty: not. NOT_FOUND, or
  // INVALID_ARGUMENT for a project without its team.
  absl::StatusOr<Narrowed> Narrow(const directory::Shard* scope, const std::string& team, const std::string& project,
                                  const std::string& key) const;

  // The key's place, within reach. NOT_FOUND as above.
  absl::StatusOr<directory::Place> KeyPlace(const std::string& public_id) const;

  // The names of a scope with the org filled in, within reach.
  absl::StatusOr<ScopeNames> Names(const v1::ScopeRef& scope) const;

  // Who looks into the audit log: into one org, or into all of them (null), which takes that reach.
  audit::Viewer ViewerOf(const directory::Shard* shard) const;

  // Waits until this instance has taken up a change, so that the caller's next call sees it; not for ever.
  void Await(std::int64_t version) const;

 private:
  Caller(AdminContext& context, identity::Principal who, identity::Permission permission, const std::atomic<bool>& gone)
      : context_(&context), who_(std::move(who)), permission_(permission), gone_(&gone) {}

  AdminContext* context_;
  identity::Principal who_;
  identity::Permission permission_;
  const std::atomic<bool>* gone_;
};

}  // namespace tollgate::admin
