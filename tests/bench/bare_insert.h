// The yardstick of what writes to Postgres: prepared multi-row INSERTs with binary parameters over one bare libpq connection, one statement
// and so one commit a batch. Dies on any error.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tollgate::bench {

// One column's values in Postgres's binary form; nothing = NULL.
using BinaryRow = std::vector<std::optional<std::string>>;

std::string BigEndian(std::int64_t value, int bytes);  // int2, int4, int8, date (days since 2000-01-01).

class BareInsert {
 public:
  // `table` with its columns, "audit.record (log_id, leaf_index …)"; `columns` of them.
  BareInsert(const std::string& url, const std::string& table, std::size_t columns);
  ~BareInsert();
  void Insert(const std::vector<const BinaryRow*>& rows);  // One statement, one commit.

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::bench
