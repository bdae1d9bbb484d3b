// Verification of one log against itself: every leaf recomputed from the stored columns, content and message, every
// index present once, the head in step. Roots can then be compared with any copy
// that was kept elsewhere.
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
  std::function<void(std::int64_t done, std::int64_t of)> progress;  // May be empty.
  std::function<absl::Status()> keep_going;                          // Asked after each chunk; an error ends it with that. May be empty.
};

struct VerifyReport {
  std::int32_t log_id = 0;
  std::int64_t size = 0;  // Records verified, up to the first bad one.
  base::Digest root{};    // Over `size` leaves as recomputed.
  bool good = false;
  std::optional<std::int64_t> bad_index;  // The first.
  std::string problem;                    // What is wrong there: "leaf hash differs from the stored bytes", "record is missing" …
};

// Reads in chunks, memory bounded. `session` has the role tollgate_verifier: one that sees less finds records missing. A log that does
// not verify is an OK report with `good` false; an error means that verification could not be done. NOT_FOUND: no such log.
absl::StatusOr<VerifyReport> VerifyLog(base::Session& session, std::int32_t log_id, const VerifyOptions& options = {});

// All logs there are, ascending.
absl::StatusOr<std::vector<std::int32_t>> ListLogs(base::Session& session);

}  // namespace tollgate::audit
