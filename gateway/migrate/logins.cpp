// A session may act as each role that it is a MEMBER of (pg_has_role): by inheritance, by SET ROLE, or by giving itself the one or the
// other. So every right of every such role counts as the login's own, and a role that the session has taken hides nothing.
// Tested by tests/gateway/directory/logins_test.cpp.
#include "gateway/migrate/logins.h"

#include <fmt/format.h>

namespace tollgate::migrate {
namespace {

constexpr std::int64_t kLock = 0x746f6c6c6c6f6769;  // "tolllogi"

// An array, as Postgres reads it.
base::Value RolesFor(Database database) {
  if (database == Database::kKeys) return std::string("{tollgate_keys}");
  return std::string("{tollgate_writer,tollgate_reader,tollgate_directory,tollgate_verifier}");
}

// $1: the login, or nothing for the session's. $2: the roles that it needs. One row: the login, as it is and as SQL writes it; the worst
// reason against it, if there is one: a role and what that one is or may; the roles that are missing, likewise.
// Roles that make roles may, up to Postgres 15, give themselves any other. What is only added to: audit/ and metering/ say why.
constexpr const char* kLook = R"(
SELECT * FROM (
WITH login AS (SELECT coalesce(nullif($1::text, ''), session_user::text)::name AS name),
may AS (SELECT r.oid, r.rolname, r.rolsuper, r.rolcreaterole, r.rolreplication, r.rolbypassrls FROM pg_roles r, login WHERE pg_has_role(login.name, r.oid, 'MEMBER')),
ours AS (SELECT oid, nspname, nspowner FROM pg_namespace WHERE nspname IN ('audit', 'metering', 'directory', 'gate', 'keys')),
reason (rank, role, what) AS (
  SELECT 1, rolname, 'is superuser' FROM may WHERE rolsuper
  UNION ALL SELECT 2, m.rolname, 'owns the database'
    FROM may m JOIN pg_database d ON d.datdba = m.oid WHERE d.datname = current_database()
  UNION ALL SELECT 3, m.rolname, 'owns the schema ' || o.nspname FROM may m JOIN ours o ON o.nspowner = m.oid
  UNION ALL SELECT 4, m.rolname, format('owns %s.%s', o.nspname, c.relname)
    FROM may m JOIN pg_class c ON c.relowner = m.oid JOIN ours o ON o.oid = c.relnamespace
  UNION ALL SELECT 5, m.rolname, format('owns the function %s.%s', o.nspname, p.proname)
    FROM may m JOIN pg_proc p ON p.proowner = m.oid JOIN ours o ON o.oid = p.pronamespace
  UNION ALL SELECT 6, rolname, 'may make roles, and give itself others' FROM may WHERE rolcreaterole
  UNION ALL SELECT 7, rolname, 'reaches beyond all tables'' rights' FROM may
    WHERE rolname IN ('pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
  UNION ALL SELECT 7, rolname, 'sees past row security' FROM may WHERE rolbypassrls
  UNION ALL SELECT 7, rolname, 'may copy the whole cluster' FROM may WHERE rolreplication
  UNION ALL SELECT 8, m.rolname, format('may change or remove rows of %s.%s', o.nspname, c.relname)
    FROM may m, pg_class c JOIN ours o ON o.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (o.nspname = 'audit' AND c.relname ~ '^record(_|$)' OR
                                       o.nspname = 'metering' AND c.relname IN ('usage', 'transfer', 'price'))
      AND (has_any_column_privilege(m.oid, c.oid, 'UPDATE') OR has_table_privilege(m.oid, c.oid, 'DELETE, TRUNCATE, TRIGGER'))),
worst AS (SELECT role, what FROM reason, login ORDER BY rank, role <> login.name, role, what LIMIT 1),
missing AS (SELECT string_agg(quote_ident(r), ', ') AS roles
  FROM unnest($2::text[]) r, login WHERE NOT pg_has_role(login.name, r::name, 'MEMBER'))
SELECT login.name, quote_ident(login.name), worst.role, worst.what, missing.roles
FROM login CROSS JOIN missing LEFT JOIN worst ON true) answer)";

constexpr const char* kByMigrate = "run `tollgate migrate --database-url FILE --keys-url FILE` with the owner's URLs in these files";

absl::Status Unfit(const std::string& login, const std::string& role, const std::string& what) {
  const std::string who = login == role ? login : fmt::format("{} may act as {}, which", login, role);
  return base::FailedPrecondition(
      fmt::format("the login {} {}: whoever holds it could change what is on record, so `tollgate serve` does not take it. Take that "
                  "from it, or give serve a login of its own: CREATE ROLE tollgate_serve LOGIN PASSWORD '…'; put its URLs into the "
                  "configuration, and {}, which gives it its roles",
                  who, what, kByMigrate));
}

}  // namespace

absl::Status CheckLogin(base::Session& session, Database database, const std::string& login) {
  static const std::string kSql = kLook;
  TG_ASSIGN(const base::Rows rows, session.Run("look at the login's rights", kSql, {login, RolesFor(database)}));
  const std::string& name = rows.Text(0, 0);
  if (!rows.IsNull(0, 2)) return Unfit(name, rows.Text(0, 2), rows.Text(0, 3));
  if (rows.IsNull(0, 4)) return absl::OkStatus();
  return base::FailedPrecondition(
      fmt::format("the login {} may not take the roles that serving takes: {}; or, as a superuser of Postgres: "
                  "GRANT {} TO {}",
                  name, kByMigrate, rows.Text(0, 4), rows.Text(0, 1)));
}

absl::Status GrantRoles(const base::PostgresOptions& owner, Database database, const std::string& login) {
  base::PostgresOptions options = owner;
  options.application_name = "tollgate migrate";
  options.role.clear();
  TG_ASSIGN(const std::unique_ptr<base::Session> session, base::Session::Connect(options));
  const std::string look = "SELECT quote_ident($1::text), EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text AND rolcanlogin)";
  TG_ASSIGN(const base::Rows known, session->Run("look for the login", look, {login}));
  if (!known.Bool(0, 1)) {
    return base::FailedPrecondition(
        fmt::format("Postgres has no login {0}, which the configuration's URL names (without one it is the operating system's user): as a "
                    "superuser of Postgres run CREATE ROLE {1} LOGIN PASSWORD '…', and this again",
                    login, known.Text(0, 0)));
  }
  TG_RETURN_IF_ERROR(session->Run("wait for others", "SELECT pg_advisory_lock($1::int8)", {kLock}).status());
  const std::string ask =
      "SELECT format('GRANT %I TO %I', r, $1::text) FROM unnest($2::text[]) r WHERE NOT pg_has_role($1::text::name, r::name, 'MEMBER')";
  TG_ASSIGN(const base::Rows missing, session->Run("look for roles", ask, {login, RolesFor(database)}));
  for (std::size_t i = 0; i < missing.size(); ++i) {
    const absl::Status given = session->RunScript("give a role to the login", missing.Text(i, 0));
    if (!given.ok()) return base::Annotate(given, fmt::format("as a superuser of Postgres run {}, and this again", missing.Text(i, 0)));
  }
  return absl::OkStatus();
}

}  // namespace tollgate::migrate
