// Everything happens on one session under one advisory lock, taken for the session because each migration is a transaction of its own. A
// migration and its line in public.tollgate_migration are written in that transaction: both or neither. Before anything is applied, what
// was applied before is compared name by name and digest by digest.
//
// Who waits for a table's lock has everybody behind it who comes later, for as long as it waits. So a migration asks for a moment only, is
// undone if it does not get the lock, and lets the others go on before it is tried again. A second session looks meanwhile whom it waits
// for: afterwards nobody knows. Tested by tests/gateway/directory/migrator_test.cpp.
#include "gateway/migrate/migrator.h"

#include <algorithm>
#include <future>
#include <map>
#include <thread>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/diagnostics.h"
#include "base/encoding.h"

namespace tollgate::migrate {
namespace {

constexpr std::int64_t kLock = 0x746f6c6c67617465;  // "tollgate"

constexpr std::chrono::milliseconds kTry{500};
// Every second try: a little longer than Postgres takes to send an autovacuum away that somebody waits for (deadlock_timeout, 1 s).
constexpr std::chrono::milliseconds kLongTry{1200};
constexpr std::chrono::milliseconds kFirstPause{1000};
constexpr std::chrono::milliseconds kLongestPause{10'000};
constexpr std::chrono::milliseconds kLook{100};
constexpr std::chrono::milliseconds kTurnPause{200};
constexpr std::chrono::seconds kIdleMax{30};  // Nothing of ours lies between a script and its COMMIT.

// Of rows with pid, application_name, xact_start and backend_start; what they run would show content. Of other logins' sessions the owner
// of tables may see no times.
constexpr const char* kNames =
    "SELECT string_agg(DISTINCT CASE WHEN pid = 0 THEN 'a prepared transaction' ELSE 'pid ' || pid || coalesce(' (' || "
    "nullif(concat_ws(', ', nullif(application_name, ''), "
    "'since ' || to_char(coalesce(xact_start, backend_start), 'YYYY-MM-DD HH24:MI:SS') || ' UTC'), '') || ')', '') END, ' and ') ";

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

// Whoever is at work goes first. Asked again and again, not waited for in one statement: that would be a transaction that others wait for.
absl::Status TakeTurn(base::Session& session, std::chrono::milliseconds patience) {
  static const std::string kAtWork = fmt::format(
      "{} FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
      "AND (classid::int8 << 32 | objid::int8) = $1::int8 "
      "AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
      kNames);
  const auto until = std::chrono::steady_clock::now() + patience;
  for (bool first = true;; first = false) {
    TG_ASSIGN(const base::Rows mine, session.Run("wait for other migrations", "SELECT pg_try_advisory_lock($1::int8)", {kLock}));
    if (mine.Bool(0, 0)) return absl::OkStatus();
    TG_ASSIGN(const base::Rows who, session.Run("look who migrates", kAtWork, {kLock}));
    const std::string name = who.IsNull(0, 0) ? "" : ", " + who.Text(0, 0);
    if (first) base::Info("migrate", "another migration is at work{}: waiting for it", name);
    if (std::chrono::steady_clock::now() + kTurnPause > until) {
      return base::Aborted(fmt::format("another migration is at work{}, and did not end in time: nothing was changed; try again", name));
    }
    std::this_thread::sleep_for(kTurnPause);
  }
}

// Who interrupts this program interrupts the script too: else Postgres would end it first, hours later, holding its locks, and undo it
// then. Before Postgres 14, and where the server's system cannot tell, it stays so.
void LookForClient(base::Session& session) {
  const auto asked = session.Run("have the client looked for", "SELECT set_config('client_connection_check_interval', '5s', false)");
  if (!asked.ok()) base::Warn("migrate", "this Postgres does not notice when `migrate` is interrupted: what runs then goes on in it");
}

// What applies migrations, and what looks at it.
struct Sessions {
  base::Session& work;
  base::Session* watch = nullptr;  // Nobody is named without.
  std::int64_t backend = 0;        // Of `work`.
  std::chrono::milliseconds patience;
};

// `holders` becomes whom it waited for, if it did and they could be seen.
absl::Status TryOnce(const Sessions& in, const Migration& migration, std::chrono::milliseconds lock_timeout, std::string& holders) {
  static const std::string kHolders = fmt::format(
      "{} FROM (SELECT b.pid, h.application_name, h.xact_start, h.backend_start FROM pg_stat_activity w "
      "CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) b (pid) LEFT JOIN pg_stat_activity h ON h.pid = b.pid "
      "WHERE w.pid = $1::int4 AND w.wait_event_type = 'Lock') holder",
      kNames);
  // The name and the digest are our own: letters, digits, '_' and '.'.
  const std::string script =
      fmt::format("SET LOCAL lock_timeout = {};\n{}\nINSERT INTO public.tollgate_migration (name, sha256) VALUES ('{}', '{}');\n",
                  lock_timeout.count(), migration.sql, migration.name, DigestOf(migration));
  auto applied =
      std::async(std::launch::async, [&] { return in.work.RunScript(fmt::format("apply migration {}", migration.name), script); });
  while (applied.wait_for(kLook) != std::future_status::ready) {
    if (in.watch == nullptr) continue;
    const auto seen = in.watch->Run("look who holds the lock", kHolders, {in.backend});
    if (seen.ok() && !seen->IsNull(0, 0)) holders = seen->Text(0, 0);
  }
  return applied.get();
}

absl::Status ApplyOne(const Sessions& in, const Migration& migration) {
  std::chrono::steady_clock::time_point until;
  std::chrono::milliseconds pause = kFirstPause;
  std::string holders, told;
  for (int tries = 1;; ++tries) {
    const absl::Status status = TryOnce(in, migration, tries % 2 == 1 ? kTry : kLongTry, holders);
    if (status.ok()) return status;
    const std::string undone = fmt::format("migration {} failed, and was undone", migration.name);
    if (!absl::IsAborted(status)) return base::Annotate(status, undone);
    const std::string held = holders.empty() ? "" : fmt::format("; what it needs is held by {}", holders);
    const auto now = std::chrono::steady_clock::now();
    if (tries == 1) until = now + in.patience;  // What it did before it waited may have taken long.
    if (now + pause > until) return base::Annotate(status, undone + held);
    if (tries == 1 || holders != told) {
      base::Warn("migrate", "migration {} did not get its locks: it is undone, and tried again{}", migration.name, held);
    }
    told = holders;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

absl::StatusOr<Report> ApplyAll(base::Session& session, const base::PostgresOptions& options, std::span<const Migration> migrations) {
  TG_RETURN_IF_ERROR(MakeTable(session));
  TG_ASSIGN(const Applied applied, ReadApplied(session));
  TG_RETURN_IF_ERROR(Compare(applied, migrations));
  Report report;
  std::vector<const Migration*> missing;
  for (const Migration& migration : migrations) {
    if (!applied.contains(migration.name)) missing.push_back(&migration);
  }
  report.already = static_cast<int>(migrations.size() - missing.size());
  if (missing.empty()) return report;
  TG_ASSIGN(const base::Rows backend, session.Run("ask for the session's number", "SELECT pg_backend_pid()"));
  base::PostgresOptions looks = options;
  looks.statement_timeout = std::chrono::seconds(2);
  const auto watch = base::Session::Connect(looks);
  const Sessions in{session, watch.ok() ? watch->get() : nullptr, backend.Int(0, 0), options.lock_timeout};
  for (const Migration* migration : missing) {
    TG_RETURN_IF_ERROR(ApplyOne(in, *migration));
    report.applied.emplace_back(migration->name);
  }
  return report;
}

}  // namespace

absl::StatusOr<Report> Migrate(const base::PostgresOptions& postgres, std::span<const Migration> migrations) {
  base::PostgresOptions options = postgres;
  options.application_name = "tollgate migrate";
  options.role.clear();
  options.idle_timeout = kIdleMax;
  TG_ASSIGN(const std::unique_ptr<base::Session> session, base::Session::Connect(options));
  LookForClient(*session);
  TG_RETURN_IF_ERROR(TakeTurn(*session, options.statement_timeout));
  return ApplyAll(*session, options, migrations);  // The lock goes with the session.
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
