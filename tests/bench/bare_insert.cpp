// A statement for each batch size, prepared on first use.
#include "tests/bench/bare_insert.h"

#include <cstdio>
#include <cstdlib>
#include <set>

#include <libpq-fe.h>

#include <fmt/format.h>

#include "base/encoding.h"

namespace tollgate::bench {
namespace {

[[noreturn]] void Die(PGconn* connection) {
  std::fprintf(stderr, "bare insert: %s\n", PQerrorMessage(connection));
  std::abort();
}

}  // namespace

struct BareInsert::Impl {
  PGconn* connection = nullptr;
  std::string table;
  std::size_t columns = 0;
  std::set<std::size_t> prepared;
};

std::string BigEndian(std::int64_t value, int bytes) {
  std::string out;
  base::AppendBigEndian(out, static_cast<std::uint64_t>(value), bytes);
  return out;
}

BareInsert::BareInsert(const std::string& url, const std::string& table, std::size_t columns) : impl_(std::make_unique<Impl>()) {
  impl_->connection = PQconnectdb(url.c_str());
  if (PQstatus(impl_->connection) != CONNECTION_OK) Die(impl_->connection);
  impl_->table = table;
  impl_->columns = columns;
}

BareInsert::~BareInsert() { PQfinish(impl_->connection); }

void BareInsert::Insert(const std::vector<const BinaryRow*>& rows) {
  const std::string name = fmt::format("insert{}", rows.size());
  if (impl_->prepared.insert(rows.size()).second) {
    std::string sql = fmt::format("INSERT INTO {} VALUES ", impl_->table);
    for (std::size_t r = 0, next = 1; r < rows.size(); ++r) {
      sql += r == 0 ? "(" : ", (";
      for (std::size_t c = 0; c < impl_->columns; ++c, ++next) sql += fmt::format("{}${}", c == 0 ? "" : ", ", next);
      sql += ")";
    }
    PGresult* result = PQprepare(impl_->connection, name.c_str(), sql.c_str(), 0, nullptr);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) Die(impl_->connection);
    PQclear(result);
  }
  std::vector<const char*> values;
  std::vector<int> lengths;
  for (const BinaryRow* row : rows) {
    for (const auto& value : *row) {
      values.push_back(value ? value->data() : nullptr);
      lengths.push_back(value ? static_cast<int>(value->size()) : 0);
    }
  }
  const std::vector<int> formats(values.size(), 1);
  PGresult* result =
      PQexecPrepared(impl_->connection, name.c_str(), static_cast<int>(values.size()), values.data(), lengths.data(), formats.data(), 1);
  if (PQresultStatus(result) != PGRES_COMMAND_OK) Die(impl_->connection);
  PQclear(result);
}

}  // namespace tollgate::bench
