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

// Rows of a table (not kPrice) that `where` selects: an SQL condition, constant text, with parameters $1 …. Not verified.
absl::StatusOr<std::vector<Row>> ReadRows(base::Session& session, Table table, const std::string& where, const base::Params& params);

// The whole price book as rows.
absl::StatusOr<std::vector<Row>> ReadPrices(base::Session& session);

// Writes a row as it is, MAC included. InsertRow takes prices too. UpdateRow: ABORTED if there is no such row.
absl::Status InsertRow(base::Session& session, const Row& row);
absl::Status UpdateRow(base::Session& session, const Row& row);
absl::Status WriteHead(base::Session& session, const Head& head);

// The id of a price's row.
base::Uuid PriceRowId(std::int64_t version);

}  // namespace tollgate::directory
