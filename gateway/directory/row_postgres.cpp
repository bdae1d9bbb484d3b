// The statements are made from TableSpec, once a table, and their text stays the same, so each is prepared once a session.
// Tested by tests/gateway/directory/directory_postgres_test.cpp.
#include "gateway/directory/row_postgres.h"

#include <fmt/format.h>

namespace tollgate::directory {
namespace {

constexpr const char* kShape = "id, version, admin_record, admin_log_id, admin_index, mac";
constexpr std::size_t kShapeColumns = 6;

absl::Status Malformed(Table table) {
  return base::DataLoss(fmt::format("directory: a row of {} is malformed; restore the directory schema from a backup", SpecOf(table).name));
}

bool CopyDigest(const std::string& bytes, base::Digest& digest) {
  if (bytes.size() != digest.size()) return false;
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return true;
}

std::string Select(Table table, const std::string& where) {
  std::string sql = fmt::format("SELECT {}", kShape);
  for (const auto& column : SpecOf(table).columns) sql += fmt::format(", {}", column.name);
  return fmt::format("{} FROM {} WHERE {} ORDER BY id", sql, SpecOf(table).name, where);
}

absl::StatusOr<Row> Decode(Table table, const base::Rows& rows, std::size_t at) {
  Row row;
  row.table = table;
  auto id = base::Uuid::Parse(rows.Text(at, 0));
  auto record = base::Uuid::Parse(rows.Text(at, 2));
  if (!id.ok() || !record.ok() || !CopyDigest(rows.Bytes(at, 5), row.mac)) return Malformed(table);
  row.id = *id;
  row.version = rows.Int(at, 1);
  row.admin_record = *record;
  row.admin_log_id = static_cast<std::int32_t>(rows.Int(at, 3));
  row.admin_index = rows.Int(at, 4);
  const auto& columns = SpecOf(table).columns;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::size_t column = kShapeColumns + i;
    const std::string_view type = columns[i].type;
    if (rows.IsNull(at, column)) {
      row.values.emplace_back();
    } else if (type == "int8") {
      row.values.emplace_back(rows.Int(at, column));
    } else if (type == "bytea") {
      row.values.emplace_back(base::Blob{rows.Bytes(at, column)});
    } else {
      row.values.emplace_back(rows.Text(at, column));
    }
  }
  return row;
}

base::Params ParamsOf(const Row& row) {
  base::Params params = {row.id.ToString(),
                         row.version,
                         row.admin_record.ToString(),
                         std::int64_t{row.admin_log_id},
                         row.admin_index,
                         base::Blob{std::string(base::View(row.mac))}};
  params.insert(params.end(), row.values.begin(), row.values.end());
  return params;
}

}  // namespace

absl::StatusOr<Head> ReadHead(base::Session& session, bool lock) {
  static const std::string kRead = "SELECT version, set_xor, mac FROM directory.head";
  static const std::string kLock = kRead + " FOR UPDATE";
  auto rows = session.Run("read the directory's head", lock ? kLock : kRead);
  if (!rows.ok()) {
    if (!absl::IsInternal(rows.status())) return rows.status();
    return base::FailedPrecondition("directory: its tables cannot be read; run `tollgate migrate`");
  }
  Head head;
  if (rows->size() != 1 || !CopyDigest(rows->Bytes(0, 1), head.set) || !CopyDigest(rows->Bytes(0, 2), head.mac)) {
    return base::DataLoss("directory: directory.head is not one row of two digests; restore the directory schema from a backup");
  }
  head.version = rows->Int(0, 0);
  return head;
}

absl::StatusOr<std::vector<Row>> ReadRows(base::Session& session, Table table, const std::string& where, const base::Params& params) {
  TG_ASSIGN(const base::Rows rows, session.Run("read the directory", Select(table, where), params));
  std::vector<Row> result;
  result.reserve(rows.size());
  for (std::size_t at = 0; at < rows.size(); ++at) {
    TG_ASSIGN(Row row, Decode(table, rows, at));
    result.push_back(std::move(row));
  }
  return result;
}

absl::Status InsertRow(base::Session& session, const Row& row) {
  std::string sql = fmt::format("INSERT INTO {} ({}", SpecOf(row.table).name, kShape);
  std::string values = "$1::uuid, $2::int8, $3::uuid, $4::int4, $5::int8, $6::bytea";
  std::size_t number = kShapeColumns;
  for (const auto& column : SpecOf(row.table).columns) {
    sql += fmt::format(", {}", column.name);
    values += fmt::format(", ${}::{}", ++number, column.type);
  }
  return session.Run("write the directory", fmt::format("{}) VALUES ({})", sql, values), ParamsOf(row)).status();
}

absl::Status UpdateRow(base::Session& session, const Row& row) {
  std::string sql = fmt::format(
      "UPDATE {} SET version = $2::int8, admin_record = $3::uuid, admin_log_id = $4::int4, admin_index = $5::int8, mac = $6::bytea",
      SpecOf(row.table).name);
  std::size_t number = kShapeColumns;
  for (const auto& column : SpecOf(row.table).columns) sql += fmt::format(", {} = ${}::{}", column.name, ++number, column.type);
  TG_ASSIGN(const base::Rows rows, session.Run("write the directory", sql + " WHERE id = $1::uuid", ParamsOf(row)));
  if (rows.affected() != 1) return base::Aborted("directory: a row to change is not there; try again");
  return absl::OkStatus();
}

absl::Status WriteHead(base::Session& session, const Head& head) {
  static const std::string kSql = "UPDATE directory.head SET version = $1::int8, set_xor = $2::bytea, mac = $3::bytea";
  TG_ASSIGN(const base::Rows rows,
            session.Run("write the directory's head", kSql,
                        {head.version, base::Blob{std::string(base::View(head.set))}, base::Blob{std::string(base::View(head.mac))}}));
  if (rows.affected() != 1) return base::DataLoss("directory: directory.head is not there; restore the directory schema from a backup");
  return absl::OkStatus();
}

}  // namespace tollgate::directory
