// Every takeover raises the epoch, in the same UPDATE that checks the right to it; whoever believed in the old epoch is fenced from then
// on. Epochs come from one sequence for all logs, because leases are held by (instance, epoch): an instance that goes on with another log
// must never meet an epoch that it had before. Lapses are judged by Postgres's clock alone. Tested by tests/audit/ownership_test.cpp.
#include "audit/ownership.h"

#include <algorithm>

#include <fmt/format.h>

#include "audit/clock_check.h"
#include "audit/days.h"
#include "audit/key_chain.h"
#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

absl::StatusOr<Claim> ClaimOf(const base::Rows& rows) {
  Claim claim;
  claim.head = {static_cast<std::int32_t>(rows.Int(0, 0)), rows.Int(0, 1), rows.Int(0, 2), rows.Int(0, 3)};
  claim.open_from = rows.Int(0, 4);
  TG_ASSIGN(const base::Uuid previous, base::Uuid::Parse(rows.Text(0, 5)));
  claim.previous = base::InstanceId(previous);
  if (!rows.IsNull(0, 6)) {
    TG_ASSIGN(const base::Uuid owed, base::Uuid::Parse(rows.Text(0, 6)));
    claim.owed = Dead{base::InstanceId(owed), rows.Int(0, 7)};
  }
  return claim;
}

absl::StatusOr<std::optional<Claim>> MaybeClaimOf(absl::StatusOr<base::Rows> rows) {
  TG_RETURN_IF_ERROR(rows.status());
  if (rows->empty()) return std::optional<Claim>();
  TG_ASSIGN(Claim claim, ClaimOf(*rows));
  return std::optional<Claim>(claim);
}

// Whose owner is gone, and which somebody must look after.
const char* const kLeft = "(NOT released AND expires_at < now() OR released AND owes IS NOT NULL)";

const char* const kGives = "log_id, epoch, fence, next_index, open_from, instance_id, owes, owes_below";

}  // namespace

std::vector<Dead> DeadOf(const Claim& claim) {
  std::vector<Dead> dead{{claim.previous, claim.head.epoch}};
  if (claim.owed && *claim.owed != dead.front()) dead.push_back(*claim.owed);
  return dead;
}

absl::StatusOr<std::optional<Claim>> TakeBack(base::Session& session, std::int32_t log_id, base::InstanceId instance,
                                              std::chrono::milliseconds claim) {
  static const std::string kSql = fmt::format(
      "UPDATE audit.log_head SET epoch = nextval('audit.epoch'), fence = fence + 1, released = false, expires_at = now() + $3::int8 * "
      "interval '1 "
      "millisecond' "
      "WHERE log_id = $1::int2 AND instance_id = $2::uuid RETURNING {}",
      kGives);
  return MaybeClaimOf(session.Run("take the log back", kSql, {std::int64_t{log_id}, instance.ToString(), std::int64_t{claim.count()}}));
}

absl::StatusOr<Claim> TakeFree(base::Session& session, base::InstanceId instance, std::chrono::milliseconds claim, bool others) {
  // Its own comes first: a process may have died between making a log and noting its number. So no instance is ever named by two logs.
  static const std::string kOwn = fmt::format(
      "UPDATE audit.log_head SET epoch = nextval('audit.epoch'), fence = fence + 1, released = false, "
      "expires_at = now() + $2::int8 * interval '1 millisecond' "
      "WHERE instance_id = $1::uuid AND log_id = (SELECT min(log_id) FROM audit.log_head WHERE instance_id = $1::uuid) RETURNING {}",
      kGives);
  static const std::string kReleased =
      "WITH found AS (SELECT log_id, instance_id FROM audit.log_head WHERE released AND owes IS NULL ORDER BY log_id LIMIT 1 "
      "FOR UPDATE SKIP LOCKED), "
      "free AS MATERIALIZED (SELECT log_id, instance_id, nextval('audit.epoch') AS epoch FROM found) "
      "UPDATE audit.log_head h SET epoch = free.epoch, fence = fence + 1, released = false, instance_id = $1::uuid, "
      "owes = free.instance_id, owes_below = free.epoch, "
      "expires_at = now() + $2::int8 * interval '1 millisecond' FROM free WHERE h.log_id = free.log_id "
      "RETURNING h.log_id, h.epoch, h.fence, h.next_index, h.open_from, free.instance_id, h.owes, h.owes_below";
  static const std::string kNew = fmt::format(
      "INSERT INTO audit.log_head (log_id, instance_id, epoch, fence, next_index, open_from, expires_at) "
      "SELECT coalesce(max(log_id), 0) + 1, $1::uuid, nextval('audit.epoch'), 1, 0, 0, now() + $2::int8 * interval '1 millisecond' FROM "
      "audit.log_head "
      "RETURNING {}",
      kGives);
  const base::Params params = {instance.ToString(), std::int64_t{claim.count()}};
  TG_ASSIGN(auto own, MaybeClaimOf(session.Run("take the own log", kOwn, params)));
  if (own) return *own;
  if (others) {
    TG_ASSIGN(auto released, MaybeClaimOf(session.Run("take a released log", kReleased, params)));
    if (released) return *released;
  }
  constexpr int kTries = 20;  // Instances that start together collide on the next number.
  for (int i = 0;; ++i) {
    auto made = session.Run("make a log", kNew, params);
    if (made.ok()) return ClaimOf(*made);
    if (!absl::IsAlreadyExists(made.status()) || i + 1 == kTries) return made.status();
  }
}

