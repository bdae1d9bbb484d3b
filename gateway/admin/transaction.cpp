// The directory's head is locked first, so that changes of all instances come one after another and each sees what the one before wrote;
// the lock is held while the ADMIN record is made durable (a group commit: a few milliseconds). A record whose row was not written after
// all (the transaction failed) stays in the log as the attempt that it was; a row without its record cannot be.
//
// Tested by tests/gateway/admin/changes_test.cpp.
#include "gateway/admin/transaction.h"

#include <tuple>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/admin/text.h"
#include "gateway/directory/names.h"
#include "gateway/directory/row_postgres.h"
#include "gateway/identity/permissions.h"

namespace tollgate::admin {

using directory::Row;
using directory::Table;

Transaction::Transaction(base::Session& session, directory::Head head, const ChangesOptions& options, audit::Journal& journal,
                         const base::Clock& clock, const Actor& actor, std::chrono::steady_clock::time_point deadline)
    : session_(session),
      head_(head),
      options_(options),
      journal_(journal),
      actor_(actor),
      deadline_(deadline),
      now_us_(base::ToMicros(clock.Wall())) {}

namespace {
absl::Status Verify(const std::string& mac_key, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    if (base::ConstantTimeEqual(base::View(directory::RowMac(mac_key, row)), base::View(row.mac))) continue;
    return base::DataLoss(fmt::format("row {} of {} does not verify: it was changed outside Tollgate; restore it from a backup first",
                                      row.id.ToString(), directory::SpecOf(row.table).name));
  }
  return absl::OkStatus();
}
}  // namespace

absl::StatusOr<std::vector<Row>> Transaction::FindAll(Table table, const std::string& where, const base::Params& params) {
  TG_ASSIGN(std::vector<Row> rows, directory::ReadRows(session_, table, where, params));
  TG_RETURN_IF_ERROR(Verify(options_.mac_key, rows));
  return rows;
}

absl::StatusOr<std::optional<Row>> Transaction::Find(Table table, const std::string& where, const base::Params& params) {
  TG_ASSIGN(std::vector<Row> rows, FindAll(table, where, params));
  if (rows.empty()) return std::optional<Row>();
  return std::optional<Row>(std::move(rows.front()));
}

absl::StatusOr<Row> Transaction::One(Table table, const std::string& where, const base::Params& params, std::string_view what,
                                     const std::string& name) {
  TG_ASSIGN(std::optional<Row> row, Find(table, where, params));
  if (!row.has_value()) return base::NotFound(fmt::format("there is no {} '{}'", what, name));
  return *std::move(row);
}

absl::StatusOr<FoundScope> Transaction::FindKey(const std::string& public_id) {
  TG_RETURN_IF_ERROR(CheckText("key", public_id, 64));
  FoundScope found;
  found.kind = metering::Scope::Kind::kKey;
  TG_ASSIGN(found.row, One(Table::kKey, "public_id = $1::text", {public_id}, "key", public_id));
  TG_ASSIGN(const Row project, One(Table::kProject, "id = $1::uuid", {found.row.Text("project")}, "project of key", public_id));
  found.org = found.row.Id("org");
  found.team = project.Id("team");
  found.project = project.id;
  found.key = found.row.id;
  found.text = "key " + public_id;
  return found;
}

