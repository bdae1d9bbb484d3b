// Rows of the directory in Postgres: reading and writing, for PostgresDirectory and admin::Changes. Blocks; one thread per session.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/postgres.h"
#include "gateway/directory/rows.h"

namespace tollgate::directory {

// The head; version 0 where nothing was ever written. FAILED_PRECONDITION: the schema is not there (run `tollgate migrate`).
// `lock`: until the transaction ends, nobody else changes the directory.
absl::StatusOr<Head> ReadHead(base::Session& session, bool lock);

// Rows of a table that `where` selects: an SQL condition, constant text, with parameters $1 …. Not verified.
absl::StatusOr<std::vector<Row>> ReadRows(base::Session& session, Table table, const std::string& where, const base::Params& params);

// Writes a row as it is, MAC included. UpdateRow: ABORTED if there is no such row.
absl::Status InsertRow(base::Session& session, const Row& row);
absl::Status UpdateRow(base::Session& session, const Row& row);
absl::Status WriteHead(base::Session& session, const Head& head);

}  // namespace tollgate::directory
