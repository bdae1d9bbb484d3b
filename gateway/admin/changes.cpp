// Each method is one body for Changer::Run: find, check, decide whether anything changes, write. Rules, policies, models and chat defaults
// have files of their own, changes_*.cpp. Tested by tests/gateway/admin/changes_test.cpp, changes_keys_test.cpp.
#include "gateway/admin/changes.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/admin/changes_impl.h"
#include "gateway/admin/text.h"
#include "gateway/directory/names.h"
#include "gateway/identity/api_key.h"

namespace tollgate::admin {

using directory::Row;
using directory::Table;

Changes::Changes(ChangesOptions options, audit::Journal& journal, const base::Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), journal, clock)) {}
Changes::~Changes() = default;

absl::Status OnlyInstallation(const std::string& message, const std::string& param) {
  return base::WithDetail(base::PermissionDenied(message), {.reason = "ROLE_LACKS_PERMISSION", .param = param, .may_retry = false});
}

absl::StatusOr<Changed> Changes::Impl::One(const Actor& actor, const std::function<absl::Status(Transaction&, Changed&)>& body) {
  Changed result;
  TG_ASSIGN(result.version, changer.Run(actor, [&](Transaction& t) -> absl::Status {
    TG_RETURN_IF_ERROR(body(t, result));
    result.changed = t.changed();
    return absl::OkStatus();
  }));
  return result;
}

absl::StatusOr<Changed> Changes::CreateOrg(const Actor& actor, const std::string& org) {
  TG_RETURN_IF_ERROR(directory::CheckName("org name", org));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const auto old, t.Find(Table::kOrg, "name = $1::text", {org}));
    if (old.has_value()) return base::AlreadyExists(fmt::format("there is an org '{}' already", org));
    return impl_->MakeOrg(t, org, out.row);
  });
}

absl::Status Changes::Impl::MakeOrg(Transaction& t, const std::string& org, Row& row) {
  row = directory::NewRow(Table::kOrg);
  row.Set("name", org);
  row.Set("blocked", std::string("f"));
  return t.Write(row, nullptr, {"org.create", "created org " + org, row.id, {}, {}});
}

absl::StatusOr<Changed> Changes::CreateTeam(const Actor& actor, const std::string& org, const std::string& team) {
  TG_RETURN_IF_ERROR(directory::CheckName("team name", team));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundScope in, t.FindScope({org, {}, {}, {}}));
    TG_ASSIGN(const auto old, t.Find(Table::kTeam, "org = $1::uuid AND name = $2::text", {in.org.ToString(), team}));
    if (old.has_value()) return base::AlreadyExists(fmt::format("there is a team '{}/{}' already", org, team));
    return impl_->MakeTeam(t, in.row, team, out.row);
  });
}

absl::Status Changes::Impl::MakeTeam(Transaction& t, const Row& org, const std::string& team, Row& row) {
  row = directory::NewRow(Table::kTeam);
  row.Set("org", org.id.ToString());
  row.Set("name", team);
  row.Set("blocked", std::string("f"));
  return t.Write(row, nullptr, {"team.create", fmt::format("created team {}/{}", org.Text("name"), team), org.id, row.id, {}});
}

absl::StatusOr<Changed> Changes::CreateProject(const Actor& actor, const std::string& org, const std::string& team,
                                               const std::string& project) {
  TG_RETURN_IF_ERROR(directory::CheckName("project name", project));
  if (team.empty()) return base::InvalidArgument("a project needs a team: name it");
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundScope in, t.FindScope({org, team, {}, {}}));
    TG_ASSIGN(const auto old, t.Find(Table::kProject, "team = $1::uuid AND name = $2::text", {in.team.ToString(), project}));
    if (old.has_value()) return base::AlreadyExists(fmt::format("there is a project '{}/{}/{}' already", org, team, project));
    return impl_->MakeProject(t, in.row, project, out.row);
  });
}

absl::Status Changes::Impl::MakeProject(Transaction& t, const Row& team, const std::string& project, Row& row) {
  row = directory::NewRow(Table::kProject);
  row.Set("org", team.Text("org"));
  row.Set("team", team.id.ToString());
  row.Set("name", project);
  row.Set("blocked", std::string("f"));
  return t.Write(
      row, nullptr,
      {"project.create", fmt::format("created project {} in team {}", project, team.Text("name")), team.Id("org"), team.id, row.id});
}