absl::StatusOr<std::vector<Lapsed>> FindLapsed(base::Session& session, std::int32_t own_log) {
  static const std::string kSql =
      fmt::format("SELECT log_id, epoch FROM audit.log_head WHERE {} AND log_id <> $1::int2 ORDER BY log_id", kLeft);
  TG_ASSIGN(const auto rows, session.Run("look for lapsed logs", kSql, {std::int64_t{own_log}}));
  std::vector<Lapsed> out;
  for (std::size_t i = 0; i < rows.size(); ++i) out.push_back({static_cast<std::int32_t>(rows.Int(i, 0)), rows.Int(i, 1)});
  return out;
}

absl::StatusOr<std::optional<Claim>> Adopt(base::Session& session, const Lapsed& lapsed, std::chrono::milliseconds claim) {
  static const std::string kSql = fmt::format(
      "WITH new AS MATERIALIZED (SELECT nextval('audit.epoch') AS epoch_to_be) "
      "UPDATE audit.log_head SET epoch = epoch_to_be, adopted = epoch_to_be, fence = fence + 1, released = false, "
      "expires_at = now() + $3::int8 * interval '1 millisecond' "
      "FROM new WHERE log_id = $1::int2 AND epoch = $2::int8 AND {} RETURNING {}",
      kLeft, kGives);
  return MaybeClaimOf(session.Run("adopt a log", kSql, {std::int64_t{lapsed.log_id}, lapsed.epoch, std::int64_t{claim.count()}}));
}

absl::Status ForgetOwed(base::Session& session, const Head& head) {
  static const std::string kSql = "UPDATE audit.log_head SET owes = NULL, owes_below = NULL WHERE log_id = $1::int2 AND epoch = $2::int8";
  return session.Run("forget whom the log was taken from", kSql, {std::int64_t{head.log_id}, head.epoch}).status();
}

absl::Status CheckDurable(base::Session& session) {
  static const std::string kSettings =
      "SELECT name, setting FROM (VALUES ('fsync', current_setting('fsync')), ('full_page_writes', current_setting('full_page_writes')), "
      "('synchronous_commit', current_setting('synchronous_commit'))) s (name, setting) "
      "WHERE setting <> 'on' AND (name, setting) <> ('synchronous_commit', 'remote_apply')";
  TG_ASSIGN(const auto settings, session.Run("check settings", kSettings));
  if (settings.empty()) return absl::OkStatus();
  return base::FailedPrecondition(fmt::format("Postgres runs with {} = {}: what it acknowledges could be lost; set it to on",
                                              settings.Text(0, 0), settings.Text(0, 1)));
}

