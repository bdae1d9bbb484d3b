// The leaf's header has a fixed form, so that it can be made again from the columns alone; an id that is not set is 16 zero bytes there.
// Tested by tests/audit/record_columns_test.cpp.
#include "audit/record_columns.h"

#include <fmt/format.h>

#include "audit/merkle.h"
#include "base/diagnostics.h"
#include "base/encoding.h"

namespace tollgate::audit {
namespace {

absl::StatusOr<base::Uuid> IdOf(const std::string& bytes, std::string_view field) {
  if (bytes.empty()) return base::Uuid();
  auto id = base::Uuid::FromBytes(bytes);
  if (!id.ok()) return base::InvalidArgument(fmt::format("record: {} must have 16 bytes, it has {}", field, bytes.size()));
  return id;
}

base::Uuid IdOf(const base::Rows& rows, std::size_t row, std::size_t column) {
  if (rows.IsNull(row, column)) return base::Uuid();
  return base::Uuid::Parse(rows.Text(row, column)).value_or(base::Uuid());
}

void FillIn(const RecordColumns& columns, v1::Record& record) {
  record.set_kind(columns.kind);
  record.set_attempt(columns.attempt);
  record.set_segment(columns.segment);
  record.set_wall_us(columns.wall_us);
  const auto put = [](const base::Uuid& id, std::string* field) { *field = id.IsNone() ? std::string() : id.Bytes(); };
  put(columns.request, record.mutable_request_id());
  put(columns.org, record.mutable_org_id());
  put(columns.team, record.mutable_team_id());
  put(columns.project, record.mutable_project_id());
  put(columns.key, record.mutable_key_id());
}

}  // namespace

absl::StatusOr<RecordColumns> ColumnsOf(const v1::Record& record) {
  if (record.attempt() > INT16_MAX) return base::InvalidArgument(fmt::format("record: attempt {} is too large", record.attempt()));
  if (record.segment() > INT32_MAX) return base::InvalidArgument(fmt::format("record: segment {} is too large", record.segment()));
  RecordColumns columns{.kind = record.kind(), .attempt = record.attempt(), .segment = record.segment(), .wall_us = record.wall_us()};
  TG_ASSIGN(columns.request, IdOf(record.request_id(), "request_id"));
  TG_ASSIGN(columns.org, IdOf(record.org_id(), "org_id"));
  TG_ASSIGN(columns.team, IdOf(record.team_id(), "team_id"));
  TG_ASSIGN(columns.project, IdOf(record.project_id(), "project_id"));
  TG_ASSIGN(columns.key, IdOf(record.key_id(), "key_id"));
  return columns;
}

RecordColumns ColumnsOf(const base::Rows& rows, std::size_t row, std::size_t first) {
  RecordColumns columns{.kind = static_cast<v1::RecordKind>(rows.Int(row, first)),
                        .attempt = static_cast<std::uint32_t>(rows.Int(row, first + 1)),
                        .segment = static_cast<std::uint32_t>(rows.Int(row, first + 2)),
                        .wall_us = rows.Int(row, first + 3)};
  std::size_t column = first + 4;
  for (base::Uuid* id : {&columns.request, &columns.org, &columns.team, &columns.project, &columns.key}) *id = IdOf(rows, row, column++);
  return columns;
}

std::string MessageOf(v1::Record&& record) {
  record.clear_kind();
  record.clear_attempt();
  record.clear_segment();
  record.clear_wall_us();
  record.clear_request_id();
  record.clear_org_id();
  record.clear_team_id();
  record.clear_project_id();
  record.clear_key_id();
  return record.SerializeAsString();
}

absl::StatusOr<v1::Record> RecordOf(const RecordColumns& columns, std::string_view message) {
  v1::Record record;
  if (!record.ParseFromArray(message.data(), static_cast<int>(message.size())))
    return base::DataLoss("the stored bytes are no record of this format: run `tollgate audit verify`");
  FillIn(columns, record);
  return record;
}

v1::Record RecordOrColumns(const RecordColumns& columns, std::string_view message, std::string_view which) {
  auto record = RecordOf(columns, message);
  if (record.ok()) return *std::move(record);
  base::Error("audit", "{}: {}", which, base::Message(record.status()));
  v1::Record bare;
  FillIn(columns, bare);
  return bare;
}

base::Digest ContentDigest(const std::optional<std::string>& content) { return content ? base::Sha256(*content) : base::Digest{}; }

base::Digest RecordLeaf(std::int32_t log_id, std::int64_t index, const RecordColumns& columns, const base::Digest& content,
                        std::string_view message) {
  std::string head("TGL1");
  head.reserve(160);
  base::AppendBigEndian(head, static_cast<std::uint32_t>(log_id), 4);
  base::AppendBigEndian(head, static_cast<std::uint64_t>(index), 8);
  base::AppendBigEndian(head, static_cast<std::uint32_t>(columns.kind), 4);
  base::AppendBigEndian(head, columns.attempt, 4);
  base::AppendBigEndian(head, columns.segment, 4);
  base::AppendBigEndian(head, static_cast<std::uint64_t>(columns.wall_us), 8);
  for (const base::Uuid* id : {&columns.request, &columns.org, &columns.team, &columns.project, &columns.key})
    head.append(reinterpret_cast<const char*>(id->raw().data()), id->raw().size());
  head.append(base::View(content));
  base::AppendBigEndian(head, message.size(), 4);
  return HashLeaf(head, message);
}

}  // namespace tollgate::audit
