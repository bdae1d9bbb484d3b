// The Postgres session, for every room's *_postgres.cpp. The only face of libpqxx outside base/postgres*.cpp and those files.
//
// Errors: UNAVAILABLE the connection is broken or the statement timed out; ABORTED serialization failure, deadlock or lock timeout
// (try the transaction again); UNKNOWN the connection broke during COMMIT, or during a statement that Run sent by itself and that is
// more than a SELECT (ask, never repeat blindly); ALREADY_EXISTS unique violation; FAILED_PRECONDITION foreign-key or check violation;
// PERMISSION_DENIED; INVALID_ARGUMENT a value its column cannot hold, or a URL nobody can read; INTERNAL everything else. Messages name the
// statement's purpose and SQLSTATE, never parameters, hosts or passwords.
//
// Deadlines: a call returns within statement_timeout and one second also when the server is frozen or its host is gone (the connection
// is then broken); connecting within connect_timeout, in whole seconds and at least two. A transaction that sends nothing for idle_timeout
// is ended by the server, so that a program that stands still or is cut off holds no lock for long; of a connection that was cut off both
// ends know within a minute.
//
// Where: no session is made on a standby, nor where transactions are read-only by default (UNAVAILABLE), whatever the URL says in
// target_session_attrs. What a session has committed is on disk: its synchronous_commit is on, or remote_apply where that was set.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/companion.h"
#include "base/status.h"

namespace tollgate::base {

struct PostgresOptions {
  std::string url;  // libpq URI or key=value string.
  std::string application_name = "tollgate";
  std::chrono::milliseconds connect_timeout{2000};
  std::chrono::milliseconds statement_timeout{5000};
  std::chrono::milliseconds lock_timeout{2000};
  std::chrono::milliseconds idle_timeout{0};        // Between the statements of a transaction; 0: statement_timeout and five seconds.
  std::string role;                                 // SET ROLE after connecting; empty = as logged in.
  std::string search_path = "pg_catalog, pg_temp";  // Names without a schema mean these alone, whatever others put into `public`.
};

// A result: rows of optional text in Postgres's output form; bytea columns are read with Bytes().
class Rows {
 public:
  using Row = std::vector<std::optional<std::string>>;

  Rows() = default;
  Rows(std::vector<Row> rows, std::int64_t affected) : rows_(std::move(rows)), affected_(affected) {}

  std::size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  bool IsNull(std::size_t row, std::size_t column) const { return !rows_[row][column].has_value(); }
  const std::string& Text(std::size_t row, std::size_t column) const;  // Dies on NULL.
  std::int64_t Int(std::size_t row, std::size_t column) const;         // Dies on NULL or no number.
  bool Bool(std::size_t row, std::size_t column) const { return Text(row, column) == "t"; }
  std::string Bytes(std::size_t row, std::size_t column) const;  // Decodes bytea's hex form.
  std::int64_t affected() const { return affected_; }

 private:
  std::vector<Row> rows_;
  std::int64_t affected_ = 0;
};

// Blobs after all other parameters travel in Postgres's binary form: as they are for bytea, and any other type may be given so.
using Params = std::vector<Value>;

// The SQLSTATE that Postgres answered with, for whoever must tell errors of one code apart; empty if the status is not of that kind.
std::string SqlStateOf(const absl::Status& status);

// One array parameter of `type` ("int8", "bytea", "uuid", "text"), for unnest($1::type[]).
Value ArrayOf(const std::vector<Value>& items);

// One connection; one thread at a time. Never reconnects by itself: when broken() make a new one.
class Session {
 public:
  static absl::StatusOr<std::unique_ptr<Session>> Connect(const PostgresOptions& options);
  virtual ~Session() = default;

  // One statement in its own transaction, one round trip. Prepared on first use by its text: keep the text constant. `purpose` is for
  // messages. A function that writes, called by SELECT, belongs into InTransaction, lest a lost connection look like a failed read.
  virtual absl::StatusOr<Rows> Run(std::string_view purpose, const std::string& sql, const Params& params = {}) = 0;
  // Many statements, no parameters, one transaction (migrations).
  virtual absl::Status RunScript(std::string_view purpose, const std::string& sql) = 0;
  // Runs `body` inside one transaction: commits when it returns OK, else rolls back. Run() within it takes part; once one of its
  // statements has failed, the whole fails with that, whatever the body returns.
  virtual absl::Status InTransaction(std::string_view purpose, const std::function<absl::Status(Session&)>& body) = 0;

  // True once the connection is lost, or a statement met a server that has become read-only; between statements also when the server has
  // closed it since.
  virtual bool broken() const = 0;
  // Asks the server to end what runs on this connection; from another thread. Best effort; takes up to a few seconds.
  virtual void Cancel() = 0;
};

}  // namespace tollgate::base
