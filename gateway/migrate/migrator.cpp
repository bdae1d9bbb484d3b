// Everything happens on one session under one advisory lock, taken for the session because each migration is a transaction of its own. A
// migration and its line in public.tollgate_migration are written in that transaction: both or neither. Before anything is applied, what
// was applied before is compared name by name and digest by digest. Tested by tests/gateway/directory/migrator_test.cpp.
#include "gateway/migrate/migrator.h"

#include <map>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace tollgate::migrate {
namespace {

constexpr std::int64_t kLock = 0x746f6c6c67617465;  // "tollgate"

using Applied = std::map<std::string, std::string, std::less<>>;  // Name -> SHA-256, hexadecimal.

std::string DigestOf(const Migration& migration) { return base::HexEncode(base::View(base::Sha256(migration.sql))); }

absl::StatusOr<Applied> ReadApplied(base::Session& session) {
  TG_ASSIGN(const base::Rows rows, session.Run("read what was migrated", "SELECT name, sha256 FROM public.tollgate_migration"));
  Applied applied;
  for (std::size_t i = 0; i < rows.size(); ++i) applied[rows.Text(i, 0)] = rows.Text(i, 1);
  return applied;
}

// What is applied must be the first of ours, unchanged.
absl::Status Compare(const Applied& applied, std::span<const Migration> migrations) {
  for (const auto& [name, digest] : applied) {
    const Migration* ours = nullptr;
    for (const Migration& m : migrations) {
      if (m.name == name) ours = &m;
    }
    if (ours == nullptr) {
      return base::FailedPrecondition(
          fmt::format("the database has migration {}, which this program does not know: it is of a newer version; run that one", name));
    }
    if (DigestOf(*ours) != digest) {
      return base::FailedPrecondition(
          fmt::format("migration {} was applied with another text than this program has: use the program that made this database, "
                      "or another database; nothing was changed",
                      name));
    }
  }
  bool missing = false;
  for (const Migration& m : migrations) {
    const bool there = applied.contains(m.name);
    if (missing && there) {
      return base::FailedPrecondition(
          fmt::format("migration {} was applied before an earlier one; restore the database from a backup", m.name));
    }
    missing = missing || !there;
  }
  return absl::OkStatus();
}

absl::Status MakeTable(base::Session& session) {
  return session.RunScript("make the table of migrations",
                           "SET LOCAL client_min_messages = warning;"
                           "CREATE TABLE IF NOT EXISTS public.tollgate_migration ("
                           "  name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());"
                           "GRANT SELECT ON public.tollgate_migration TO PUBLIC;");
}

absl::Status ApplyOne(base::Session& session, const Migration& migration) {
  // The name and the digest are our own: letters, digits, '_' and '.'.
  const std::string script = fmt::format("{}\nINSERT INTO public.tollgate_migration (name, sha256) VALUES ('{}', '{}');\n", migration.sql,
                                         migration.name, DigestOf(migration));
  const absl::Status status = session.RunScript(fmt::format("apply migration {}", migration.name), script);
  if (status.ok()) return status;
  return base::Annotate(status, fmt::format("migration {} failed, and was undone", migration.name));
}

absl::StatusOr<Report> ApplyAll(base::Session& session, std::span<const Migration> migrations) {
  TG_RETURN_IF_ERROR(MakeTable(session));
  TG_ASSIGN(const Applied applied, ReadApplied(session));
  TG_RETURN_IF_ERROR(Compare(applied, migrations));
  Report report;
  for (const Migration& migration : migrations) {
    if (applied.contains(migration.name)) {
      ++report.already;
      continue;
    }
    TG_RETURN_IF_ERROR(ApplyOne(session, migration));
    report.applied.emplace_back(migration.name);
  }
  return report;
}

}  // namespace

absl::StatusOr<Report> Migrate(const base::PostgresOptions& postgres, std::span<const Migration> migrations) {
  base::PostgresOptions options = postgres;
  options.application_name = "tollgate migrate";
  options.statement_timeout = std::chrono::minutes(10);  // A migration of a big table, or another migrator at work, takes its time.
  options.lock_timeout = std::chrono::minutes(10);
  options.role.clear();
  TG_ASSIGN(const std::unique_ptr<base::Session> session, base::Session::Connect(options));
  TG_RETURN_IF_ERROR(session->Run("wait for other migrations", "SELECT pg_advisory_lock($1::int8)", {kLock}).status());
  return ApplyAll(*session, migrations);  // The lock goes with the session.
}

absl::Status CheckMigrated(base::Session& session, std::span<const Migration> migrations) {
  const auto there = session.Run("look for the table of migrations", "SELECT to_regclass('public.tollgate_migration') IS NOT NULL");
  TG_RETURN_IF_ERROR(there.status());
  if (!there->Bool(0, 0))
    return base::FailedPrecondition("the database is empty: run `tollgate migrate` once with the rights of its owner");
  TG_ASSIGN(const Applied applied, ReadApplied(session));
  TG_RETURN_IF_ERROR(Compare(applied, migrations));
  for (const Migration& m : migrations) {
    if (!applied.contains(m.name))
      return base::FailedPrecondition(fmt::format("migration {} is not applied: run `tollgate migrate`", m.name));
  }
  return absl::OkStatus();
}

}  // namespace tollgate::migrate
