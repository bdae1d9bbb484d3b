// One pass in the order of the index. Nothing that the database computes is believed: leaf hashes are recomputed from the stored columns,
// content and message.
// Tested by tests/audit/verify_test.cpp.
#include "audit/verify.h"

#include <algorithm>

#include <fmt/format.h>

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
      "SELECT leaf_index, message, leaf_hash, content, day, {} FROM audit.record WHERE log_id = $1::int2 AND leaf_index >= $2::int8 "
      "AND leaf_index < $3::int8 ORDER BY leaf_index, day LIMIT $4::int8",
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

}  // namespace

absl::StatusOr<VerifyReport> VerifyLog(base::Session& session, std::int32_t log_id, const VerifyOptions& options) {
  VerifyReport report;
  report.log_id = log_id;
  TG_ASSIGN(const std::int64_t head, HeadOf(session, log_id));
  const std::int64_t size = options.size < 0 ? head : options.size;
  const auto bad = [&report](std::int64_t index, std::string problem) {
    report.bad_index = index;
    report.problem = std::move(problem);
  };
  MerkleTree tree;
  while (report.size < size && !report.bad_index) {
    TG_ASSIGN(const auto rows, session.Run("read records", Select(), {std::int64_t{log_id}, report.size, size, options.rows_per_query}));
    if (rows.empty()) bad(report.size, report.size >= head ? "the log has no such record yet" : "record is missing");
    for (std::size_t i = 0; i < rows.size() && !report.bad_index; ++i) {
      base::Digest leaf;
      if (std::string problem = RowProblem(rows, i, log_id, report.size, leaf); !problem.empty()) {
        bad(report.size, std::move(problem));
        break;
      }
      tree.Append(leaf);
      ++report.size;
    }
    if (options.progress) options.progress(report.size, size);
    if (options.keep_going) TG_RETURN_IF_ERROR(options.keep_going());
  }
  report.root = tree.Root();
  if (!report.bad_index && options.size < 0) {
    // Records first, head second: what is appended meanwhile moves the head too.
    TG_ASSIGN(const auto top, session.Run("look beyond the head",
                                          "SELECT max(leaf_index) FROM audit.record WHERE log_id = $1::int2 AND leaf_index >= $2::int8",
                                          {std::int64_t{log_id}, head}));
    TG_ASSIGN(const std::int64_t now, HeadOf(session, log_id));
    if (!top.IsNull(0, 0) && top.Int(0, 0) >= now) bad(now, "a record lies beyond the log's head");
  }
  report.good = !report.bad_index;
  return report;
}

absl::StatusOr<std::vector<std::int32_t>> ListLogs(base::Session& session) {
  TG_ASSIGN(const auto rows, session.Run("list logs", "SELECT log_id FROM audit.log_head ORDER BY log_id"));
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < rows.size(); ++i) out.push_back(static_cast<std::int32_t>(rows.Int(i, 0)));
  return out;
}

}  // namespace tollgate::audit
