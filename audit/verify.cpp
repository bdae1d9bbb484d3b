// One pass in the order of the index and day, each page from behind the last row seen, so that no row lies between two pages. A statement
// asks the partitions of few days (days.h), and all together all days: for a stretch of the index it is looked first on which days records
// of the log stand there, wherever somebody may have put them, and pages are read from the first to the last of those. Nothing that the
// database computes is believed: leaf hashes are recomputed from the stored columns, content and message. Lengths are asked of the database
// for pages alone; it reads no content for them.
// Tested by tests/audit/verify_test.cpp.
#include "audit/verify.h"

#include <algorithm>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "audit/days.h"
#include "audit/key_chain.h"
#include "audit/merkle.h"
#include "audit/record_columns.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::audit {
namespace {

constexpr std::size_t kFirstColumn = 5;

const std::string& Select() {
  static const std::string sql = fmt::format(
      "SELECT leaf_index, message, leaf_hash, content, day, {} FROM ("
      "SELECT *, sum(bytes) OVER (ORDER BY leaf_index, day ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before FROM ("
      "SELECT *, octet_length(message)::int8 + coalesce(octet_length(content), 0) AS bytes FROM audit.record "
      "WHERE log_id = $1::int2 AND (leaf_index, log_id, day) > ($2::int8, $1::int2, $3::date) AND leaf_index < $4::int8 "
      "AND day BETWEEN $7::date AND $8::date ORDER BY leaf_index, day LIMIT $5::int8) AS page) AS sized WHERE bytes_before < $6::int8 "
      "ORDER BY leaf_index, day",
      kColumnNames);
  return sql;
}

// An id of zeros counts as none in the leaf, but is not how none is stored.
bool HasEmptyId(const base::Rows& rows, std::size_t i) {
  for (std::size_t c = kFirstColumn + 4; c < kFirstColumn + kColumnCount; ++c) {
    if (!rows.IsNull(i, c) && rows.Text(i, c) == base::Uuid().ToString()) return true;
  }
  return false;
}

// What is wrong with this row at this place; empty = nothing. `leaf` is set if the message could be hashed.
std::string RowProblem(const base::Rows& rows, std::size_t i, std::int32_t log_id, std::int64_t index, base::Digest& leaf) {
  const std::int64_t found = rows.Int(i, 0);
  if (found > index) return "record is missing";
  if (found < index) return "index appears twice";
  const std::string message = rows.Bytes(i, 1);
  const RecordColumns columns = ColumnsOf(rows, i, kFirstColumn);
  const base::Digest content = rows.IsNull(i, 3) ? base::Digest{} : base::Sha256(rows.Bytes(i, 3));
  leaf = RecordLeaf(log_id, index, columns, content, message);
  if (rows.Bytes(i, 2) != base::View(leaf)) return "leaf hash differs from the stored row";
  if (HasEmptyId(rows, i)) return "an id was filled with zeros";
  if (rows.Text(i, 4) != DayText(DayOf(base::FromMicros(columns.wall_us)))) return "day differs from the record's time";
  v1::Record record;
  if (!record.ParseFromString(message)) return "stored bytes are no record";
  if (record.version() != 1) return fmt::format("record has version {}, which this program does not know", record.version());
  return {};
}

absl::StatusOr<std::int64_t> HeadOf(base::Session& session, std::int32_t log_id) {
  TG_ASSIGN(const auto rows,
            session.Run("read the log's head", "SELECT next_index FROM audit.log_head WHERE log_id = $1::int2", {std::int64_t{log_id}}));
  if (rows.empty()) return base::NotFound(fmt::format("there is no log {}", log_id));
  return rows.Int(0, 0);
}

// Days from `from` to `to`, both with them.
struct Days {
  std::string from, to;
};

// All days there are, some partitions at a time.
absl::StatusOr<std::vector<Days>> AllDays(base::Session& session) {
  static const std::string kPartitions =
      "SELECT to_date(substr(c.relname, 8), 'YYYYMMDD') - date '1970-01-01' AS day FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
      "WHERE inhparent = 'audit.record'::regclass AND c.relname ~ '^record_[0-9]{8}$' ORDER BY day";
  constexpr std::size_t kPartitionsAtOnce = 16;
  TG_RETURN_IF_ERROR(PlanForValues(session, true));
  TG_ASSIGN(const auto partitions, session.Run("list partitions", kPartitions));
  std::vector<Days> out;
  std::string from = "-infinity";
  for (std::size_t i = kPartitionsAtOnce; i < partitions.size(); i += kPartitionsAtOnce) {
    out.push_back({from, DayText(partitions.Int(i, 0) - 1)});
    from = DayText(partitions.Int(i, 0));
  }
  out.push_back({from, "infinity"});
  return out;
}

// On which days records of the log stand at the places from `at` to before `end`, at most; nothing: there are none.
absl::StatusOr<std::optional<Days>> DaysOf(base::Session& session, const std::vector<Days>& all, std::int32_t log_id, std::int64_t at,
                                           std::int64_t end) {
  static const std::string kAny =
      "SELECT EXISTS (SELECT FROM audit.record WHERE leaf_index >= $1::int8 AND leaf_index < $2::int8 AND log_id = $3::int2 "
      "AND day BETWEEN $4::date AND $5::date)";
  std::optional<Days> out;
  for (const Days& days : all) {
    TG_ASSIGN(const auto any, session.Run("look on which days records are", kAny, {at, end, std::int64_t{log_id}, days.from, days.to}));
    if (!any.Bool(0, 0)) continue;
    if (!out) out = days;
    out->to = days.to;
  }
  return out;
}

// Reads the records at places before `end`, from behind `last` and `last_day` on, until one is wrong.
struct Place {
  std::int64_t last = -1;
  std::string last_day = "infinity";
};
absl::Status ReadStretch(base::Session& session, std::int64_t end, std::int64_t size, const Days& days, const VerifyOptions& options,
                         Place& place, MerkleTree& tree, VerifyReport& report) {
  std::string last_day = "infinity";
  const std::int64_t bytes = std::max<std::int64_t>(1, options.bytes_per_query);
  while (!report.bad_index) {
    TG_ASSIGN(const auto rows, session.Run("read records", Select(),
                                           {std::int64_t{report.log_id}, place.last, place.last_day, end, options.rows_per_query, bytes,
                                            days.from, days.to}));
    if (rows.empty()) break;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      base::Digest leaf;
      if (std::string problem = RowProblem(rows, i, report.log_id, report.size, leaf); !problem.empty()) {
        report.bad_index = std::min(report.size, rows.Int(i, 0));
        report.problem = std::move(problem);
        break;
      }
      tree.Append(leaf);
      ++report.size;
    }
    place.last = rows.Int(rows.size() - 1, 0);
    place.last_day = rows.Text(rows.size() - 1, 4);
    if (options.progress) options.progress(report.size, size);
    if (options.keep_going) TG_RETURN_IF_ERROR(options.keep_going());
  }
  return absl::OkStatus();
}

