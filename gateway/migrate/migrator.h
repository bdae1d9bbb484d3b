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
// FAILED_PRECONDITION, with nothing applied: an applied file has changed since, or the database is newer than this program.
absl::StatusOr<Report> Migrate(const base::PostgresOptions& postgres, std::span<const Migration> migrations);

// OK if every migration is applied and none has changed. FAILED_PRECONDITION names the first that is missing and says to run `tollgate
// migrate`. For `serve`; needs only SELECT on public.tollgate_migration.
absl::Status CheckMigrated(base::Session& session, std::span<const Migration> migrations);

}  // namespace tollgate::migrate
