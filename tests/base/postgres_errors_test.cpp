// What failures become, without a database.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/postgres.h"
#include "base/postgres_errors.h"

using namespace tollgate::base;
using absl::StatusCode;

TEST_CASE("Each SQLSTATE has the code that tells a caller what to do") {
  struct Row {
    const char* state;
    StatusCode code;
  };
  const auto row = GENERATE(values<Row>({{"08006", StatusCode::kUnavailable},
                                         {"57P01", StatusCode::kUnavailable},
                                         {"57014", StatusCode::kUnavailable},
                                         {"53300", StatusCode::kUnavailable},
                                         {"53100", StatusCode::kUnavailable},
                                         {"25006", StatusCode::kUnavailable},
                                         {"25P03", StatusCode::kUnavailable},
                                         {"58030", StatusCode::kUnavailable},
                                         {"40001", StatusCode::kAborted},
                                         {"40P01", StatusCode::kAborted},
                                         {"55P03", StatusCode::kAborted},
                                         {"40003", StatusCode::kUnknown},
                                         {"23505", StatusCode::kAlreadyExists},
                                         {"23503", StatusCode::kFailedPrecondition},
                                         {"23514", StatusCode::kFailedPrecondition},
                                         {"42501", StatusCode::kPermissionDenied},
                                         {"28P01", StatusCode::kPermissionDenied},
                                         {"42601", StatusCode::kInternal},
                                         {"22P02", StatusCode::kInvalidArgument},
                                         {"XX000", StatusCode::kInternal},
                                         {"", StatusCode::kInternal}}));
  INFO(row.state);
  const absl::Status status = SqlError("write the record", row.state, "ERROR:  something");
  CHECK(status.code() == row.code);
  CHECK(Message(status).starts_with("write the record: "));
  if (row.state[0] != '\0') CHECK(Message(status).find(row.state) != std::string::npos);
}

TEST_CASE("A message keeps names from the schema and never a value") {
  CHECK(
      Message(SqlError("p", "23505", "ERROR:  duplicate key value violates unique constraint \"usage_pkey\"\nDETAIL:  Key (a)=(secret)")) ==
      "p: it exists already (SQLSTATE 23505): duplicate key value violates unique constraint \"usage_pkey\"");
  CHECK(Message(SqlError("p", "22P02", "ERROR:  invalid input syntax for type uuid: \"secret\"")).find("secret") == std::string::npos);
  CHECK(Message(SqlError("p", "42601", "ERROR:  syntax error at or near \"FRMO\" at character 9\n"))
            .ends_with("near \"FRMO\" at character 9"));
}

TEST_CASE("A verbose message shows what a terse one does, without what stands in its other lines") {
  CHECK(Message(SqlError("p", "23505",
                         "ERROR:  23505: duplicate key value violates unique constraint \"usage_pkey\"\nDETAIL:  Key (a)=(secret)\n"
                         "CONTEXT:  SQL statement \"secret\"\nLOCATION:  _bt_check_unique, nbtinsert.c:664\n")) ==
        "p: it exists already (SQLSTATE 23505): duplicate key value violates unique constraint \"usage_pkey\"");
  // libpqxx keeps only the class of some.
  CHECK(Message(SqlError("p", "23000", "ERROR:  23514: it \"is\" so\nLOCATION:  f, f.c:1\n")).ends_with("(SQLSTATE 23000): it \"is\" so"));
  CHECK(Message(SqlError("p", "22P02", "ERROR:  22P02: invalid input: \"secret\"\n")).find("secret") == std::string::npos);
  CHECK(Message(SqlError("p", "P0001", "ERROR:  LIMIT: reached")).ends_with("(SQLSTATE P0001): LIMIT: reached"));
}