absl::StatusOr<FoundScope> Transaction::FindScope(const ScopeNames& names) {
  TG_RETURN_IF_ERROR(CheckText("org", names.org, 63));
  TG_RETURN_IF_ERROR(CheckText("team", names.team, 63));
  TG_RETURN_IF_ERROR(CheckText("project", names.project, 63));
  TG_ASSIGN(const Row org, One(Table::kOrg, "name = $1::text", {names.org}, "org", names.org));
  if (!names.key.empty()) {
    TG_ASSIGN(FoundScope key, FindKey(names.key));
    if (key.org != org.id) return base::NotFound(fmt::format("there is no key '{}'", names.key));
    return key;
  }
  FoundScope found;
  found.row = org;
  found.org = org.id;
  found.text = "org " + names.org;
  if (names.team.empty()) {
    if (names.project.empty()) return found;
    return base::InvalidArgument("a project is named without its team: name the team too");
  }
  found.kind = metering::Scope::Kind::kTeam;
  TG_ASSIGN(found.row,
            One(Table::kTeam, "org = $1::uuid AND name = $2::text", {org.id.ToString(), names.team}, "team", names.org + "/" + names.team));
  found.team = found.row.id;
  found.text = fmt::format("team {}/{}", names.org, names.team);
  if (names.project.empty()) return found;
  found.kind = metering::Scope::Kind::kProject;
  const std::string path = fmt::format("{}/{}/{}", names.org, names.team, names.project);
  TG_ASSIGN(found.row,
            One(Table::kProject, "team = $1::uuid AND name = $2::text", {found.team.ToString(), names.project}, "project", path));
  found.project = found.row.id;
  found.text = "project " + path;
  return found;
}

namespace {
absl::Status Ended(const std::string& key, const char* reason, const char* how) {
  return base::WithDetail(base::Unauthenticated(fmt::format("key {} {} by now: nothing was changed", key, how)),
                          {.reason = reason, .may_retry = false});
}

constexpr std::tuple<Table, const char*, const char*> kPlaces[] = {
    {Table::kOrg, "org", "ORG_BLOCKED"}, {Table::kTeam, "team", "TEAM_BLOCKED"}, {Table::kProject, "project", "PROJECT_BLOCKED"}};
}  // namespace

// The snapshot that the call was admitted by may be seconds old, and it waited for the lock since: behind a revocation, perhaps.
absl::Status Transaction::CheckActor() {
  if (actor_.gone != nullptr && actor_.gone->load()) return base::Cancelled("the call was cancelled before its change began");
  if (actor_.key.IsNone()) return absl::OkStatus();
  TG_ASSIGN(const auto row, Find(Table::kKey, "id = $1::uuid", {actor_.key.ToString()}));
  if (!row.has_value() || !row->IsNull("revoked_us")) return Ended(actor_.name, "KEY_REVOKED", "has been revoked");
  if (!row->IsNull("expires_us") && row->Int("expires_us") <= now_us_) return Ended(actor_.name, "KEY_EXPIRED", "has expired");
  directory::Key key;
  TG_ASSIGN(key.roles, directory::SplitRoles(row->Text("roles")));
  if (identity::ReachesOverInstallation(key)) return absl::OkStatus();
  TG_ASSIGN(const Row project, One(Table::kProject, "id = $1::uuid", {row->Text("project")}, "project of key", actor_.name));
  const std::string ids[] = {row->Text("org"), project.Text("team"), project.id.ToString()};
  for (std::size_t i = 0; i < std::size(kPlaces); ++i) {
    const auto& [table, kind, reason] = kPlaces[i];
    TG_ASSIGN(const Row place, One(table, "id = $1::uuid", {ids[i]}, fmt::format("{} of key", kind), actor_.name));
    if (!place.Bool("blocked")) continue;
    return base::WithDetail(base::PermissionDenied(fmt::format("{} {} is blocked by now: nothing was changed", kind, place.Text("name"))),
                            {.reason = reason, .may_retry = false});
  }
  return absl::OkStatus();
}

absl::StatusOr<Person> Transaction::Acting() {
  if (actor_.key.value == base::Uuid()) return Person{actor_.name, {}};
  TG_ASSIGN(const auto key, Find(Table::kKey, "id = $1::uuid", {actor_.key.value.ToString()}));
  if (!key.has_value()) return Person{actor_.name, {}};
  return Person{key->Text("owner"), key->TextOr("made_by", "")};
}

