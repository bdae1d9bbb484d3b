// Migrator: brings a database's schema to this program's version. Migrations are SQL files that the build embeds (migrations/main for the
// main database, migrations/keys for the keys database); they go forward only, each in one transaction, in the order of their names.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/postgres.h"
#include "base/status.h"

namespace tollgate::migrate {

struct Migration {
  std::string_view name;  // "0001_audit.sql"
  std::string_view sql;
};

// What this program brings with it.
std::span<const Migration> MainMigrations();
std::span<const Migration> KeysMigrations();

struct Report {
  std::vector<std::string> applied;  // Now, in order.
  int already = 0;                   // Found applied.
};

// Applies what is missing, under an advisory lock: safe from several processes at once. `postgres` logs in as the schema's owner, with an
// empty role. What was applied is in public.tollgate_migration with its SHA-256.
//
// `postgres.statement_timeout` is how long a migration may take, and how long another process's are waited for; `lock_timeout` is how long
// it is tried to get a migration's locks: each is asked for for a moment, in which others wait behind it; then the migration is undone, and
// made again after a pause. Diagnostics name who holds what it needs.
//
// FAILED_PRECONDITION, with nothing applied: an applied file has changed since, or the database is newer than this program. ABORTED: others
// held what it needs all the time; what was applied before stays.
absl::StatusOr<Report> Migrate(const base::PostgresOptions& postgres, std::span<const Migration> migrations);

// OK if every migration is applied and none has changed. FAILED_PRECONDITION names the first that is missing and says to run `tollgate
// migrate`. For `serve`; needs only SELECT on public.tollgate_migration.
absl::Status CheckMigrated(base::Session& session, std::span<const Migration> migrations);

}  // namespace tollgate::migrate
