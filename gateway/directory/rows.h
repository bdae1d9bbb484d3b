// Rows of the directory as they lie in Postgres, and the two things that make them trustworthy: each row's MAC, and a MAC over the set of
// all rows, both under a key that Postgres never holds: audit::RootKey::Derive("directory-mac"). Pure.
//
// A row's canonical form is its table, its id and every column that is not NULL, by name: a column that is added later, and is NULL,
// changes no old MAC. Rows are never deleted: what ends is marked, so a row that is missing was removed by somebody else. Lines of the
// price book (metering.price) are rows as the others, and never change.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/companion.h"
#include "base/crypto.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::directory {

enum class Table {
  kOrg,
  kTeam,
  kProject,
  kKey,
  kPolicy,
  kPolicyBinding,
  kModelGrant,
  kQuota,
  kStop,
  kPrice,
  kModel,
  kAlias,
  kChatDefaults
};
inline constexpr int kTables = 13;

// Columns of a table beside id, version, admin_record, admin_log_id, admin_index and mac. Types are Postgres's.
struct TableSpec {
  Table table;
  const char* name;  // "directory.team"
  std::vector<base::CompanionColumn> columns;
};
const TableSpec& SpecOf(Table table);

struct Row {
  Table table = Table::kOrg;
  base::Uuid id;
  std::int64_t version = 0;         // The directory's version that wrote it.
  std::vector<base::Value> values;  // By TableSpec::columns; text except bytea (Blob) and int8. A bool is "t" or "f".
  base::Uuid admin_record;          // The ADMIN record that came before it …
  std::int32_t admin_log_id = 0;    // … and where that stands.
  std::int64_t admin_index = 0;
  base::Digest mac{};

  // A column by name. Text and Int die if the column does not exist or is NULL.
  bool IsNull(std::string_view column) const;
  const std::string& Text(std::string_view column) const;
  std::string TextOr(std::string_view column, std::string_view if_null) const;
  std::int64_t Int(std::string_view column) const;
  bool Bool(std::string_view column) const { return Text(column) == "t"; }
  bool Says(std::string_view column) const { return !IsNull(column) && Bool(column); }  // False if NULL.
  const std::string& Bytes(std::string_view column) const;
  base::Uuid Id(std::string_view column) const;  // None if NULL.
  void Set(std::string_view column, base::Value value);
};

// A row of `table` with a new id and every column NULL.
Row NewRow(Table table);

// SHA-256 of the canonical form: what the ADMIN record holds.
base::Digest RowDigest(const Row& row);

// MAC over the canonical form, version and ADMIN record.
base::Digest RowMac(std::string_view key, const Row& row);

// The set of all rows: XOR of their MACs, under a MAC of its own with the version.
struct Head {
  std::int64_t version = 0;
  base::Digest set{};
  base::Digest mac{};

  bool operator==(const Head&) const = default;
};
base::Digest HeadMac(std::string_view key, std::int64_t version, const base::Digest& set);
// DATA_LOSS unless its MAC is what the key makes of it; version 0 has none.
absl::Status CheckHead(std::string_view key, const Head& head);
void Toggle(base::Digest& set, const base::Digest& row_mac);  // Adds the row, or takes it out again.

}  // namespace tollgate::directory