absl::Status CheckDatabase(base::Session& session) {
  TG_ASSIGN(const auto schema, session.Run("look for the schema", "SELECT to_regclass('audit.record') IS NOT NULL"));
  if (!schema.Bool(0, 0)) return base::FailedPrecondition("the database has no audit schema: run `tollgate migrate`");
  TG_RETURN_IF_ERROR(CheckDurable(session));
  static const std::string kRole =
      "SELECT current_user, r.rolsuper, pg_is_in_recovery(), pg_has_role(current_user, c.relowner, 'USAGE') "
      "FROM pg_roles r, pg_class c WHERE r.rolname = current_user AND c.oid = 'audit.record'::regclass";
  TG_ASSIGN(const auto role, session.Run("check the role", kRole));
  const std::string& name = role.Text(0, 0);
  if (role.Bool(0, 2)) return base::FailedPrecondition("this Postgres server is a standby: give the primary's address");
  if (role.Bool(0, 1) || role.Bool(0, 3)) {
    return base::FailedPrecondition(
        fmt::format("the role {} is superuser or owns the audit log, and could change it: use tollgate_writer", name));
  }
  // Asked, not tried: a refused try would stand as an error in the log of every healthy server.
  static const std::string kMayChange =
      "SELECT bool_or(has_any_column_privilege(oid, 'UPDATE') OR has_table_privilege(oid, 'DELETE, TRUNCATE')) FROM pg_class "
      "WHERE oid = 'audit.record'::regclass OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit.record'::regclass)";
  TG_ASSIGN(const auto may_change, session.Run("check the role's rights", kMayChange));
  if (!may_change.Bool(0, 0)) return absl::OkStatus();
  return base::FailedPrecondition(
      fmt::format("the role {} may change records: revoke UPDATE, DELETE and TRUNCATE on audit.record and its partitions from it", name));
}

absl::StatusOr<Partitions> MakePartitions(base::Session& session, std::chrono::milliseconds patience) {
  // Postgres reads the default partition while all writers wait: tens of milliseconds for so much.
  static const std::string kMake = "SELECT strays, left_out FROM audit.make_partitions_beside(7, 16777216)";
  Partitions out;
  TG_RETURN_IF_ERROR(session.InTransaction("make partitions", [&](base::Session& in) -> absl::Status {
    TG_RETURN_IF_ERROR(
        in.Run("make partitions", "SELECT set_config('lock_timeout', $1, true)", {std::to_string(patience.count())}).status());
    TG_ASSIGN(const auto rows, in.Run("make partitions", kMake));
    out = {rows.Bool(0, 0), rows.Int(0, 1)};
    return absl::OkStatus();
  }));
  return out;
}

void WarnOfStrays(const Partitions& partitions) {
  if (!partitions.strays) return;
  base::Warn(
      "audit",
      "records of days that nobody foresaw lie in the default partition, where a wrong clock put them, and {} of the days to come have "
      "no partition because of them: have the owner of the tables run SELECT audit.move_strays() at a quiet hour",
      partitions.left_out);
}

absl::StatusOr<std::int64_t> LocksWanted(base::Session& session) {
  constexpr std::int64_t kLocksOfADay = 4;  // The partition, its key, two indexes.
  constexpr std::int64_t kSearches = 8;     // At once, each of all days.
  constexpr std::int64_t kDaysAhead = 366;  // What is set anew, with a restart of Postgres, should do for a year.
  static const std::string kSql =
      "SELECT (SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit.record'::regclass), "
      "current_setting('max_locks_per_transaction')::int8, "
      "current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8";
  TG_ASSIGN(const auto rows, session.Run("count partitions", kSql));
  const std::int64_t days = rows.Int(0, 0), sessions = std::max<std::int64_t>(1, rows.Int(0, 2));
  if (days * kLocksOfADay * kSearches <= rows.Int(0, 1) * sessions) return 0;
  return ((days + kDaysAhead) * kLocksOfADay * kSearches + sessions - 1) / sessions;
}

void WarnOfLocks(std::int64_t wanted) {
  if (wanted == 0) return;
  base::Warn("audit",
             "searches of all days need more locks than this Postgres server has room for when several run at once: set "
             "max_locks_per_transaction to {} or more, and restart it when that suits",
             wanted);
}

absl::StatusOr<std::int64_t> PostgresTime(base::Session& session) {
  static const std::string kSql = fmt::format("SELECT {}", ClockCheck::kPostgresTime);
  TG_ASSIGN(const auto rows, session.Run("ask for the time", kSql));
  return rows.Int(0, 0);
}

absl::StatusOr<bool> HasPartitions(base::Session& session) {
  TG_ASSIGN(const auto rows,
            session.Run("look for partitions",
                        "SELECT count(to_regclass('audit.record_' || to_char((now() AT TIME ZONE 'UTC')::date + d, 'YYYYMMDD'))) = 2 "
                        "FROM generate_series(0, 1) d"));
  return rows.Bool(0, 0);
}

absl::StatusOr<std::string> SystemIdentifier(base::Session& session) {
  TG_ASSIGN(const auto rows, session.Run("read the cluster's identity", "SELECT system_identifier::text FROM pg_control_system()"));
  return rows.Text(0, 0);
}

}  // namespace tollgate::audit
