// SQLSTATE to status, one table. The first line of a server message is kept for the classes whose messages are made of the statement's
// own text or of names in the schema (42 syntax and names, 23 constraints, 55 object state, P0 and TG raised by our own functions …), which
// is what whoever mends it needs; class 22 quotes the offending value and is dropped, as are details and hints of every class.
// Tested by tests/base/postgres_errors_test.cpp.
#include "base/postgres_errors.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/postgres.h"

namespace tollgate::base {
namespace {

using absl::StatusCode;

constexpr char kSqlState[] = "tollgate.sqlstate";

struct CodeRow {
  std::string_view prefix;
  StatusCode code;
  std::string_view meaning;
};

// In order of precedence.
constexpr std::array kCodes = {
    CodeRow{"08", StatusCode::kUnavailable, "the connection is broken"},
    CodeRow{"22", StatusCode::kInvalidArgument, "a value is not one that its column can hold"},
    CodeRow{"23505", StatusCode::kAlreadyExists, "it exists already"},
    CodeRow{"23P01", StatusCode::kAlreadyExists, "it overlaps with one that exists"},
    CodeRow{"23", StatusCode::kFailedPrecondition, "a constraint forbids it"},
    CodeRow{"25006", StatusCode::kUnavailable,
            "this server is read-only: give the primary's address, or set default_transaction_read_only = off"},
    CodeRow{"25P03", StatusCode::kUnavailable, "the transaction stood still for too long and was undone; try again"},
    CodeRow{"28", StatusCode::kPermissionDenied, "the login is refused"},
    CodeRow{"40003", StatusCode::kUnknown, "whether it was committed is not known"},
    CodeRow{"40", StatusCode::kAborted, "another transaction was in the way; try again"},
    CodeRow{"42501", StatusCode::kPermissionDenied, "this database role may not do that"},
    CodeRow{"53100", StatusCode::kUnavailable, "Postgres's disk is full; make room on it"},
    CodeRow{"53300", StatusCode::kUnavailable, "all of Postgres's connections are taken"},
    CodeRow{"53", StatusCode::kUnavailable, "Postgres is out of disk or memory"},
    CodeRow{"55P03", StatusCode::kAborted, "another transaction holds the lock; try again"},
    CodeRow{"57014", StatusCode::kUnavailable, "it took longer than the statement's time limit, or was cancelled"},
    CodeRow{"57", StatusCode::kUnavailable, "Postgres is shutting down or starting up"},
    CodeRow{"58", StatusCode::kUnavailable, "Postgres has a system error, such as a failing disk"},
};

bool MayShow(std::string_view sqlstate) {
  static constexpr std::array<std::string_view, 8> kClasses = {"0A", "23", "25", "3D", "42", "55", "P0", "TG"};
  return std::any_of(kClasses.begin(), kClasses.end(), [&](std::string_view c) { return sqlstate.starts_with(c); });
}

// A verbose text names its SQLSTATE before the message.
std::string_view FirstLine(std::string_view text, std::string_view sqlstate) {
  text = text.substr(0, text.find('\n'));
  constexpr std::string_view kError = "ERROR:";
  if (text.starts_with(kError)) text.remove_prefix(kError.size());
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  if (text.starts_with(sqlstate.substr(0, 2)) && text.size() >= 7 && text.substr(5, 2) == ": ") text.remove_prefix(7);
  return text.substr(0, 300);
}

bool Holds(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string_view SkipBlanks(std::string_view sql) {
  while (!sql.empty() && (sql.front() == ' ' || sql.front() == '\n' || sql.front() == '\t' || sql.front() == '(')) sql.remove_prefix(1);
  return sql;
}

}  // namespace

absl::Status SqlError(std::string_view purpose, std::string_view sqlstate, std::string_view text) {
  const auto* row = std::find_if(kCodes.begin(), kCodes.end(), [&](const CodeRow& r) { return sqlstate.starts_with(r.prefix); });
  const bool known = row != kCodes.end();
  std::string message = fmt::format("{}: {} (SQLSTATE {})", purpose, known ? row->meaning : "Postgres refused the statement",
                                    sqlstate.empty() ? "unknown" : sqlstate);
  if (MayShow(sqlstate)) message += fmt::format(": {}", FirstLine(text, sqlstate));
  absl::Status status = MakeStatus(known ? row->code : StatusCode::kInternal, message);
  if (!sqlstate.empty()) status.SetPayload(kSqlState, absl::Cord(std::string(sqlstate)));
  return status;
}

std::string SqlStateOf(const absl::Status& status) {
  const auto state = status.GetPayload(kSqlState);
  return state ? std::string(*state) : std::string();
}

absl::Status ConnectError(std::string_view text) {
  struct Row {
    std::string_view part;
    StatusCode code;
    std::string_view message;
  };
  static constexpr std::array kRows = {
      Row{"invalid connection option", StatusCode::kInvalidArgument, "the database URL holds an option that libpq does not know"},
      Row{"invalid URI", StatusCode::kInvalidArgument, "the database URL is no postgresql:// URL"},
      Row{"missing \"=\"", StatusCode::kInvalidArgument, "the database URL is neither a postgresql:// URL nor key=value pairs"},
      Row{"unterminated quoted string", StatusCode::kInvalidArgument, "the database URL has a quote that does not end"},
      Row{"invalid sslmode", StatusCode::kInvalidArgument, "the database URL's sslmode is not one that libpq knows"},
      Row{"definition of service", StatusCode::kInvalidArgument,
          "the database URL, or PGSERVICE, names a service that no service file has"},
      Row{"service file", StatusCode::kInvalidArgument, "libpq cannot read its service file: correct PGSERVICEFILE, or the file"},
      Row{"password authentication failed", StatusCode::kPermissionDenied, "Postgres refuses the password in the database URL"},
      Row{"no password supplied", StatusCode::kPermissionDenied,
          "Postgres wants a password: put it into the database URL or a password file"},
      Row{"no pg_hba.conf entry", StatusCode::kPermissionDenied, "Postgres's pg_hba.conf does not admit this role, database and address"},
      Row{"authentication failed", StatusCode::kPermissionDenied, "Postgres refuses the login in the database URL"},
      Row{"role \"", StatusCode::kPermissionDenied, "Postgres does not know the role in the database URL, or it may not log in"},
      Row{"database \"", StatusCode::kFailedPrecondition, "Postgres has no such database: create it, or correct the database URL"},
      Row{"certificate", StatusCode::kUnavailable,
          "Postgres cannot be reached: its TLS certificate was not accepted; check sslmode and sslrootcert"},
      Row{"does not support SSL", StatusCode::kUnavailable,
          "Postgres cannot be reached: it speaks no TLS, which sslmode asks for; set ssl = on in its configuration"},
      Row{"too many", StatusCode::kUnavailable, "Postgres cannot be reached: all of its connections are taken; raise max_connections"},
      Row{"remaining connection slots", StatusCode::kUnavailable,
          "Postgres cannot be reached: all of its connections are taken; raise max_connections"},
      Row{"starting up", StatusCode::kUnavailable, "Postgres cannot be reached yet: it is starting up"},
      Row{"shutting down", StatusCode::kUnavailable, "Postgres cannot be reached: it is shutting down"},
      Row{"recovery mode", StatusCode::kUnavailable, "Postgres cannot be reached yet: it is recovering"},
      Row{"timeout expired", StatusCode::kUnavailable, "Postgres cannot be reached: it did not answer within the time limit"},
      Row{"could not translate host name", StatusCode::kUnavailable,
          "Postgres cannot be reached: the host in the database URL has no address"},
      // Behind all others: of several hosts one may be a standby while the primary has its own trouble.
      Row{"not yet accepting connections", StatusCode::kUnavailable, "Postgres cannot be reached yet: it is recovering"},
      Row{"not accepting connections", StatusCode::kUnavailable,
          "Postgres cannot be written to: the server is a standby without hot_standby; give the primary's address in the database URL"},
      Row{"session is read-only", StatusCode::kUnavailable,
          "Postgres cannot be written to: the server is a standby, or default_transaction_read_only is on there; give the primary's "
          "address in the database URL, or set that off"},
  };
  for (const Row& row : kRows) {
    if (Holds(text, row.part)) return MakeStatus(row.code, row.message);
  }
  return Unavailable("Postgres cannot be reached: nothing answers at the address in the database URL; is it running?");
}

absl::Status BrokenError(std::string_view purpose, bool in_doubt) {
  if (in_doubt) return Unknown(fmt::format("{}: the connection to Postgres broke, and whether it was committed is not known", purpose));
  return Unavailable(fmt::format("{}: the connection to Postgres broke; try again", purpose));
}

bool MayLeaveInDoubt(std::string_view warning) {
  return Holds(warning, "SyncRepWaitForLSN");  // Where it was raised: the words are in the server's language, a function's name is in none.
}

bool OnlyReads(std::string_view sql) {
  sql = SkipBlanks(sql);
  std::string word(sql.substr(0, 6));
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c); });
  return word == "SELECT" || word == "VALUES" || word.starts_with("SHOW");
}

}  // namespace tollgate::base
