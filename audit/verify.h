// Verification of one log against itself: every leaf recomputed from the stored columns, content and message, every
// index present once and on one day, none before the first or beyond the head, the head in step; and of all records, that each
// belongs to a log with a head. What is not seen: a tail that was cut with the head moved back, and a log that is gone as a whole. For
// those, roots can be compared with any copy that was kept elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/crypto.h"
#include "base/postgres.h"
#include "base/status.h"

namespace tollgate::audit {

struct VerifyOptions {
  std::int64_t size = -1;  // Verify the first `size` records; -1 = as many as the head says.
  std::int64_t rows_per_query = 2000;
  std::int64_t bytes_per_query = 8 << 20;  // Of messages and contents as stored; one record is read however long it is.
  std::int64_t rows_per_look = 1'000'000;  // Places of records, without their bytes, by one statement.
  std::function<void(std::int64_t done, std::int64_t of)> progress;  // May be empty.
  std::function<absl::Status()> keep_going;                          // Asked after each chunk; an error ends it with that. May be empty.
};

struct VerifyReport {
  std::int32_t log_id = 0;
  std::int64_t size = 0;  // Records verified, up to the first bad one.
  base::Digest root{};    // Over `size` leaves as recomputed.
  bool good = false;
  std::optional<std::int64_t> bad_index;  // The first; what lies before the log's first or beyond its head is looked for last.
  std::string problem;                    // What is wrong there: "leaf hash differs from the stored bytes", "record is missing" …
};

// Reads in chunks, memory bounded: by bytes_per_query, or by one record that is longer. `session` has the role tollgate_verifier: one that
// sees less finds records missing. A log that does not verify is an OK report with `good` false, and so are records without a head; an
// error means that verification could not be done. NOT_FOUND: no such log, and no record of it, for which all records' places are read.
absl::StatusOr<VerifyReport> VerifyLog(base::Session& session, std::int32_t log_id, const VerifyOptions& options = {});

// All logs that have a head, ascending.
absl::StatusOr<std::vector<std::int32_t>> ListLogs(base::Session& session);

// The logs that records name and that have no head, ascending: a report each that is not good. Reads the places of all records, not their
// bytes. `session` as above.
absl::StatusOr<std::vector<VerifyReport>> FindHeadless(base::Session& session, const VerifyOptions& options = {});

}  // namespace tollgate::audit
