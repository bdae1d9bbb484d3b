// Roles belong to a cluster, and the first migration makes them; a database that comes from elsewhere has that one behind it. Rights are
// looked for by some of them that no other statement would give: each room's, and the policies, without which row security hides all.
// Row security binds the tables' owner too, who sees what the roles see that it inherits from.
// Tested by tests/gateway/directory/backup_test.cpp and tests/gateway/directory/logins_test.cpp.
#include "gateway/migrate/roles.h"

#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace tollgate::migrate {
namespace {

constexpr const char* kAll = "{tollgate_writer,tollgate_reader,tollgate_keys,tollgate_directory,tollgate_retention,tollgate_verifier}";

base::PostgresOptions AsOwner(base::PostgresOptions options) {
  options.application_name = "tollgate migrate";
  options.role.clear();
  return options;
}

// `me`: the owner, as SQL writes it.
absl::Status LetOwnerSee(base::Session& session, const std::string& me) {
  static const std::string kLook =
      "SELECT pg_has_role(current_user, 'tollgate_writer', 'USAGE'), current_setting('server_version_num')::int4 >= 160000";
  TG_ASSIGN(base::Rows look, session.Run("look what the owner sees", kLook));
  if (look.Bool(0, 0)) return absl::OkStatus();
  // Since Postgres 16 it is each membership that inherits, before that the role.
  const std::string take = fmt::format("GRANT tollgate_writer TO {}{}", me, look.Bool(0, 1) ? " WITH INHERIT TRUE" : "");
  session.Run("take a role", take).IgnoreError();
  const std::string sql = look.Bool(0, 1) ? take : fmt::format("ALTER ROLE {} INHERIT; {}", me, take);
  TG_ASSIGN(look, session.Run("look what the owner sees", kLook));
  if (look.Bool(0, 0)) return absl::OkStatus();
  return base::FailedPrecondition(fmt::format(
      "{} owns the tables and does not inherit from tollgate_writer: row security shows it no usage and no ledger, and its dumps "
      "lack them without an error. As a superuser of Postgres run {}, and this again",
      me, sql));
}

}  // namespace

absl::Status MakeRoles(const base::PostgresOptions& owner, Database database) {
  // Who may give a role: up to Postgres 15 whoever may make roles, since then who has it WITH ADMIN OPTION.
  static const std::string kLook =
      "SELECT wanted.name, r.oid IS NOT NULL, quote_ident(me.rolname), "
      "me.rolsuper OR coalesce(pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION'), false) OR "
      "me.rolcreaterole AND current_setting('server_version_num')::int4 < 160000 "
      "FROM unnest($1::text[]) wanted (name) LEFT JOIN pg_roles r ON r.rolname = wanted.name, pg_roles me WHERE me.rolname = current_user";
  const std::string wanted = database == Database::kMain ? kAll : "{tollgate_keys}";
  TG_ASSIGN(const auto session, base::Session::Connect(AsOwner(owner)));
  TG_ASSIGN(const base::Rows empty, session->Run("look for the schema", "SELECT to_regclass('public.tollgate_migration') IS NULL"));
  TG_ASSIGN(const base::Rows roles, session->Run("look for roles", kLook, {wanted}));
  std::vector<std::string> others;
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const std::string& name = roles.Text(i, 0);
    if (roles.Bool(i, 1)) {
      if (!roles.Bool(i, 3)) others.push_back(name);
      continue;
    }
    const absl::Status made = session->Run("make a role", fmt::format("CREATE ROLE {} NOLOGIN", name)).status();
    if (!made.ok() && !absl::IsAlreadyExists(made)) return made;
    const absl::Status given = session->Run("take a role", fmt::format("GRANT {} TO {}", name, roles.Text(i, 2))).status();
    if (!given.ok()) return given;
  }
  if (!empty.Bool(0, 0) || others.empty()) return database == Database::kMain ? LetOwnerSee(*session, roles.Text(0, 2)) : absl::OkStatus();
  const std::string sql = fmt::format("GRANT {} TO {} WITH ADMIN OPTION", fmt::join(others, ", "), roles.Text(0, 2));
  return base::PermissionDenied(
      fmt::format("the roles that this database needs are there, and {} may not give them: as a superuser of Postgres "
                  "run {}, and this again",
                  roles.Text(0, 2), sql));
}

absl::Status CheckRights(base::Session& session, Database database) {
  static const std::string kMain =
      "SELECT (SELECT count(*) FROM pg_policy WHERE polrelid IN ('audit.record'::regclass, 'metering.usage'::regclass, "
      "'metering.transfer'::regclass)) >= 12 AND has_table_privilege('tollgate_writer', 'audit.record', 'INSERT') "
      "AND has_table_privilege('tollgate_reader', 'audit.record', 'SELECT') "
      "AND has_table_privilege('tollgate_verifier', 'metering.usage', 'SELECT') "
      "AND has_table_privilege('tollgate_directory', 'directory.key', 'INSERT')";
  static const std::string kKeys = "SELECT has_table_privilege('tollgate_keys', 'keys.request', 'INSERT')";
  TG_ASSIGN(const base::Rows right, session.Run("look for the roles' rights", database == Database::kMain ? kMain : kKeys));
  if (right.Bool(0, 0)) return absl::OkStatus();
  return base::FailedPrecondition(
      "the roles tollgate_… lack their rights in this database, as after a dump was restored where they were missing; they are there now: "
      "drop this database, make it anew and restore it again, without an error this time (docs/backup.md)");
}

absl::StatusOr<std::string> CloseToOthers(const base::PostgresOptions& owner, const std::string& login, bool fresh) {
  static const std::string kLook =
      "SELECT quote_ident(current_database()), quote_ident($1::text), has_database_privilege($1::text::name, oid, 'CONNECT'), "
      "pg_has_role(current_user, datdba, 'USAGE'), EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) "
      "WHERE grantee = 0 AND privilege_type IN ('CONNECT', 'TEMPORARY')) FROM pg_database WHERE datname = current_database()";
  TG_ASSIGN(const auto session, base::Session::Connect(AsOwner(owner)));
  TG_ASSIGN(const base::Rows look, session->Run("look who may connect", kLook, {login}));
  const std::string& database = look.Text(0, 0);
  const std::string let = fmt::format("GRANT CONNECT ON DATABASE {} TO {}", database, look.Text(0, 1));
  const std::string close = fmt::format("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", database);
  const bool open = look.Bool(0, 4), may = look.Bool(0, 3);
  if (may && (!look.Bool(0, 2) || (fresh && open))) TG_RETURN_IF_ERROR(session->Run("let the login connect", let).status());
  if (!open) return std::string();
  if (!fresh || !may) return let + "; " + close;
  TG_RETURN_IF_ERROR(session->Run("keep others out", close).status());
  return std::string();
}

}  // namespace tollgate::migrate
