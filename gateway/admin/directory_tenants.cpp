// Changes go through Changes and wait until this instance has taken them up; lists read the snapshot in force, which holds only rows that
// verified. Tested by tests/gateway/admin/services_test.cpp.
#include <fmt/format.h>

#include "gateway/admin/describe.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/page.h"
#include "gateway/admin/text.h"
#include "gateway/directory/names.h"

namespace tollgate::admin {

using directory::Row;
using directory::Shard;
using directory::Table;
using identity::Permission;

namespace {

// The key's project by names.
ScopeNames ProjectOf(const directory::Place& place) { return {place.org->name, place.team->name, place.project->name, {}}; }

// Nobody takes a key in hand that reaches further than their own: rotating it would show its secret.
absl::Status MayHandle(const Caller& caller, const directory::Key& key) {
  for (const directory::Role role : key.roles) TG_RETURN_IF_ERROR(identity::MayGive(*caller.place().key, role));
  return absl::OkStatus();
}

}  // namespace

absl::Status CreateOrg(const Caller& caller, const v1::CreateOrgRequest& request, v1::Org& reply) {
  TG_RETURN_IF_ERROR(caller.Need(Permission::kManageOrgs, true));
  TG_ASSIGN(const Changed made, caller.changes().CreateOrg(caller.actor(), request.name()));
  caller.Await(made.version);
  reply = DescribeOrg(made.row);
  return absl::OkStatus();
}

absl::Status ListOrgs(const Caller& caller, const v1::ListOrgsRequest& request, v1::ListOrgsReply& reply) {
  std::vector<std::pair<std::string, const Shard*>> orgs;
  if (caller.SeesAll()) {
    for (const auto& shard : caller.snapshot().shards()) orgs.emplace_back(shard->org.name, shard.get());
  } else {
    orgs.emplace_back(caller.place().org->name, caller.place().shard);
  }
  const auto emit = [&reply](const Shard* shard) { *reply.add_orgs() = DescribeOrg(*RowsOf(*shard, Table::kOrg).front()); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(orgs), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

absl::Status CreateTeam(const Caller& caller, const v1::CreateTeamRequest& request, v1::Team& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(const Changed made, caller.changes().CreateTeam(caller.actor(), shard->org.name, request.name()));
  caller.Await(made.version);
  reply = DescribeTeam(made.row, shard->org.name);
  return absl::OkStatus();
}

absl::Status ListTeams(const Caller& caller, const v1::ListTeamsRequest& request, v1::ListTeamsReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  std::vector<std::pair<std::string, const Row*>> teams;
  for (const auto& row : RowsOf(*shard, Table::kTeam)) teams.emplace_back(row->Text("name"), row.get());
  const auto emit = [&](const Row* row) { *reply.add_teams() = DescribeTeam(*row, shard->org.name); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(teams), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

absl::Status CreateProject(const Caller& caller, const v1::CreateProjectRequest& request, v1::Project& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  TG_ASSIGN(const Changed made, caller.changes().CreateProject(caller.actor(), shard->org.name, request.team(), request.name()));
  caller.Await(made.version);
  reply = DescribeProject(made.row, shard->org.name, request.team());
  return absl::OkStatus();
}

absl::Status ListProjects(const Caller& caller, const v1::ListProjectsRequest& request, v1::ListProjectsReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  if (!request.team().empty()) TG_RETURN_IF_ERROR(TeamOf(*shard, request.team()).status());
  std::vector<std::pair<std::string, std::pair<const Row*, std::string>>> projects;
  for (const auto& row : RowsOf(*shard, Table::kProject)) {
    const std::string team = NamesOf(*shard, row->Id("team")).team;
    if (!request.team().empty() && team != request.team()) continue;
    projects.emplace_back(team + "/" + row->Text("name"), std::pair(row.get(), team));
  }
  const auto emit = [&](const auto& project) { *reply.add_projects() = DescribeProject(*project.first, shard->org.name, project.second); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(projects), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

absl::Status SetBlocked(const Caller& caller, const v1::SetBlockedRequest& request, v1::SetBlockedReply& reply) {
  TG_ASSIGN(const ScopeNames names, caller.Names(request.scope()));
  if (names.team.empty()) TG_RETURN_IF_ERROR(caller.Need(Permission::kManageOrgs, true));
  TG_ASSIGN(const Changed made, caller.changes().SetBlocked(caller.actor(), names, request.blocked(), request.reason()));
  caller.Await(made.version);
  reply.set_record(RecordOf(made.row));
  return absl::OkStatus();
}

absl::Status CreateKey(const Caller& caller, const v1::CreateKeyRequest& request, v1::CreateKeyReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  NewKey key;
  key.name = request.name();
  key.owner = request.owner().empty() ? caller.place().key->owner : request.owner();
  key.dev = caller.place().key->dev;  // What a dev key makes stays in `tollgate dev`.
  if (request.roles_size() > 0) key.roles.clear();
  for (const std::string& name : request.roles()) {
    TG_ASSIGN(const directory::Role role, directory::ParseRole(name));
    key.roles.push_back(role);
  }
  for (const directory::Role role : key.roles) TG_RETURN_IF_ERROR(identity::MayGive(*caller.place().key, role));
  constexpr std::int64_t kTenYears = 10ll * 366 * 86'400;
  if (request.expires_in_s() < 0 || request.expires_in_s() > kTenYears)
    return base::InvalidArgument("expires_in_s: use 0 (never) to ten years");
  if (request.expires_in_s() > 0) key.expires_us = base::ToMicros(caller.context().with.clock->Wall()) + request.expires_in_s() * 1'000'000;
  const ScopeNames project{shard->org.name, request.team(), request.project(), {}};
  TG_ASSIGN(CreatedKey made, caller.changes().CreateKey(caller.actor(), project, key));
  caller.Await(made.version);
  *reply.mutable_key() = DescribeKey(made.row, project);
  reply.set_secret(std::move(made.secret));
  return absl::OkStatus();
}

absl::Status ListKeys(const Caller& caller, const v1::ListKeysRequest& request, v1::ListKeysReply& reply) {
  TG_ASSIGN(const Shard* shard, caller.ShardOf(request.org()));
  if (!request.team().empty()) TG_RETURN_IF_ERROR(TeamOf(*shard, request.team()).status());
  if (!request.project().empty() && request.team().empty()) return base::InvalidArgument("project: name its team too");
  const std::int64_t now_us = base::ToMicros(caller.context().with.clock->Wall());
  std::vector<std::pair<std::string, std::pair<const Row*, ScopeNames>>> keys;
  for (const auto& row : RowsOf(*shard, Table::kKey)) {
    const directory::Place& place = shard->places[shard->by_key_id.at(base::KeyId(row->id))];
    if (!request.team().empty() && place.team->name != request.team()) continue;
    if (!request.project().empty() && place.project->name != request.project()) continue;
    const bool dead = place.key->revoked_us.has_value() || (place.key->expires_us.has_value() && *place.key->expires_us <= now_us);
    if (dead && !request.include_dead()) continue;
    const ScopeNames project = ProjectOf(place);
    keys.emplace_back(fmt::format("{}/{}/{}/{}", project.team, project.project, place.key->name, place.key->public_id),
                      std::pair(row.get(), project));
  }
  const auto emit = [&reply](const auto& key) { *reply.add_keys() = DescribeKey(*key.first, key.second); };
  TG_ASSIGN(*reply.mutable_next_page_token(), Paged(std::move(keys), request.page_size(), request.page_token(), emit));
  return absl::OkStatus();
}

absl::Status RotateKey(const Caller& caller, const v1::RotateKeyRequest& request, v1::CreateKeyReply& reply) {
  TG_ASSIGN(const directory::Place place, caller.KeyPlace(request.public_id()));
  TG_RETURN_IF_ERROR(MayHandle(caller, *place.key));
  TG_ASSIGN(CreatedKey made, caller.changes().RotateKey(caller.actor(), request.public_id(), std::chrono::seconds(request.overlap_s())));
  caller.Await(made.version);
  *reply.mutable_key() = DescribeKey(made.row, ProjectOf(place));
  reply.set_secret(std::move(made.secret));
  return absl::OkStatus();
}

absl::Status RevokeKey(const Caller& caller, const v1::RevokeKeyRequest& request, v1::Key& reply) {
  TG_ASSIGN(const directory::Place place, caller.KeyPlace(request.public_id()));
  TG_RETURN_IF_ERROR(MayHandle(caller, *place.key));
  TG_ASSIGN(const Changed made, caller.changes().RevokeKey(caller.actor(), request.public_id(), request.reason()));
  caller.Await(made.version);
  reply = DescribeKey(made.row, ProjectOf(place));
  return absl::OkStatus();
}

}  // namespace tollgate::admin
