// The leaf of the last record that was acknowledged tells a log that lost nothing from one that is as long again, whoever wrote since.
// Epochs do not: their sequence lies in the database that was rolled back. Where the loss begins is where the first START stands behind the
// owner's own, for every owner begins with one. Where that own START is lost too, so is all that it wrote, and perhaps more, which is said
// so.
// Tested by tests/audit/losses_test.cpp, tests/audit/journal_postgres_test.cpp and tests/audit/log_writer_test.cpp.
#include "audit/losses.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "audit/days.h"
#include "base/diagnostics.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::audit {
namespace {

struct Now {
  std::int64_t epoch = 0;
  std::int64_t next_index = 0;
  std::string instance;
};

struct Starts {
  bool own = false;                   // The owner's own is there.
  std::optional<std::int64_t> after;  // The first one behind it; without it the first under a greater epoch.
};

Starts Sorted(const base::Rows& rows, const Told& told) {
  Starts out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    v1::Record start;
    if (!start.ParseFromString(std::string(rows.Bytes(i, 1)))) continue;
    const v1::InstanceBody& body = start.instance();
    if (body.epoch() == told.epoch && body.instance_id() == told.owner.Bytes()) {
      out = {true, std::nullopt};
    } else if (!out.after && (out.own || (told.epoch != 0 && body.epoch() > told.epoch))) {
      out.after = rows.Int(i, 0);
    }
  }
  return out;
}

// By the index of teams: what has none is little. From the latest days back, until the owner's own is among them.
absl::StatusOr<Starts> StartsOf(base::Session& session, const Told& told) {
  static const std::string kStarts = fmt::format(
      "SELECT leaf_index, message FROM audit.record WHERE log_id = $1::int2 AND team_id IS NULL AND kind = {} AND leaf_index < $2::int8 "
      "AND day >= $3::date ORDER BY leaf_index",
      static_cast<int>(v1::RECORD_KIND_START));
  base::Rows rows;
  TG_RETURN_IF_ERROR(session.InTransaction("look for other owners", [&](base::Session& in) -> absl::Status {
    TG_RETURN_IF_ERROR(PlanForValues(in));
    TG_ASSIGN(rows, RunLatestFirst(in, "look for other owners", kStarts, {std::int64_t{told.log_id}, told.size}, told.day,
                                   [&](const base::Rows& found) { return Sorted(found, told).own; }));
    return absl::OkStatus();
  }));
  return Sorted(rows, told);
}

}  // namespace

absl::StatusOr<std::optional<base::Digest>> LeafAt(base::Session& session, std::int32_t log_id, std::int64_t index, std::int64_t day) {
  static const std::string kLeaf =
      "SELECT leaf_hash FROM audit.record WHERE log_id = $1::int2 AND leaf_index = $2::int8 AND day >= $3::date";
  base::Rows rows;
  TG_RETURN_IF_ERROR(session.InTransaction("read a leaf", [&](base::Session& in) -> absl::Status {
    TG_RETURN_IF_ERROR(PlanForValues(in));
    TG_ASSIGN(rows, RunLatestFirst(in, "read a leaf", kLeaf, {std::int64_t{log_id}, index}, day,
                                   [](const base::Rows& found) { return !found.empty(); }));
    return absl::OkStatus();
  }));
  std::optional<base::Digest> leaf;
  const std::string bytes = rows.empty() ? "" : rows.Bytes(0, 0);
  if (bytes.size() != sizeof(base::Digest)) return leaf;
  std::memcpy(leaf.emplace().data(), bytes.data(), bytes.size());
  return leaf;
}

