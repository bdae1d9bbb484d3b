// Parents before children, so that each child finds its parent by id in a map of pointers; vectors get their capacity first and never move.
// Tested by tests/gateway/directory/snapshot_test.cpp.
#include "gateway/directory/shard_builder.h"

#include <utility>

#include <fmt/format.h>

#include "gateway/directory/names.h"
#include "gateway/directory/shard_policies.h"

namespace tollgate::directory {
namespace {

using ById = std::unordered_map<base::Uuid, std::size_t, base::UuidHash>;

const std::map<base::Uuid, std::shared_ptr<const Row>>& Of(const OrgRows& rows, Table table) {
  return rows[static_cast<std::size_t>(table)];
}

absl::Status AddTeams(const OrgRows& rows, Shard& shard, ById& by_id) {
  shard.teams.reserve(Of(rows, Table::kTeam).size());
  for (const auto& [id, row] : Of(rows, Table::kTeam)) {
    if (row->Id("org") != shard.org.id.value) return MakesNoSense(*row, "its org does not exist");
    by_id[id] = shard.teams.size();
    shard.teams.push_back({base::TeamId(id), shard.org.id, row->Text("name"), row->Bool("blocked"), false});
  }
  return absl::OkStatus();
}

absl::Status AddProjects(const OrgRows& rows, Shard& shard, const ById& teams, ById& by_id) {
  shard.projects.reserve(Of(rows, Table::kProject).size());
  for (const auto& [id, row] : Of(rows, Table::kProject)) {
    if (!teams.contains(row->Id("team"))) return MakesNoSense(*row, "its team does not exist");
    by_id[id] = shard.projects.size();
    shard.projects.push_back({base::ProjectId(id), base::TeamId(row->Id("team")), row->Text("name"), row->Bool("blocked"), false});
  }
  return absl::OkStatus();
}

absl::StatusOr<Key> KeyOf(const Row& row) {
  Key key;
  key.id = base::KeyId(row.id);
  key.project = base::ProjectId(row.Id("project"));
  key.public_id = row.Text("public_id");
  key.name = row.Text("name");
  key.owner = row.Text("owner");
  key.made_by = row.TextOr("made_by", "");
  const std::string& hmac = row.Bytes("secret_hmac");
  if (hmac.size() != key.secret_hmac.size()) return MakesNoSense(row, "its secret_hmac is not 32 bytes");
  std::copy(hmac.begin(), hmac.end(), key.secret_hmac.begin());
  auto roles = SplitRoles(row.Text("roles"));
  if (!roles.ok()) return MakesNoSense(row, "it has a role that this version does not know");
  key.roles = *std::move(roles);
  key.created_us = row.Int("created_us");
  if (!row.IsNull("expires_us")) key.expires_us = row.Int("expires_us");
  if (!row.IsNull("revoked_us")) key.revoked_us = row.Int("revoked_us");
  key.dev = row.Bool("dev");
  return key;
}

absl::Status AddKeys(const OrgRows& rows, Shard& shard, const ById& teams, const ById& projects) {
  const auto& keys = Of(rows, Table::kKey);
  shard.keys.reserve(keys.size());
  shard.places.reserve(keys.size());
  for (const auto& [id, row] : keys) {
    const auto project = projects.find(row->Id("project"));
    if (project == projects.end()) return MakesNoSense(*row, "its project does not exist");
    TG_ASSIGN(Key key, KeyOf(*row));
    shard.by_public_id[key.public_id] = shard.keys.size();
    shard.by_key_id[key.id] = shard.keys.size();
    shard.keys.push_back(std::move(key));
    const Project& at = shard.projects[project->second];
    shard.places.push_back({&shard.org, &shard.teams[teams.at(at.team.value)], &at, &shard.keys.back(), &shard});
  }
  return absl::OkStatus();
}

void AddGrants(const OrgRows& rows, Shard& shard) {
  for (const auto& [id, row] : Of(rows, Table::kModelGrant)) {
    if (row->Text("state") == "cleared") continue;
    auto& list = shard.allowed[row->Id("scope_id")];  // A list that lost its last line still stands.
    if (row->Text("state") == "granted") list[row->Text("model")] = row->Says("by_installation");
  }
}

// What people call a scope; empty for one that is not there.
std::string ScopeName(const Shard& shard, const ById& teams, const ById& projects, const base::Uuid& id) {
  if (id == shard.org.id.value) return shard.org.name;
  if (const auto team = teams.find(id); team != teams.end()) return shard.teams[team->second].name;
  if (const auto project = projects.find(id); project != projects.end()) return shard.projects[project->second].name;
  if (const auto key = shard.by_key_id.find(base::KeyId(id)); key != shard.by_key_id.end()) return shard.keys[key->second].public_id;
  return {};
}

absl::Status AddQuotas(const OrgRows& rows, Shard& shard, const ById& teams, const ById& projects) {
  for (const auto& [id, row] : Of(rows, Table::kQuota)) {
    if (row->Bool("removed")) continue;
    metering::QuotaRule rule;
    rule.id = id;
    const auto kind = metering::ParseScopeKind(row->Text("scope_kind"));
    const auto meter = metering::ParseMeter(row->Text("meter"));
    const auto window = metering::ParseWindow(row->Text("period"));
    if (!kind.ok() || !meter.ok() || !window.ok()) return MakesNoSense(*row, "its scope, meter or period is unknown");
    rule.scope = {*kind, row->Id("scope_id"), ScopeName(shard, teams, projects, row->Id("scope_id"))};
    if (rule.scope.name.empty()) return MakesNoSense(*row, "its scope does not exist");
    rule.meter = *meter;
    rule.window = *window;
    rule.amount = row->Int("amount");
    if (const auto valid = metering::Validate(rule); !valid.ok()) return MakesNoSense(*row, base::Message(valid));
    shard.quotas.push_back(std::move(rule));
  }
  return absl::OkStatus();
}

absl::Status AddChatDefaults(const OrgRows& rows, Shard& shard, const ById& teams, const ById& projects) {
  for (const auto& [id, row] : Of(rows, Table::kChatDefaults)) {
    if (row->Bool("removed")) continue;
    const base::Uuid scope = row->Id("scope_id");
    auto settings = Checked(SettingsOf(*row));
    if (!settings.ok()) return MakesNoSense(*row, base::Message(settings.status()));
    ChatDefaults defaults{row->Text("scope_kind"), ScopeName(shard, teams, projects, scope), row->Int("defaults_version"), RowDigest(*row),
                          *std::move(settings)};
    if (defaults.scope_name.empty()) return MakesNoSense(*row, "its scope does not exist");
    shard.chat_defaults[scope] = std::move(defaults);
  }
  return absl::OkStatus();
}

void AddStops(const OrgRows& rows, Shard& shard, const ById& teams, const ById& projects) {
  for (const auto& [id, row] : Of(rows, Table::kStop)) {
    if (row->Bool("lifted")) continue;
    const base::Uuid scope = row->Id("scope_id");
    shard.stop_reasons[scope] = row->Text("reason");
    if (scope == shard.org.id.value) shard.org.stopped = true;
    if (const auto team = teams.find(scope); team != teams.end()) shard.teams[team->second].stopped = true;
    if (const auto project = projects.find(scope); project != projects.end()) shard.projects[project->second].stopped = true;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Shard>> BuildShard(const OrgRows& rows, const Before& before, PolicyCompiler* compiler) {
  auto shard = std::make_shared<Shard>();
  const auto& orgs = Of(rows, Table::kOrg);
  if (orgs.size() != 1) {
    for (const auto& table : rows) {
      for (const auto& [id, row] : table) return MakesNoSense(*row, "its org does not exist");
    }
    return base::DataLoss("directory: an org without rows");
  }
  const Row& org = *orgs.begin()->second;
  shard->org = {base::OrgId(org.id), org.Text("name"), org.Bool("blocked"), false};
  ById teams, projects;
  TG_RETURN_IF_ERROR(AddTeams(rows, *shard, teams));
  TG_RETURN_IF_ERROR(AddProjects(rows, *shard, teams, projects));
  TG_RETURN_IF_ERROR(AddKeys(rows, *shard, teams, projects));
  AddGrants(rows, *shard);
  TG_RETURN_IF_ERROR(AddQuotas(rows, *shard, teams, projects));
  TG_RETURN_IF_ERROR(AddChatDefaults(rows, *shard, teams, projects));
  AddStops(rows, *shard, teams, projects);
  TG_RETURN_IF_ERROR(AddPolicies(Of(rows, Table::kPolicy), Of(rows, Table::kPolicyBinding), before, compiler, *shard));
  for (std::size_t table = 0; table < kTables; ++table) {
    shard->rows[table].reserve(rows[table].size());
    for (const auto& [id, row] : rows[table]) shard->rows[table].push_back(row);
  }
  return std::shared_ptr<const Shard>(std::move(shard));
}

absl::StatusOr<std::shared_ptr<const Installation>> BuildInstallation(const OrgRows& rows) {
  auto installation = std::make_shared<Installation>();
  for (const auto& [id, row] : Of(rows, Table::kStop)) {
    installation->stop_rows.push_back(row);
    if (row->Bool("lifted")) continue;
    if (row->Text("scope_kind") == "everything") {
      installation->everything_stopped = true;
      installation->everything_reason = row->Text("reason");
    } else if (row->Text("scope_kind") == "model") {
      installation->stopped_models.emplace_back(row->Text("model"), row->Text("reason"));
    } else {
      return MakesNoSense(*row, "it stops a scope of no org");
    }
  }
  for (const auto& [id, row] : Of(rows, Table::kModel)) {
    Model model = ModelOf(*row);
    if (const auto valid = Validate(model); !valid.ok()) return MakesNoSense(*row, base::Message(valid));
    installation->model_rows[model.name] = row;
    if (!model.retired) installation->models[model.name] = std::move(model);
  }
  for (const auto& [id, row] : Of(rows, Table::kAlias)) {
    installation->alias_rows[row->Text("name")] = row;
    if (row->Bool("removed")) continue;
    auto alias = AliasOf(*row);
    if (!alias.ok()) return MakesNoSense(*row, base::Message(alias.status()));
    installation->aliases[row->Text("name")] = *std::move(alias);
  }
  std::vector<metering::Price> prices;
  for (const auto& [id, row] : Of(rows, Table::kPrice)) {
    installation->price_rows.push_back(row);
    prices.push_back({row->Int("price_version"), row->Text("model"), base::FromMicros(row->Int("effective_from_us")),
                      row->Int("input_nanos"), row->Int("cached_input_nanos"), row->Int("output_nanos"), row->Text("currency")});
  }
  auto book = metering::PriceBook::Make(std::move(prices));
  if (!book.ok())
    return base::DataLoss(
        fmt::format("directory: the price book makes no sense: {}; restore metering.price from a backup", base::Message(book.status())));
  installation->prices = *std::move(book);
  return std::shared_ptr<const Installation>(std::move(installation));
}

}  // namespace tollgate::directory