// Reads the records from the log's first to before `size`, until one is wrong.
absl::Status ReadRecords(base::Session& session, const std::vector<Days>& all, std::int64_t size, const VerifyOptions& options,
                         MerkleTree& tree, VerifyReport& report) {
  Place place;
  for (std::int64_t at = 0; at < size && !report.bad_index && report.size == at;) {
    const std::int64_t end = std::min(size, at + options.rows_per_look);
    TG_ASSIGN(const auto days, DaysOf(session, all, report.log_id, at, end));
    if (!days) return absl::OkStatus();
    TG_RETURN_IF_ERROR(ReadStretch(session, end, size, *days, options, place, tree, report));
    at = end;
  }
  return absl::OkStatus();
}

// Whether records lie where none belongs, before the log's first or beyond its head, which was `head` before the records were read.
absl::Status LookAround(base::Session& session, const std::vector<Days>& all, std::int64_t head, VerifyReport& report) {
  static const std::string kBefore =
      "SELECT min(leaf_index) FROM audit.record WHERE log_id = $1::int2 AND leaf_index < 0 AND day BETWEEN $2::date AND $3::date";
  static const std::string kBeyond =
      "SELECT max(leaf_index) FROM audit.record WHERE log_id = $1::int2 AND leaf_index >= $2::int8 AND day BETWEEN $3::date AND $4::date";
  std::int64_t first = 0, top = -1;
  for (const Days& days : all) {
    TG_ASSIGN(const auto before,
              session.Run("look before the log's first record", kBefore, {std::int64_t{report.log_id}, days.from, days.to}));
    if (!before.IsNull(0, 0)) first = std::min(first, before.Int(0, 0));
    TG_ASSIGN(const auto beyond, session.Run("look beyond the head", kBeyond, {std::int64_t{report.log_id}, head, days.from, days.to}));
    if (!beyond.IsNull(0, 0)) top = std::max(top, beyond.Int(0, 0));
  }
  if (first < 0) {
    report.bad_index = first;
    report.problem = fmt::format("record {} lies before the log's first", first);
    return absl::OkStatus();
  }
  // Records first, head second: what is appended meanwhile moves the head too.
  TG_ASSIGN(const std::int64_t now, HeadOf(session, report.log_id));
  if (top < now) return absl::OkStatus();
  report.bad_index = now;
  report.problem = "a record lies beyond the log's head";
  return absl::OkStatus();
}