absl::StatusOr<Changed> Changes::SetBlocked(const Actor& actor, const ScopeNames& scope, bool blocked, const std::string& reason) {
  TG_RETURN_IF_ERROR(CheckReason(reason));
  if (!scope.key.empty()) return base::InvalidArgument("a key is not blocked but revoked");
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(FoundScope found, t.FindScope(scope));
    out.row = found.row;
    if (out.row.Bool("blocked") == blocked) return absl::OkStatus();
    out.row.Set("blocked", std::string(blocked ? "t" : "f"));
    const std::string action = fmt::format("{}.{}", metering::NameOf(found.kind), blocked ? "block" : "unblock");
    return t.Write(out.row, &found.row,
                   NoteOf(found, action, fmt::format("{} {}: {}", blocked ? "blocked" : "unblocked", found.text, reason)));
  });
}

absl::Status Changes::Impl::MakeKey(Transaction& t, const FoundScope& in, const NewKey& wanted, const base::Uuid& predecessor,
                                    CreatedKey& out) {
  const identity::ApiKey key = identity::MintApiKey(wanted.dev ? identity::Environment::kDev : identity::Environment::kLive);
  Row& row = out.row;
  row = directory::NewRow(Table::kKey);
  row.Set("org", in.org.ToString());
  row.Set("project", in.project.ToString());
  row.Set("public_id", key.public_id);
  row.Set("name", wanted.name);
  row.Set("owner", wanted.owner);
  row.Set("secret_hmac", base::Blob{std::string(base::View(identity::SecretHmac(changer.options().pepper, key.secret)))});
  row.Set("roles", directory::JoinRoles(wanted.roles));
  row.Set("created_us", t.now_us());
  if (wanted.expires_us.has_value()) row.Set("expires_us", *wanted.expires_us);
  row.Set("dev", std::string(wanted.dev ? "t" : "f"));
  if (!predecessor.IsNone()) row.Set("predecessor", predecessor.ToString());
  if (!t.actor().installation) {  // Who looks after the installation can switch off what asks for two persons, and counts for nobody here.
    TG_ASSIGN(const Person maker, t.Acting());
    if (std::string made_by = MadeBy(maker, wanted.owner); !made_by.empty()) row.Set("made_by", std::move(made_by));
  }
  out.secret = identity::FormatApiKey(key);
  const std::string summary = fmt::format("{} key {} ({}) with roles {} for {}", predecessor.IsNone() ? "created" : "rotated in",
                                          key.public_id, wanted.name, row.Text("roles"), wanted.owner);
  return t.Write(row, nullptr, {predecessor.IsNone() ? "key.create" : "key.rotate", summary, in.org, in.team, in.project});
}

namespace {
bool HasEnded(const Row& key, std::int64_t now_us) {
  return !key.IsNull("revoked_us") || (!key.IsNull("expires_us") && key.Int("expires_us") <= now_us);
}
}  // namespace

absl::StatusOr<CreatedKey> Changes::CreateKey(const Actor& actor, const ScopeNames& project, const NewKey& key) {
  TG_RETURN_IF_ERROR(directory::CheckName("key name", key.name));
  TG_RETURN_IF_ERROR(CheckText("owner", key.owner, 128));
  if (key.owner.empty()) return base::InvalidArgument("a key needs an owner: the person it belongs to");
  if (key.roles.empty()) return base::InvalidArgument("a key needs a role: member, for requests to models");
  if (project.project.empty()) return base::InvalidArgument("a key belongs to a project: name org, team and project");
  CreatedKey result;
  TG_ASSIGN(result.version, impl_->changer.Run(actor, [&](Transaction& t) -> absl::Status {
    TG_ASSIGN(const FoundScope in, t.FindScope({project.org, project.team, project.project, {}}));
    if (key.expires_us.has_value() && *key.expires_us <= t.now_us())
      return base::InvalidArgument("the key would have expired already: name a later time");
    TG_ASSIGN(const auto namesakes, t.FindAll(Table::kKey, "project = $1::uuid AND name = $2::text", {in.project.ToString(), key.name}));
    for (const Row& other : namesakes) {
      if (!HasEnded(other, t.now_us()))
        return base::AlreadyExists(fmt::format("the project has a key '{}' already ({}); rotate or revoke that one, or take another name",
                                               key.name, other.Text("public_id")));
    }
    return impl_->MakeKey(t, in, key, {}, result);
  }));
  return result;
}

namespace {

// The keys that a key was rotated to, oldest first: more than one where a successor ended and it was rotated again.
absl::StatusOr<std::vector<Row>> SuccessorsOf(Transaction& t, const Row& key) {
  TG_ASSIGN(std::vector<Row> rows, t.FindAll(Table::kKey, "predecessor = $1::uuid", {key.id.ToString()}));
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.Int("created_us") < b.Int("created_us"); });
  return rows;
}

