// What of a record is stored as columns beside its message: what people find records by. The message does not repeat them; the leaf binds
// both (audit/FORMAT.md). Internal to audit/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/crypto.h"
#include "base/postgres.h"
#include "base/status.h"
#include "base/uuid.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::audit {

struct RecordColumns {
  v1::RecordKind kind = v1::RECORD_KIND_UNSPECIFIED;
  std::uint32_t attempt = 0;
  std::uint32_t segment = 0;
  std::int64_t wall_us = 0;
  base::Uuid request, org, team, project, key;  // None = NULL.
};

// Their names, for a SELECT, in the order in which ColumnsOf reads them.
inline constexpr std::string_view kColumnNames = "kind, attempt, segment, wall_us, request_id, org_id, team_id, project_id, key_id";
inline constexpr std::size_t kColumnCount = 9;

// INVALID_ARGUMENT: an id has not 16 bytes, or a number is too large for its column.
absl::StatusOr<RecordColumns> ColumnsOf(const v1::Record& record);
RecordColumns ColumnsOf(const base::Rows& rows, std::size_t row, std::size_t first);

// The bytes to store: the record without what its columns say.
std::string MessageOf(v1::Record&& record);

// The whole record again. DATA_LOSS: the stored bytes are no message of this format.
absl::StatusOr<v1::Record> RecordOf(const RecordColumns& columns, std::string_view message);

// The same, or what the columns alone say, where the bytes cannot be read: the diagnostics then name the record as `which`.
v1::Record RecordOrColumns(const RecordColumns& columns, std::string_view message, std::string_view which);

// SHA-256 of the stored content; of none, zeros.
base::Digest ContentDigest(const std::optional<std::string>& content);

// The leaf of one stored record: binds the log, the index, the columns, the content by its digest, and the message.
base::Digest RecordLeaf(std::int32_t log_id, std::int64_t index, const RecordColumns& columns, const base::Digest& content,
                        std::string_view message);

}  // namespace tollgate::audit