// By log: the lowest index of its records. A log's head comes before its records, or with them, so no log that is being made is among
// these. By slices of the index, lest one statement take too long.
absl::Status AddHeadless(base::Session& session, const Days& days, const VerifyOptions& options,
                         std::map<std::int32_t, std::int64_t>& out) {
  static const std::string kEnd =
      "SELECT leaf_index FROM audit.record WHERE leaf_index >= $1::int8 AND day BETWEEN $3::date AND $4::date "
      "ORDER BY leaf_index OFFSET $2::int8 LIMIT 1";
  static const std::string kLogs =
      "SELECT r.log_id, min(r.leaf_index) FROM audit.record r WHERE r.leaf_index BETWEEN $1::int8 AND $2::int8 "
      "AND r.day BETWEEN $3::date AND $4::date "
      "AND NOT EXISTS (SELECT FROM audit.log_head h WHERE h.log_id = r.log_id) GROUP BY r.log_id";
  constexpr std::int64_t kLast = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t from = std::numeric_limits<std::int64_t>::min();;) {
    TG_ASSIGN(const auto end, session.Run("measure the index of records", kEnd, {from, options.rows_per_look, days.from, days.to}));
    const std::int64_t to = end.empty() ? kLast : end.Int(0, 0);
    TG_ASSIGN(const auto logs, session.Run("look for logs without a head", kLogs, {from, to, days.from, days.to}));
    for (std::size_t i = 0; i < logs.size(); ++i) {
      const auto [log, fresh] = out.emplace(static_cast<std::int32_t>(logs.Int(i, 0)), logs.Int(i, 1));
      if (!fresh) log->second = std::min(log->second, logs.Int(i, 1));
    }
    if (options.keep_going) TG_RETURN_IF_ERROR(options.keep_going());
    if (to == kLast) return absl::OkStatus();
    from = to + 1;
  }
}

}  // namespace

absl::StatusOr<VerifyReport> VerifyLog(base::Session& session, std::int32_t log_id, const VerifyOptions& options) {
  const auto head = HeadOf(session, log_id);
  if (absl::IsNotFound(head.status())) {
    TG_ASSIGN(const auto headless, FindHeadless(session, options));
    for (const VerifyReport& found : headless) {
      if (found.log_id == log_id) return found;
    }
  }
  TG_RETURN_IF_ERROR(head.status());
  VerifyReport report;
  report.log_id = log_id;
  const std::int64_t size = options.size < 0 ? *head : options.size;
  MerkleTree tree;
  TG_ASSIGN(const auto all, AllDays(session));
  TG_RETURN_IF_ERROR(ReadRecords(session, all, size, options, tree, report));
  report.root = tree.Root();
  if (!report.bad_index && report.size < size) {
    report.bad_index = report.size;
    report.problem = report.size >= *head ? "the log has no such record yet" : "record is missing";
  }
  if (!report.bad_index && options.size < 0) TG_RETURN_IF_ERROR(LookAround(session, all, *head, report));
  report.good = !report.bad_index;
  return report;
}

absl::StatusOr<std::vector<std::int32_t>> ListLogs(base::Session& session) {
  TG_ASSIGN(const auto rows, session.Run("list logs", "SELECT log_id FROM audit.log_head ORDER BY log_id"));
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < rows.size(); ++i) out.push_back(static_cast<std::int32_t>(rows.Int(i, 0)));
  return out;
}

absl::StatusOr<std::vector<VerifyReport>> FindHeadless(base::Session& session, const VerifyOptions& options) {
  std::map<std::int32_t, std::int64_t> logs;
  TG_ASSIGN(const auto all, AllDays(session));
  for (const Days& days : all) TG_RETURN_IF_ERROR(AddHeadless(session, days, options, logs));
  std::vector<VerifyReport> out;
  for (const auto& [log_id, first] : logs) {
    VerifyReport& report = out.emplace_back();
    report.log_id = log_id;
    report.root = MerkleTree().Root();
    report.bad_index = first;
    report.problem = "its log has no head";
  }
  return out;
}

}  // namespace tollgate::audit
