// Rows travel in binary, both ways. A statement holds every row of a batch as parameters and stays prepared under a generic plan.
#include "tests/bench/request_rows.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <libpq-fe.h>

#include "base/uuid.h"
#include "tests/bench/figures.h"

namespace tollgate::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCommitRowsMax = 32;

double SecondsSince(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

struct Column {
  std::string name;
  Oid type = 0;
};

struct Table {
  std::string name;
  std::vector<Column> columns;
  std::size_t request_id = 0;
  std::size_t leaf_index = SIZE_MAX;
};

class Connection {
 public:
  explicit Connection(const std::string& url) : pg_(PQconnectdb(url.c_str())) {
    if (PQstatus(pg_) != CONNECTION_OK) Die();
    Check(PQexec(pg_, "SET plan_cache_mode = force_generic_plan"));
  }
  ~Connection() { PQfinish(pg_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  PGresult* Query(const std::string& sql) {
    PGresult* result = PQexecParams(pg_, sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 1);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) Die();
    return result;
  }

  void Prepare(const std::string& name, const std::string& sql, const std::vector<Oid>& types) {
    if (prepared_.insert(name).second) Check(PQprepare(pg_, name.c_str(), sql.c_str(), static_cast<int>(types.size()), types.data()));
  }
  bool Has(const std::string& name) const { return prepared_.contains(name); }

  void Send(const std::string& name, const std::vector<const BinaryRow*>& rows) {
    values_.clear();
    lengths_.clear();
    for (const BinaryRow* row : rows) {
      for (const auto& value : *row) {
        values_.push_back(value ? value->data() : nullptr);
        lengths_.push_back(value ? static_cast<int>(value->size()) : 0);
      }
    }
    formats_.assign(values_.size(), 1);
    if (PQsendQueryPrepared(pg_, name.c_str(), static_cast<int>(values_.size()), values_.data(), lengths_.data(), formats_.data(), 1) != 1)
      Die();
  }
  void Finish() {
    while (PGresult* result = PQgetResult(pg_)) Check(result);
  }

 private:
  [[noreturn]] void Die() { Fail(std::string("Postgres: ") + PQerrorMessage(pg_)); }
  void Check(PGresult* result) {
    if (PQresultStatus(result) != PGRES_COMMAND_OK) Die();
    PQclear(result);
  }

  PGconn* pg_;
  std::set<std::string> prepared_;
  std::vector<const char*> values_;
  std::vector<int> lengths_, formats_;
};

// All rows of one request, by table.
struct Story {
  std::vector<std::vector<BinaryRow>> tables;
};

const char* const kNames[] = {"audit.record", "metering.usage", "metering.transfer", "keys.request"};
constexpr std::size_t kKeys = 3;  // Of them, what lies in the other database.

}  // namespace

struct RequestRows::Impl {
  Impl(const Databases& to) : main(to.main_url), keys(to.keys_url) {}

  std::vector<Table> tables;
  std::vector<Story> stories;
  Connection main, keys;
  std::int64_t next_index = 0;
  std::size_t turn = 0;

  void Read(const Databases& from, int requests) {
    Connection source(from.main_url), source_keys(from.keys_url);
    PGresult* found =
        source.Query(fmt::format("SELECT request_id::text FROM audit.record r WHERE kind = 4 AND EXISTS (SELECT FROM metering.transfer t "
                                 "WHERE t.request_id = r.request_id) "
                                 "ORDER BY leaf_index DESC LIMIT {}",
                                 requests));
    std::string list;
    for (int i = 0; i < PQntuples(found); ++i) list += fmt::format("{}'{}'", i == 0 ? "" : ",", PQgetvalue(found, i, 0));
    PQclear(found);
    if (list.empty()) Fail("no request has ended by itself");
    std::map<std::string, Story> stories_of;
    for (std::size_t t = 0; t < std::size(kNames); ++t) {
      PGresult* rows = (t == kKeys ? source_keys : source).Query(fmt::format("SELECT * FROM {} WHERE request_id IN ({})", kNames[t], list));
      Table& table = tables.emplace_back();
      table.name = kNames[t];
      for (int c = 0; c < PQnfields(rows); ++c) {
        table.columns.push_back({PQfname(rows, c), PQftype(rows, c)});
        if (table.columns.back().name == "request_id") table.request_id = static_cast<std::size_t>(c);
        if (table.columns.back().name == "leaf_index") table.leaf_index = static_cast<std::size_t>(c);
      }
      for (int r = 0; r < PQntuples(rows); ++r) {
        BinaryRow row;
        for (int c = 0; c < PQnfields(rows); ++c) {
          if (PQgetisnull(rows, r, c))
            row.emplace_back();
          else
            row.emplace_back(std::string(PQgetvalue(rows, r, c), static_cast<std::size_t>(PQgetlength(rows, r, c))));
        }
        Story& story = stories_of[*row[table.request_id]];
        story.tables.resize(std::size(kNames));
        story.tables[t].push_back(std::move(row));
      }
      PQclear(rows);
    }
    for (auto& [id, story] : stories_of) stories.push_back(std::move(story));
  }

  // New ids for the next story, whose rows then stand in `rows`, by table.
  void Take(std::vector<std::vector<const BinaryRow*>>& rows) {
    Story& story = stories[turn++ % stories.size()];
    const std::string id = base::RequestId::New().Bytes();
    for (std::size_t t = 0; t < tables.size(); ++t) {
      for (BinaryRow& row : story.tables[t]) {
        row[tables[t].request_id] = id;
        if (tables[t].leaf_index != SIZE_MAX) row[tables[t].leaf_index] = BigEndian(t == 0 ? next_index++ : next_index, 8);
        rows[t].push_back(&row);
      }
    }
  }

  // One statement for so many rows of each of the tables from `begin` to `end`.
  std::string Prepared(Connection& connection, std::size_t begin, std::size_t end, const std::vector<std::vector<const BinaryRow*>>& rows) {
    std::string name = "s";
    for (std::size_t t = begin; t < end; ++t) name += fmt::format("_{}", rows[t].size());
    if (connection.Has(name)) return name;
    std::string sql;
    std::vector<Oid> types;
    for (std::size_t t = begin; t < end; ++t) {
      if (end - begin > 1) sql += t == begin ? "WITH t0 AS (" : t + 1 == end ? " " : fmt::format(", t{} AS (", t);
      sql += "INSERT INTO " + tables[t].name + " VALUES ";
      for (std::size_t r = 0; r < rows[t].size(); ++r) {
        sql += r == 0 ? "(" : ", (";
        for (std::size_t c = 0; c < tables[t].columns.size(); ++c) {
          types.push_back(tables[t].columns[c].type);
          sql += fmt::format("{}${}", c == 0 ? "" : ", ", types.size());
        }
        sql += ")";
      }
      if (end - begin > 1 && t + 1 != end) sql += ")";
    }
    connection.Prepare(name, sql, types);
    return name;
  }

  static std::vector<const BinaryRow*> Joined(const std::vector<std::vector<const BinaryRow*>>& rows, std::size_t begin, std::size_t end) {
    std::vector<const BinaryRow*> all;
    for (std::size_t t = begin; t < end; ++t) all.insert(all.end(), rows[t].begin(), rows[t].end());
    return all;
  }
};

RequestRows::RequestRows(const Databases& from, const Databases& to, int requests) : impl_(std::make_unique<Impl>(to)) {
  impl_->Read(from, requests);
}
RequestRows::~RequestRows() = default;

double RequestRows::rows_per_request() const {
  std::size_t rows = 0;
  for (const Story& story : impl_->stories) {
    for (const auto& table : story.tables) rows += table.size();
  }
  return static_cast<double>(rows) / static_cast<double>(impl_->stories.size());
}

RequestRows::Inserted RequestRows::Insert(double seconds, int together) {
  // A story is its rows' only copy: a batch holds each once.
  together = std::min(together, static_cast<int>(impl_->stories.size()));
  std::int64_t requests = 0;
  const auto began = Clock::now();
  while (SecondsSince(began) < seconds) {
    std::vector<std::vector<const BinaryRow*>> rows(impl_->tables.size());
    for (int i = 0; i < together; ++i) impl_->Take(rows);
    const std::string main = impl_->Prepared(impl_->main, 0, kKeys, rows);
    const std::string keys = impl_->Prepared(impl_->keys, kKeys, kKeys + 1, rows);
    impl_->keys.Send(keys, Impl::Joined(rows, kKeys, kKeys + 1));
    impl_->main.Send(main, Impl::Joined(rows, 0, kKeys));
    impl_->main.Finish();
    impl_->keys.Finish();
    requests += together;
  }
  return {static_cast<double>(requests) / SecondsSince(began), requests};
}

std::vector<double> RequestRows::CommitAtRate(double seconds, double rate_per_s) {
  std::vector<BinaryRow> copies(kCommitRowsMax);
  const auto Rows = [&](int count) {
    std::vector<std::vector<const BinaryRow*>> rows(1);
    for (int i = 0; i < count; ++i) {
      BinaryRow& row = copies[static_cast<std::size_t>(i)] = impl_->stories[impl_->turn++ % impl_->stories.size()].tables[0][0];
      row[impl_->tables[0].request_id] = base::RequestId::New().Bytes();
      row[impl_->tables[0].leaf_index] = BigEndian(impl_->next_index++, 8);
      rows[0].push_back(&row);
    }
    return rows;
  };
  for (int count = 1; count <= kCommitRowsMax; ++count) impl_->Prepared(impl_->main, 0, 1, Rows(count));
  std::vector<double> ms;
  const auto began = Clock::now();
  const auto DueAt = [&](std::int64_t i) {
    return began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(static_cast<double>(i) / rate_per_s));
  };
  for (std::int64_t next = 0; static_cast<double>(next) < seconds * rate_per_s;) {
    std::this_thread::sleep_until(DueAt(next));
    int count = 1;
    while (count < kCommitRowsMax && DueAt(next + count) <= Clock::now()) ++count;
    const auto rows = Rows(count);
    impl_->main.Send(impl_->Prepared(impl_->main, 0, 1, rows), rows[0]);
    impl_->main.Finish();
    const auto now = Clock::now();
    for (int i = 0; i < count; ++i) ms.push_back(std::chrono::duration<double, std::milli>(now - DueAt(next + i)).count());
    next += count;
  }
  std::sort(ms.begin(), ms.end());
  return ms;
}

}  // namespace tollgate::bench