absl::Status Transaction::Write(Row& row, const Row* before, const Note& note) {
  row.version = head_.version + 1;
  const base::Uuid record_id = base::Uuid::NewV7();
  audit::Entry entry;
  v1::Record& record = entry.record;
  record.set_kind(v1::RECORD_KIND_ADMIN);
  record.set_request_id(record_id.Bytes());
  if (!note.org.IsNone()) record.set_org_id(note.org.Bytes());
  if (!note.team.IsNone()) record.set_team_id(note.team.Bytes());
  if (!note.project.IsNone()) record.set_project_id(note.project.Bytes());
  if (!actor_.key.IsNone()) record.set_key_id(actor_.key.Bytes());
  v1::AdminBody& body = *record.mutable_admin();
  body.set_actor(actor_.name);
  body.set_action(note.action);
  body.set_table(directory::SpecOf(row.table).name);
  body.set_row_id(row.id.Bytes());
  body.set_row_sha256(std::string(base::View(directory::RowDigest(row))));
  body.set_summary(note.summary);
  auto position = audit::AppendAndWait(journal_, std::move(entry), deadline_);
  if (!position.ok()) return base::Annotate(position.status(), "the change could not be recorded, so it was not made");
  row.admin_record = record_id;
  row.admin_log_id = position->log_id;
  row.admin_index = position->index;
  row.mac = directory::RowMac(options_.mac_key, row);
  TG_RETURN_IF_ERROR(before == nullptr ? directory::InsertRow(session_, row) : directory::UpdateRow(session_, row));
  if (before != nullptr) directory::Toggle(head_.set, before->mac);
  directory::Toggle(head_.set, row.mac);
  changed_ = true;
  return absl::OkStatus();
}

absl::Status Transaction::Finish() {
  if (!changed_) return absl::OkStatus();
  directory::Head next = head_;
  next.version = head_.version + 1;
  next.mac = directory::HeadMac(options_.mac_key, next.version, next.set);
  return directory::WriteHead(session_, next);
}

namespace {
base::SessionPool::Options PoolOptions(const ChangesOptions& options) {
  base::SessionPool::Options pool;
  pool.postgres = options.postgres;
  pool.sessions = 1;
  pool.queue_timeout = options.deadline;
  return pool;
}
}  // namespace

Changer::Changer(ChangesOptions options, audit::Journal& journal, const base::Clock& clock)
    : options_(std::move(options)), journal_(journal), clock_(clock), pool_(PoolOptions(options_)) {}

absl::StatusOr<std::int64_t> Changer::Run(const Actor& actor, const std::function<absl::Status(Transaction&)>& body) {
  const auto deadline = std::chrono::steady_clock::now() + options_.deadline;
  std::int64_t version = 0;
  bool changed = false;
  const auto once = [&](base::Session& session) -> absl::Status {
    return session.InTransaction("change the directory", [&](base::Session& s) -> absl::Status {
      TG_ASSIGN(const directory::Head head, directory::ReadHead(s, true));
      TG_RETURN_IF_ERROR(directory::CheckHead(options_.mac_key, head));
      Transaction transaction(s, head, options_, journal_, clock_, actor, deadline);
      TG_RETURN_IF_ERROR(transaction.CheckActor());
      TG_RETURN_IF_ERROR(body(transaction));
      version = transaction.version();
      changed = transaction.changed();
      return transaction.Finish();
    });
  };
  absl::Status status;
  do {
    status = pool_.RunAndWait(once);
  } while (absl::IsAborted(status) && std::chrono::steady_clock::now() < deadline);
  if (absl::IsUnknown(status)) {
    return base::Unknown(
        "the connection to Postgres broke while the change was being committed: look whether it was made before trying again");
  }
  TG_RETURN_IF_ERROR(status);
  if (changed && options_.on_change) options_.on_change(version);
  return version;
}

absl::StatusOr<std::vector<Row>> Changer::Read(Table table, const std::string& where, const base::Params& params) {
  std::vector<Row> rows;
  TG_RETURN_IF_ERROR(pool_.RunAndWait([&](base::Session& session) -> absl::Status {
    TG_ASSIGN(rows, directory::ReadRows(session, table, where, params));
    return absl::OkStatus();
  }));
  TG_RETURN_IF_ERROR(Verify(options_.mac_key, rows));
  return rows;
}

}  // namespace tollgate::admin
