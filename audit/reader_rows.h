// Rows of audit.record as a viewer may see them, for what lists them and what opens them. Internal to audit/.
#pragma once

#include <cstdint>
#include <string>

#include "audit/reader.h"
#include "base/postgres.h"
#include "base/status.h"

namespace tollgate::audit {

// Limits what this transaction's statements see, and has them planned for their values (days.h).
absl::Status See(base::Session& session, const Viewer& viewer);

// `columns`, then those that records are found by (audit/record_columns.h), then how many rows the page would have if its contents were
// small, at most filter.limit + 1. Rows are left out from the one on that follows `bytes_max` bytes of content, and there may be one too
// many of them: more than filter.limit. INVALID_ARGUMENT: a bad cursor, limit or range.
absl::StatusOr<base::Rows> SelectPage(base::Session& session, const ListFilter& filter, const std::string& columns, std::int64_t bytes_max);

// Where the page after this row begins.
std::string CursorAfter(const Row& row);

}  // namespace tollgate::audit