// A second successor would live on beside the first, with all that was set for the key, and be nobody's.
absl::Status NothingFollows(Transaction& t, const Row& key) {
  std::vector<Row> look = {key};
  while (!look.empty()) {
    TG_ASSIGN(const std::vector<Row> next, SuccessorsOf(t, look.back()));
    look.pop_back();
    for (const Row& row : next) {
      if (!HasEnded(row, t.now_us())) {
        const std::string& follows = row.Text("public_id");
        return base::FailedPrecondition(
            fmt::format("key {0} was rotated: {1} follows it; rotate that one, or, if nobody has its text, revoke it first: "
                        "tollgate key revoke {1} …",
                        key.Text("public_id"), follows));
      }
      look.push_back(row);
    }
  }
  return absl::OkStatus();
}

// How long a key was made for; nullopt: for ever. The overlap that ends a rotated key stands where its own end stood, which its first
// successor was given.
absl::StatusOr<std::optional<std::int64_t>> LifetimeOf(Transaction& t, Row key) {
  for (;;) {
    TG_ASSIGN(std::vector<Row> next, SuccessorsOf(t, key));
    if (next.empty()) break;
    key = std::move(next.front());
  }
  if (key.IsNull("expires_us")) return std::optional<std::int64_t>();
  return std::optional<std::int64_t>(key.Int("expires_us") - key.Int("created_us"));
}

absl::StatusOr<bool> IsOwners(const Row& key) {
  TG_ASSIGN(const std::vector<directory::Role> roles, directory::SplitRoles(key.Text("roles")));
  return std::find(roles.begin(), roles.end(), directory::Role::kOwner) != roles.end();
}

// Without an owner's key nobody can make owners, orgs or auditors, or open restricted models again.
absl::Status NotTheLastOwner(Transaction& t, const Row& key) {
  TG_ASSIGN(const bool owners, IsOwners(key));
  if (!owners) return absl::OkStatus();
  TG_ASSIGN(const auto others,
            t.FindAll(Table::kKey, "roles LIKE '%owner%' AND revoked_us IS NULL AND id <> $1::uuid", {key.id.ToString()}));
  for (const Row& other : others) {
    TG_ASSIGN(const bool too, IsOwners(other));
    if (too && !HasEnded(other, t.now_us()) && other.Bool("dev") == key.Bool("dev")) return absl::OkStatus();
  }
  return base::FailedPrecondition(
      fmt::format("key {} is the last with the role owner that works; make another first (tollgate key create … --role owner, or where the "
                  "database is, tollgate migrate --new-owner NAME)",
                  key.Text("public_id")));
}

}  // namespace

absl::StatusOr<CreatedKey> Changes::RotateKey(const Actor& actor, const std::string& public_id, std::chrono::seconds overlap) {
  if (overlap < std::chrono::seconds(0) || overlap > std::chrono::days(30))
    return base::InvalidArgument("overlap: use 0 seconds to 30 days");
  CreatedKey result;
  TG_ASSIGN(result.version, impl_->changer.Run(actor, [&](Transaction& t) -> absl::Status {
    TG_ASSIGN(const FoundScope old, t.FindKey(public_id));
    if (!old.row.IsNull("revoked_us")) return base::FailedPrecondition(fmt::format("key {} is revoked: make a new one", public_id));
    if (!old.row.IsNull("expires_us") && old.row.Int("expires_us") <= t.now_us()) {
      return base::FailedPrecondition(fmt::format("key {} has expired: make a new one", public_id));
    }
    NewKey next;
    next.name = old.row.Text("name");
    next.owner = old.row.Text("owner");
    TG_ASSIGN(next.roles, directory::SplitRoles(old.row.Text("roles")));
    next.dev = old.row.Bool("dev");
    TG_RETURN_IF_ERROR(NothingFollows(t, old.row));
    TG_ASSIGN(const std::optional<std::int64_t> lifetime_us, LifetimeOf(t, old.row));
    if (lifetime_us.has_value()) next.expires_us = t.now_us() + *lifetime_us;
    TG_RETURN_IF_ERROR(impl_->MakeKey(t, old, next, old.row.id, result));
    TG_RETURN_IF_ERROR(impl_->CopyRules(t, old, result.row));
    Row ending = old.row;
    const std::int64_t ends_us = t.now_us() + std::chrono::microseconds(overlap).count();
    if (overlap.count() == 0) {
      ending.Set("revoked_us", t.now_us());
    } else {
      ending.Set("expires_us", old.row.IsNull("expires_us") ? ends_us : std::min(ends_us, old.row.Int("expires_us")));
    }
    const std::string summary = fmt::format("rotated out key {}: {} follows it", public_id, result.row.Text("public_id"));
    return t.Write(ending, &old.row, {"key.rotate", summary, old.org, old.team, old.project});
  }));
  return result;
}