absl::StatusOr<Kept> RecordsKept(base::Session& session, const Told& told) {
  static const std::string kHead = "SELECT epoch, next_index, instance_id::text FROM audit.log_head WHERE log_id = $1::int2";
  if (told.size == 0) return Kept{};
  TG_ASSIGN(const auto head, session.Run("read the log's head", kHead, {std::int64_t{told.log_id}}));
  if (head.empty()) return Kept{};
  const Now now{head.Int(0, 0), head.Int(0, 1), head.Text(0, 2)};
  const bool own = now.epoch == told.epoch && now.instance == told.owner.ToString();
  bool lost = now.next_index < told.size;
  if (!lost && told.leaf) {
    TG_ASSIGN(const auto leaf, LeafAt(session, told.log_id, told.size - 1, told.day));
    if (leaf == told.leaf) return Kept{told.size};
    lost = true;
  }
  // Without the leaf an epoch that went back is all that can be seen of it.
  lost = lost || now.epoch < told.epoch;
  if (!lost && (told.epoch == 0 || own)) return Kept{told.size};

  std::int64_t kept = std::min(now.next_index, told.size);
  const auto starts = StartsOf(session, told);
  if (!starts.ok()) {
    if (!lost || session.broken()) return starts.status();
    return Kept{std::min(kept, told.size - 1), false};  // How much it is takes too long to find out; that it is must be told.
  }
  if (starts->after) kept = std::min(kept, *starts->after);
  if (!lost && kept == told.size) return Kept{told.size};
  if (!starts->own && !own) kept = std::min(kept, told.since);
  return Kept{std::min(kept, told.size - 1), kept < told.size && (starts->own || own)};
}

absl::Status RecordsLost(const Told& told, const Kept& kept) {
  return base::DataLoss(fmt::format(
      "the database was rolled back: it holds {}{} records of log {}, and had acknowledged {}. A failover to a standby that was "
      "behind does that, an older backup, or another database under the same URL. Bring back the one that has them; or, if they "
      "are lost, go on without by `tollgate migrate --lost-records REASON`, which is on record",
      kept.exact ? "" : "at most ", kept.records, told.log_id, told.size));
}

std::string LostRecordsOf(const Told& told, const Kept& kept) {
  return fmt::format("log {}: records {} to {}{}, which were acknowledged, are lost", told.log_id, kept.records, told.size - 1,
                     kept.exact ? "" : " at least");
}

// Rows that say nothing of who was alive are of before that was noted: they go by logs.
absl::StatusOr<AcceptedLoss> ReadAcceptedLoss(base::Session& session, base::InstanceId instance, std::int32_t log_id,
                                              std::int64_t since_us) {
  static const std::string kSql =
      "SELECT coalesce(max(at), 0), coalesce(bool_or(at > $2::int8 AND CASE WHEN alive IS NOT NULL THEN $3::uuid <> ALL (alive) "
      "ELSE log_id = CASE WHEN EXISTS (SELECT FROM audit.log_head WHERE log_id = $1::int2) THEN $1::int2 ELSE 0 END END), false) "
      "FROM (SELECT log_id, alive, (extract(epoch FROM accepted_at) * 1000000)::int8 AS at FROM audit.loss) accepted";
  TG_ASSIGN(const auto rows, session.Run("read accepted losses", kSql, {std::int64_t{log_id}, since_us, instance.ToString()}));
  return AcceptedLoss{rows.Int(0, 0), rows.Bool(0, 1)};
}

absl::StatusOr<std::vector<HeadSeen>> ReadHeads(base::Session& session, std::int32_t own_log) {
  static const std::string kSql = "SELECT log_id, epoch, next_index FROM audit.log_head WHERE log_id <> $1::int2";
  TG_ASSIGN(const auto rows, session.Run("look how far logs reach", kSql, {std::int64_t{own_log}}));
  std::vector<HeadSeen> heads;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    heads.push_back({static_cast<std::int32_t>(rows.Int(i, 0)), rows.Int(i, 1), rows.Int(i, 2)});
  }
  return heads;
}

// Whoever may not see what others do in a server sees that they follow it all the same. A standby that is away has its slot, mostly.
absl::StatusOr<bool> LosesByFailover(base::Session& session) {
  static const std::string kSql =
      "SELECT current_setting('synchronous_standby_names') = '' AND "
      "(EXISTS (SELECT FROM pg_stat_replication) OR EXISTS (SELECT FROM pg_replication_slots WHERE slot_type = 'physical'))";
  TG_ASSIGN(const auto rows, session.Run("look for standbys", kSql));
  return rows.Bool(0, 0);
}

void WarnOfFailover(base::Session& session, std::string_view what) {
  const auto loses = LosesByFailover(session);
  if (!loses.ok() || !*loses) return;
  base::Warn("audit",
             "the Postgres server of the {} is followed by others, as by standbys, and waits for none: a failover to one of them would "
             "lose {} that "
             "were acknowledged; set synchronous_standby_names (docs/high-availability.md)",
             what, what);
}

}  // namespace tollgate::audit
