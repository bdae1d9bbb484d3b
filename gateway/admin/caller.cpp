// What is out of reach is answered as if it did not exist, so that names of other orgs cannot be probed.
// Tested by tests/gateway/admin/services_test.cpp.
#include "gateway/admin/caller.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "gateway/admin/describe.h"
#include "gateway/admin/text.h"
#include "gateway/directory/names.h"
#include "gateway/directory/shard.h"

namespace tollgate::admin {
namespace {

absl::Status Denied(const directory::Key& key, identity::Permission permission, bool installation) {
  base::ErrorDetail detail;
  detail.reason = "ROLE_LACKS_PERMISSION";
  detail.may_retry = false;
  return base::WithDetail(
      base::PermissionDenied(fmt::format("key {} has the roles {}, which do not give {}{}; use a key with a role that does", key.public_id,
                                         directory::JoinRoles(key.roles), identity::PermissionName(permission),
                                         installation ? " over the whole installation" : "")),
      detail);
}

// The names that say on allow-lists who may use a model: its own, or those of several adapters.
std::vector<std::string> ListsOf(std::string_view model) {
  if (model.find('+') == std::string_view::npos) return {std::string(model)};
  return base::SplitAdapters(model).adapters;
}

absl::Status MayGoOn(const AdminContext& context, const std::atomic<bool>& gone) {
  if (gone.load()) return base::Cancelled("the call was cancelled");
  if (context.stopping.load()) return base::Unavailable("the server is shutting down; send the request again");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Caller> Caller::Admit(AdminContext& context, std::string_view method, std::string_view bearer,
                                     const std::atomic<bool>& gone) {
  const auto permission = identity::PermissionOf(method);
  context.replayed.Forget(context.with.clock->Mono());
  if (!permission.has_value()) return base::PermissionDenied("this call is not in the table of permissions; nobody may make it");
  TG_ASSIGN(const auto snapshot, context.with.directory->InForce());
  TG_ASSIGN(identity::Principal who, context.with.identity->AuthenticateAdmin(snapshot, bearer, context.with.clock->Wall()));
  Caller caller(context, std::move(who), *permission, gone);
  TG_RETURN_IF_ERROR(caller.Need(*permission));
  return caller;
}

absl::Status Caller::KeepGoing() const { return MayGoOn(*context_, *gone_); }

Actor Caller::actor() const {
  return {who_.place.key->public_id, who_.place.key->id, SeesAll(), gone_,
          [context = context_, gone = gone_] { return MayGoOn(*context, *gone); }};
}

absl::Status Caller::RunLong(base::SessionPool& sessions, const std::function<absl::Status(base::Session&)>& work) const {
  const absl::Status done = sessions.RunAndWait([&](base::Session& session) -> absl::Status {
    TG_RETURN_IF_ERROR(KeepGoing());
    return work(session);
  });
  if (!done.ok()) TG_RETURN_IF_ERROR(KeepGoing());
  return done;
}

bool Caller::IsHidden(std::string_view model) const {
  if (SeesAll()) return false;
  const auto& rows = snapshot().installation().model_rows;
  const ModelHost* host = context().with.models;
  const std::vector<std::string> lists = ListsOf(model);
  return std::any_of(lists.begin(), lists.end(), [&](const std::string& name) {
    const auto row = rows.find(name);
    if (row == rows.end() || !row->second->Bool("restricted")) return false;
    if (row->second->Bool("retired")) return host == nullptr || !host->IsConfigured(name);  // Allow-lists say nothing of it any more.
    return !snapshot().MayUse(place(), name);
  });
}

bool Caller::Knows(std::string_view model) const {
  if (SeesAll()) return true;
  const ModelHost* host = context().with.models;
  const std::vector<std::string> lists = ListsOf(model);
  const bool there = std::all_of(lists.begin(), lists.end(), [&](const std::string& name) {
    return snapshot().installation().model_rows.contains(name) || (host != nullptr && host->IsConfigured(name));
  });
  return there && !IsHidden(model);
}

absl::Status Caller::Need(identity::Permission permission, bool installation) const {
  const identity::Reach least = installation ? identity::Reach::kInstallation : identity::Reach::kOrg;
  if (ReachOf(permission) >= least) return absl::OkStatus();
  return Denied(*place().key, permission, installation);
}

absl::StatusOr<const directory::Shard*> Caller::ShardOf(const std::string& org) const {
  if (org.empty() || org == place().org->name) return place().shard;
  if (SeesAll()) {
    for (const auto& shard : snapshot().shards()) {
      if (shard->org.name == org) return shard.get();
    }
  }
  TG_RETURN_IF_ERROR(CheckText("org", org, 63));
  return base::NotFound(fmt::format("there is no org '{}'", org));
}

absl::StatusOr<const directory::Shard*> Caller::ScopeOf(const std::string& org) const {
  if (org.empty() && SeesAll()) return static_cast<const directory::Shard*>(nullptr);
  return ShardOf(org);
}

absl::StatusOr<Narrowed> Caller::Narrow(const directory::Shard* scope, const std::string& team, const std::string& project,
                                        const std::string& key) const {
  Narrowed out;
  if (!key.empty()) {
    TG_ASSIGN(const directory::Place place, KeyPlace(key));
    out.key = place.key->id;
  }
  if (team.empty() && !project.empty()) return base::InvalidArgument("project: name its team too");
  if (team.empty()) return out;
  const directory::Shard& in = scope == nullptr ? *place().shard : *scope;
  TG_ASSIGN(const directory::Team* found, TeamOf(in, team));
  out.team = found->id;
  if (project.empty()) return out;
  for (const directory::Project& one : in.projects) {
    if (one.team == found->id && one.name == project) out.project = one.id;
  }
  if (!out.project.has_value()) return NoSuch("project", in.org.name + "/" + team, project);
  return out;
}

absl::StatusOr<directory::Place> Caller::KeyPlace(const std::string& public_id) const {
  const auto found = snapshot().FindKey(public_id);
  if (found.has_value() && (SeesAll() || found->org->id == place().org->id)) return *found;
  TG_RETURN_IF_ERROR(CheckText("key", public_id, 64));
  return base::NotFound(fmt::format("there is no key '{}'", public_id));
}

absl::StatusOr<ScopeNames> Caller::Names(const v1::ScopeRef& scope) const {
  if (!scope.key().empty() && scope.org().empty()) {
    TG_ASSIGN(const directory::Place key, KeyPlace(scope.key()));
    return ScopeNames{key.org->name, {}, {}, scope.key()};
  }
  TG_ASSIGN(const directory::Shard* shard, ShardOf(scope.org()));
  return ScopeNames{shard->org.name, scope.team(), scope.project(), scope.key()};
}

audit::Viewer Caller::ViewerOf(const directory::Shard* shard) const {
  audit::Viewer viewer;
  viewer.actor = place().key->public_id;
  viewer.key = place().key->id;
  viewer.sees = shard == nullptr ? audit::Viewer::Sees::kAll : audit::Viewer::Sees::kOrg;
  if (shard != nullptr) viewer.id = shard->org.id.value;
  return viewer;
}

audit::Entry Caller::NewEntry(v1::RecordKind kind, const base::OrgId& org, const base::TeamId& team) const {
  audit::Entry entry;
  entry.record.set_kind(kind);
  entry.record.set_request_id(base::Uuid::NewV7().Bytes());
  entry.record.set_org_id(org.Bytes());
  entry.record.set_team_id(team.Bytes());
  entry.record.set_key_id(actor().key.Bytes());
  return entry;
}

void Caller::Await(std::int64_t version) const {
  const absl::Status taken = context_->with.directory->WaitFor(version, std::chrono::milliseconds(1000));
  if (!taken.ok()) base::Warn("admin", "{}", base::Message(taken));
}

}  // namespace tollgate::admin
