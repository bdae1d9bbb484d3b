// A batch: records ready to be stored but for their indices, and the one statement that stores them. Internal to audit/; pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audit/record.h"
#include "audit/record_columns.h"
#include "base/clock.h"
#include "base/postgres.h"
#include "base/status.h"

namespace tollgate::audit {

// A companion's values as they travel: in binary form where the column's type allows (nothing = NULL), else as they came.
struct EncodedCompanion {
  const base::CompanionTable* table = nullptr;
  std::vector<std::optional<std::string>> cells;
  std::vector<base::Value> texts;  // For columns of types that have no binary form here; one per column, unset for the others.
};

struct EncodedRow : RecordColumns {
  std::string message;
  std::optional<std::string> content;
  base::Digest content_digest{};
  std::vector<EncodedCompanion> companions;

  std::size_t bytes() const;  // About what it weighs in memory.
};

// Stamps, checks and serialises. INVALID_ARGUMENT: the entry could never be stored.
absl::StatusOr<EncodedRow> Encode(Entry&& entry, const base::Clock& clock);

// A log as its writer believes it to stand.
struct Head {
  std::int32_t log_id = 0;
  std::int64_t epoch = 0;
  std::int64_t fence = 0;
  std::int64_t next_index = 0;
};

// The texts of batch statements, one for each set of companion tables. One thread.
class BatchStatements {
 public:
  struct Statement {
    const std::string* sql;  // Lives as long as this.
    base::Params params;
    base::Digest last_leaf{};  // Of the last record.
  };

  // The statement gives one row: 1 if the head was as believed and everything is stored, else 0 and nothing is.
  Statement Build(const Head& head, std::int64_t open_from, std::chrono::milliseconds claim, std::span<const EncodedRow* const> rows);

 private:
  using Tables = std::vector<const base::CompanionTable*>;
  std::map<Tables, std::string> texts_;
};

}  // namespace tollgate::audit
