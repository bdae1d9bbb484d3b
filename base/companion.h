// Companion: rows that one room makes and the journal writes in the same transaction as a record, without knowing what they mean.
// This is how usage and ledger rows stand or fall with the terminal record (promise P4).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace tollgate::base {

struct CompanionColumn {
  const char* name;
  const char* type;  // Postgres's name: "uuid", "int8", "bytea", "text" …
};

// A table that companions may be written to. Static: compared by address. `position_columns`, where not null, names two columns
// (log id int2 and leaf index int8) that the journal fills with the record's own position.
struct CompanionTable {
  const char* name;  // "metering.usage"
  std::vector<CompanionColumn> columns;
  const char* log_id_column = nullptr;
  const char* leaf_index_column = nullptr;
};

// NULL, integer, text or raw bytes. A uuid is its 36-character text or, cheaper, its 16 bytes.
struct Blob {
  std::string bytes;
};
using Value = std::variant<std::monostate, std::int64_t, std::string, Blob>;

struct Companion {
  const CompanionTable* table = nullptr;
  std::vector<Value> values;  // One per column, in the table's order.
};

}  // namespace tollgate::base