// What is said of a key itself holds for its successor: the allow-list, the limits (which count anew) and the chat defaults.
absl::Status Changes::Impl::CopyRules(Transaction& t, const FoundScope& old, const Row& successor) {
  for (const auto& [table, action] : {std::pair(Table::kModelGrant, "grant.add"), std::pair(Table::kQuota, "quota.set"),
                                      std::pair(Table::kChatDefaults, "defaults.set")}) {
    TG_ASSIGN(const auto rules, t.FindAll(table, "scope_kind = 'key' AND scope_id = $1::uuid", {old.row.id.ToString()}));
    for (const Row& rule : rules) {
      if (table == Table::kChatDefaults && rule.Bool("removed")) continue;
      Row copy = directory::NewRow(table);
      copy.values = rule.values;
      copy.Set("scope_id", successor.id.ToString());
      const std::string summary =
          fmt::format("key {} takes over what was set for {}", successor.Text("public_id"), old.row.Text("public_id"));
      TG_RETURN_IF_ERROR(t.Write(copy, nullptr, {action, summary, old.org, old.team, old.project}));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Changed> Changes::RevokeKey(const Actor& actor, const std::string& public_id, const std::string& reason) {
  TG_RETURN_IF_ERROR(CheckReason(reason));
  return impl_->One(actor, [&](Transaction& t, Changed& out) -> absl::Status {
    TG_ASSIGN(const FoundScope found, t.FindKey(public_id));
    out.row = found.row;
    if (!out.row.IsNull("revoked_us")) return absl::OkStatus();
    TG_RETURN_IF_ERROR(NotTheLastOwner(t, found.row));
    out.row.Set("revoked_us", t.now_us());
    return t.Write(out.row, &found.row, NoteOf(found, "key.revoke", fmt::format("revoked key {}: {}", public_id, reason)));
  });
}

// Of the project that is apart from every customer's, which is made where it is not.
absl::Status Changes::Impl::MakeOwnersKey(Transaction& t, const std::string& name, const std::string& owner, bool dev, CreatedKey& out) {
  TG_ASSIGN(auto org, t.Find(Table::kOrg, "name = 'tollgate'", {}));
  if (!org.has_value()) TG_RETURN_IF_ERROR(MakeOrg(t, "tollgate", org.emplace()));
  TG_ASSIGN(auto team, t.Find(Table::kTeam, "org = $1::uuid AND name = 'operators'", {org->id.ToString()}));
  if (!team.has_value()) TG_RETURN_IF_ERROR(MakeTeam(t, *org, "operators", team.emplace()));
  TG_ASSIGN(auto project, t.Find(Table::kProject, "team = $1::uuid AND name = 'admin'", {team->id.ToString()}));
  if (!project.has_value()) TG_RETURN_IF_ERROR(MakeProject(t, *team, "admin", project.emplace()));
  FoundScope in;
  in.org = org->id;
  in.team = team->id;
  in.project = project->id;
  return MakeKey(t, in, {name, owner, {directory::Role::kOwner}, std::nullopt, dev}, {}, out);
}

absl::StatusOr<CreatedKey> Changes::MakeOwner(const Actor& actor, const std::string& owner, bool dev) {
  TG_RETURN_IF_ERROR(CheckText("owner", owner, 128));
  if (owner.empty()) return base::InvalidArgument("a key needs an owner: the person it belongs to");
  CreatedKey result;
  TG_ASSIGN(result.version, impl_->changer.Run(actor, [&](Transaction& t) -> absl::Status {
    // Whatever the last one was called: nobody may be able to end it.
    const std::string name = fmt::format("owner-{}", t.version() + 1);
    return impl_->MakeOwnersKey(t, name, owner, dev, result);
  }));
  return result;
}

absl::StatusOr<std::optional<CreatedKey>> Changes::Bootstrap(const Actor& actor, const std::string& owner, bool dev) {
  TG_RETURN_IF_ERROR(CheckText("owner", owner, 128));
  if (owner.empty()) return base::InvalidArgument("the first key needs an owner: the person it belongs to");
  CreatedKey result;
  bool made = false;
  TG_ASSIGN(result.version, impl_->changer.Run(actor, [&](Transaction& t) -> absl::Status {
    made = false;
    TG_ASSIGN(const auto any, t.Find(Table::kKey, "id = (SELECT id FROM directory.key LIMIT 1)", {}));
    if (any.has_value()) return absl::OkStatus();
    TG_ASSIGN(const auto org_there, t.Find(Table::kOrg, "name = 'tollgate'", {}));
    if (org_there.has_value())
      return base::FailedPrecondition("there is an org 'tollgate' but no key: the directory was made by something else");
    made = true;
    return impl_->MakeOwnersKey(t, "first-owner", owner, dev, result);
  }));
  if (!made) return std::optional<CreatedKey>();
  return std::optional<CreatedKey>(std::move(result));
}

}  // namespace tollgate::admin
