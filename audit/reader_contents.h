// What opening contents needs, of a few records or of many: records that fit their leaves, and the VIEW. Internal to audit/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "audit/reader.h"
#include "audit/record_columns.h"
#include "base/postgres.h"
#include "base/status.h"

namespace tollgate::audit {

// The record in a row (message, content, leaf hash, …, the columns from `first_column`), if it is what its leaf says.
absl::StatusOr<v1::Record> FittingRecord(const base::Rows& rows, std::size_t row, const Position& position, std::string_view content,
                                         std::size_t first_column);
std::string ContentOf(const base::Rows& rows, std::size_t row);

absl::Status NeedReason(const std::string& reason);
v1::Record ViewRecord(const Viewer& viewer, const v1::Record& of, const std::string& reason);
void NameViewed(std::vector<Position> positions, v1::ViewBody& view);  // Several that are about to be opened.
absl::Status AppendView(Journal& journal, v1::Record view);            // And waits, for a while.

}  // namespace tollgate::audit