TEST_CASE("A failed connection says what to mend and never where it went") {
  struct Row {
    const char* text;
    StatusCode code;
    const char* says;
  };
  const auto row = GENERATE(values<Row>(
      {{"connection to server on socket \"/tmp/secret/.s.PGSQL.5432\" failed: No such file or directory", StatusCode::kUnavailable,
        "cannot be reached"},
       {"connection to server at \"db.secret\" (10.0.0.1), port 5432 failed: Connection refused", StatusCode::kUnavailable,
        "is it running"},
       {"connection to server at \"db.secret\", port 5432 failed: timeout expired", StatusCode::kUnavailable, "cannot be reached"},
       {"could not translate host name \"db.secret\" to address", StatusCode::kUnavailable, "cannot be reached"},
       {"… failed: FATAL:  password authentication failed for user \"secret\"", StatusCode::kPermissionDenied, "password"},
       {"… failed: FATAL:  role \"secret\" does not exist", StatusCode::kPermissionDenied, "role"},
       {"… failed: FATAL:  database \"secret\" does not exist", StatusCode::kFailedPrecondition, "no such database"},
       {"… failed: FATAL:  the database system is starting up", StatusCode::kUnavailable, "starting up"},
       {"… failed: FATAL:  sorry, too many clients already", StatusCode::kUnavailable, "connections are taken"},
       {"… failed: FATAL:  the database system is not yet accepting connections", StatusCode::kUnavailable, "recovering"},
       {"… failed: FATAL:  the database system is not accepting connections\nDETAIL:  Hot standby mode is disabled.",
        StatusCode::kUnavailable, "give the primary's address"},
       {"connection to server at \"db.secret\" (10.0.0.1), port 5432 failed: session is read-only", StatusCode::kUnavailable,
        "give the primary's address"},
       {"… failed: session is read-only\n… failed: FATAL:  the database system is starting up", StatusCode::kUnavailable, "starting up"},
       {"… failed: server does not support SSL, but SSL was required", StatusCode::kUnavailable, "speaks no TLS"},
       {"definition of service \"secret\" not found", StatusCode::kInvalidArgument, "service"},
       {"service file \"/tmp/secret\" not found", StatusCode::kInvalidArgument, "PGSERVICEFILE"},
       {"invalid connection option \"secret\"", StatusCode::kInvalidArgument, "option"},
       {"missing \"=\" after \"secret\" in connection info string", StatusCode::kInvalidArgument, "key=value"}}));
  const absl::Status status = ConnectError(row.text);
  INFO(row.text);
  CHECK(status.code() == row.code);
  CHECK(Message(status).find(row.says) != std::string::npos);
  for (const char* hidden : {"secret", "/tmp", "10.0.0.1", "5432", "socket"}) CHECK(Message(status).find(hidden) == std::string::npos);
}

TEST_CASE("An error of Postgres tells its SQLSTATE to who asks, through annotations too, and nothing else does") {
  CHECK(SqlStateOf(SqlError("store", "54000", "ERROR:  no")) == "54000");
  CHECK(SqlStateOf(Annotate(SqlError("store", "XX000", ""), "journal")) == "XX000");
  CHECK(SqlStateOf(SqlError("store", "", "")) == "");
  CHECK(SqlStateOf(BrokenError("store", true)) == "");
  CHECK(SqlStateOf(absl::OkStatus()) == "");
  CHECK(Message(SqlError("store", "53100", "")).find("disk is full; make room") != std::string::npos);
}

TEST_CASE("Of a server's warnings those leave a commit in doubt that tell of a standby that was not waited for, in any language") {
  CHECK(
      MayLeaveInDoubt("WARNING:  01000: canceling wait for synchronous replication due to user request\nDETAIL:  The transaction has …\n"
                      "LOCATION:  SyncRepWaitForLSN, syncrep.c:303\n"));
  CHECK(
      MayLeaveInDoubt("WARNUNG:  01000: storniere Warten auf synchrone Replikation wegen Benutzeraufforderung\nDETAIL:  Die Transaktion …\n"
                      "ORT:  SyncRepWaitForLSN, syncrep.c:303\n"));
  CHECK(
      MayLeaveInDoubt("WARNING:  01000: ユーザーからの要求により同期レプリケーションの待ち状態をキャンセルしています\n"
                      "LOCATION:  SyncRepWaitForLSN, syncrep.c:303\n"));
  CHECK_FALSE(MayLeaveInDoubt("WARNING:  25P01: there is no transaction in progress\nLOCATION:  EndTransactionBlock, xact.c:3923\n"));
  CHECK_FALSE(
      MayLeaveInDoubt("WARNUNG:  01000: Datenbank »x« muss innerhalb von 1000 Transaktionen gevacuumt werden\n"
                      "ORT:  GetNewTransactionId, varsup.c:153\n"));
}

TEST_CASE("Only a statement that reads leaves nothing in doubt") {
  CHECK(OnlyReads("SELECT 1"));
  CHECK(OnlyReads("\n  select 1"));
  CHECK(OnlyReads("VALUES (1)"));
  CHECK_FALSE(OnlyReads("INSERT INTO t VALUES (1)"));
  CHECK_FALSE(OnlyReads("WITH x AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM x"));
  CHECK_FALSE(OnlyReads(""));
  CHECK(BrokenError("p", true).code() == StatusCode::kUnknown);
  CHECK(BrokenError("p", false).code() == StatusCode::kUnavailable);
}
