// One pass in the order of the index. Nothing that the database computes is believed: leaf hashes are recomputed from the stored bytes,
// contents are hashed again, and the extracted columns are compared with the message, because people search by them.
// Tested by tests/audit/verify_test.cpp.
#include "audit/verify.h"

#include <algorithm>

#include <fmt/format.h>

#include "audit/key_chain.h"
#include "audit/merkle.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::audit {
namespace {

constexpr char kSelect[] =
    "SELECT leaf_index, message, leaf_hash, content, kind, wall_us, day, attempt, segment, request_id, org_id, team_id, project_id, key_id "
    "FROM audit.record WHERE log_id = $1::int2 AND leaf_index >= $2::int8 AND leaf_index < $3::int8 ORDER BY leaf_index, day LIMIT "
    "$4::int8";

bool IdIs(const base::Rows& rows, std::size_t row, std::size_t column, const std::string& field) {
  if (field.empty()) return rows.IsNull(row, column);
  const auto id = base::Uuid::FromBytes(field);
  return id.ok() && !rows.IsNull(row, column) && rows.Text(row, column) == id->ToString();
}

std::string ColumnProblem(const base::Rows& rows, std::size_t i, const v1::Record& record) {
  const struct {
    const char* name;
    bool same;
  } checks[] = {
      {"kind", rows.Int(i, 4) == record.kind()},
      {"wall_us", rows.Int(i, 5) == record.wall_us()},
      {"day", rows.Text(i, 6) == DayText(DayOf(base::FromMicros(record.wall_us())))},
      {"attempt", rows.Int(i, 7) == record.attempt()},
      {"segment", rows.Int(i, 8) == record.segment()},
      {"request_id", IdIs(rows, i, 9, record.request_id())},
      {"org_id", IdIs(rows, i, 10, record.org_id())},
      {"team_id", IdIs(rows, i, 11, record.team_id())},
      {"project_id", IdIs(rows, i, 12, record.project_id())},
      {"key_id", IdIs(rows, i, 13, record.key_id())},
  };
  for (const auto& check : checks) {
    if (!check.same) return fmt::format("column {} differs from the stored message", check.name);
  }
  return {};
}

// What is wrong with this row at this place; empty = nothing. `leaf` is set if the message could be hashed.
std::string RowProblem(const base::Rows& rows, std::size_t i, std::int32_t log_id, std::int64_t index, base::Digest& leaf) {
  const std::int64_t found = rows.Int(i, 0);
  if (found > index) return "record is missing";
  if (found < index) return "index appears twice";
  const std::string message = rows.Bytes(i, 1);
  leaf = RecordLeaf(log_id, index, message);
  if (rows.Bytes(i, 2) != base::View(leaf)) return "leaf hash differs from the stored bytes";
  v1::Record record;
  if (!record.ParseFromString(message)) return "stored bytes are no record";
  if (record.version() != 1) return fmt::format("record has version {}, which this program does not know", record.version());
  if (rows.IsNull(i, 3) != !record.has_content()) return rows.IsNull(i, 3) ? "content is missing" : "content was added";
  if (record.has_content() && base::View(base::Sha256(rows.Bytes(i, 3))) != record.content().ciphertext_sha256())
    return "content differs from its commitment";
  return ColumnProblem(rows, i, record);
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
    TG_ASSIGN(const auto rows, session.Run("read records", kSelect, {std::int64_t{log_id}, report.size, size, options.rows_per_query}));
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
    TG_ASSIGN(const auto top, session.Run("look beyond the head", "SELECT max(leaf_index) FROM audit.record WHERE log_id = $1::int2",
                                          {std::int64_t{log_id}}));
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
