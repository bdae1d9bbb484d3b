// The session against a real Postgres: values, transactions, errors.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/postgres.h"
#include "tests/support/postgres_cluster.h"

using namespace tollgate::base;
using tollgate::test::PostgresCluster;

namespace {

struct Fixture {
  PostgresCluster& cluster = PostgresCluster::Shared();
  std::string url = cluster.NewDatabase();
  std::unique_ptr<Session> session = cluster.Connect(url);

  Fixture() {
    REQUIRE(session->RunScript("schema", "CREATE TABLE t (n int8 PRIMARY KEY, s text, b bytea, CHECK (n < 1000)); CREATE INDEX ON t (s);")
                .ok());
  }
  void SetForDatabase(const std::string& setting) {
    const std::string name = session->Run("name", "SELECT current_database()")->Text(0, 0);
    REQUIRE(session->Run("set", "ALTER DATABASE " + name + " " + setting).ok());
  }
  std::int64_t Count() { return session->Run("count", "SELECT count(*) FROM t")->Int(0, 0); }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "Every kind of value comes back as it went in") {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const auto made = session->Run("insert", "INSERT INTO t VALUES ($1, $2, $3), ($4, $5, $6)",
                                 {std::int64_t{1}, std::string("it's \"é\" \\"), Blob{all}, INT64_MIN, std::monostate(), Blob{""}});
  REQUIRE(made.ok());
  CHECK(made->affected() == 2);
  const auto rows = session->Run("read", "SELECT n, s, b, n > 0, b IS NULL FROM t ORDER BY n");
  REQUIRE(rows->size() == 2);
  CHECK(rows->Int(0, 0) == INT64_MIN);
  CHECK(rows->IsNull(0, 1));
  CHECK(rows->Bytes(0, 2).empty());
  CHECK_FALSE(rows->Bool(0, 3));
  CHECK(rows->Text(1, 1) == "it's \"é\" \\");
  CHECK(rows->Bytes(1, 2) == all);
  CHECK(rows->Bool(1, 3));
}

TEST_CASE_METHOD(Fixture, "Arrays carry nulls, quotes and bytes through unnest") {
  const Value numbers = ArrayOf({std::int64_t{1}, std::int64_t{2}, std::int64_t{3}});
  const Value texts = ArrayOf({std::string("NULL"), std::monostate(), std::string("a,\"b\"\\{}'\n")});
  const Value blobs = ArrayOf({Blob{std::string("\0\\\"", 3)}, Blob{""}, std::monostate()});
  REQUIRE(session->Run("insert", "INSERT INTO t SELECT * FROM unnest($1::int8[], $2::text[], $3::bytea[])", {numbers, texts, blobs})
              ->affected() == 3);
  const auto rows = session->Run("read", "SELECT s, b FROM t ORDER BY n");
  CHECK(rows->Text(0, 0) == "NULL");
  CHECK(rows->IsNull(1, 0));
  CHECK(rows->Text(2, 0) == "a,\"b\"\\{}'\n");
  CHECK(rows->Bytes(0, 1) == std::string("\0\\\"", 3));
  CHECK(rows->Bytes(1, 1).empty());
  CHECK(rows->IsNull(2, 1));
  CHECK(session->Run("empty", "SELECT count(*) FROM unnest($1::uuid[])", {ArrayOf({})})->Int(0, 0) == 0);
}

TEST_CASE_METHOD(Fixture, "Errors have the code of their kind and never the value") {
  REQUIRE(session->Run("insert", "INSERT INTO t VALUES (7)").ok());
  struct Row {
    const char* sql;
    absl::StatusCode code;
  };
  const auto row = GENERATE(values<Row>({{"INSERT INTO t VALUES ($1::int8)", absl::StatusCode::kAlreadyExists},
                                         {"INSERT INTO t VALUES ($1::int8 + 7000)", absl::StatusCode::kFailedPrecondition},
                                         {"INSERT INTO absent VALUES ($1::int8)", absl::StatusCode::kInternal},
                                         {"SELECT ('secret' || $1::text)::uuid", absl::StatusCode::kInvalidArgument}}));
  const auto failed = session->Run("do it", row.sql, {std::int64_t{7}});
  CHECK(failed.status().code() == row.code);
  CHECK(Message(failed.status()).starts_with("do it: "));
  CHECK(Message(failed.status()).find("secret") == std::string::npos);
  CHECK_FALSE(session->broken());
  CHECK(Count() == 1);
}

TEST_CASE_METHOD(Fixture, "An error's text is one line with its SQLSTATE once, also of what commits by itself and of a COMMIT") {
  REQUIRE(session
              ->RunScript(
                  "schema",
                  "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not so' USING DETAIL = 'secret', "
                  "HINT = 'secret'; END $$; CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH "
                  "ROW EXECUTE FUNCTION refuse()")
              .ok());
  const auto insert = [](Session& s) { return s.Run("p", "INSERT INTO t VALUES (1, 'secret')").status(); };
  CHECK(Message(insert(*session)) == "p: Postgres refused the statement (SQLSTATE P0001): not so");
  CHECK(Message(session->InTransaction("p", insert)) == "p: Postgres refused the statement (SQLSTATE P0001): not so");
  CHECK(Message(session->Run("p", "INSERT INTO absent VALUES ('secret')").status()) ==
        "p: Postgres refused the statement (SQLSTATE 42P01): relation \"absent\" does not exist");
  CHECK(Message(session->RunScript("p", "SELECT 1; FRMO t")).ends_with("syntax error at or near \"FRMO\" at character 11"));
}

TEST_CASE_METHOD(Fixture, "A transaction stands or falls as a whole") {
  CHECK(session
            ->InTransaction("both",
                            [](Session& s) {
                              TG_RETURN_IF_ERROR(s.Run("one", "INSERT INTO t VALUES (1)").status());
                              return s.Run("two", "INSERT INTO t VALUES (2)").status();
                            })
            .ok());
  CHECK(Count() == 2);
  const absl::Status failed = session->InTransaction("neither", [](Session& s) {
    TG_RETURN_IF_ERROR(s.Run("three", "INSERT INTO t VALUES (3)").status());
    return s.Run("two again", "INSERT INTO t VALUES (2)").status();
  });
  CHECK(failed.code() == absl::StatusCode::kAlreadyExists);
  CHECK(Count() == 2);
  CHECK(session
            ->InTransaction("no",
                            [](Session& s) {
                              TG_RETURN_IF_ERROR(s.Run("four", "INSERT INTO t VALUES (4)").status());
                              return FailedPrecondition("thought better of it");
                            })
            .code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Count() == 2);
}

TEST_CASE_METHOD(Fixture, "A body that goes on after a failed statement cannot commit half") {
  const absl::Status outcome = session->InTransaction("swallow", [](Session& s) {
    TG_RETURN_IF_ERROR(s.Run("one", "INSERT INTO t VALUES (1)").status());
    (void)s.Run("fails", "INSERT INTO t VALUES (1)");
    return absl::OkStatus();
  });
  CHECK_FALSE(outcome.ok());
  CHECK(Count() == 0);
  CHECK_FALSE(session->broken());
}

TEST_CASE_METHOD(Fixture, "A deferred constraint that fails at the commit is an error, not a doubt") {
  REQUIRE(session->RunScript("schema", "CREATE TABLE u (n int8 REFERENCES t DEFERRABLE INITIALLY DEFERRED)").ok());
  CHECK(session->InTransaction("commit", [](Session& s) { return s.Run("orphan", "INSERT INTO u VALUES (5)").status(); }).code() ==
        absl::StatusCode::kFailedPrecondition);
  CHECK(session->Run("orphan", "INSERT INTO u VALUES (5)").status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE_METHOD(Fixture, "A script runs whole or not at all") {
  CHECK_FALSE(session->RunScript("script", "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1);").ok());
  CHECK(Count() == 0);
}

TEST_CASE_METHOD(Fixture, "A lock held by another is ABORTED after the lock's time limit") {
  auto options = cluster.Options(url);
  options.lock_timeout = std::chrono::milliseconds(50);
  auto other = *Session::Connect(options);
  CHECK(session
            ->InTransaction("hold",
                            [&](Session& s) {
                              TG_RETURN_IF_ERROR(s.Run("lock", "LOCK TABLE t").status());
                              CHECK(other->Run("read", "SELECT count(*) FROM t").status().code() == absl::StatusCode::kAborted);
                              return absl::OkStatus();
                            })
            .ok());
}

TEST_CASE_METHOD(Fixture, "A statement over its time limit ends, and the session goes on") {
  auto options = cluster.Options(url);
  options.statement_timeout = std::chrono::milliseconds(50);
  auto limited = *Session::Connect(options);
  CHECK(limited->Run("sleep", "SELECT pg_sleep(30)").status().code() == absl::StatusCode::kUnavailable);
  CHECK_FALSE(limited->broken());
  CHECK(limited->Run("read", "SELECT 1").ok());
}

TEST_CASE_METHOD(Fixture, "No session is made where nothing may be written, whatever the URL says, and one is as soon as it may") {
  SetForDatabase("SET default_transaction_read_only = on");
  auto options = cluster.Options(url);
  for (const char* also : {"", "&target_session_attrs=any", "&target_session_attrs=prefer-standby"}) {
    options.url = url + also;
    const auto refused = Session::Connect(options);
    INFO(also << " " << Message(refused.status()));
    CHECK(refused.status().code() == absl::StatusCode::kUnavailable);
    CHECK(Message(refused.status()).find("default_transaction_read_only is on there; give the primary's address") != std::string::npos);
  }
  SetForDatabase("RESET default_transaction_read_only");
  CHECK(Session::Connect(options).ok());
}

TEST_CASE_METHOD(Fixture, "A session that meets a server which has become read-only is broken, so that another one is made") {
  REQUIRE(session->Run("as a reload does", "SELECT set_config('default_transaction_read_only', 'on', false)").ok());
  CHECK(session->Run("read", "SELECT count(*) FROM t").ok());
  CHECK_FALSE(session->broken());
  SECTION("by itself") {
    const absl::Status refused = session->Run("write", "INSERT INTO t VALUES (1)").status();
    CHECK(refused.code() == absl::StatusCode::kUnavailable);
    CHECK(SqlStateOf(refused) == "25006");
  }
  SECTION("in a transaction") {
    const auto write = [](Session& s) { return s.Run("write", "INSERT INTO t VALUES (1)").status(); };
    CHECK(session->InTransaction("write", write).code() == absl::StatusCode::kUnavailable);
  }
  CHECK(session->broken());
}

TEST_CASE_METHOD(Fixture, "What a session commits is on disk, however the database is set, and no reload changes that") {
  struct Row {
    const char* set;
    const char* in_session;
  };
  const auto row =
      GENERATE(values<Row>({{"off", "on"}, {"local", "on"}, {"remote_write", "on"}, {"on", "on"}, {"remote_apply", "remote_apply"}}));
  SetForDatabase(std::string("SET synchronous_commit = ") + row.set);
  auto fresh = cluster.Connect(url);
  const auto setting = fresh->Run("ask", "SELECT setting, source FROM pg_settings WHERE name = 'synchronous_commit'");
  CHECK(setting->Text(0, 0) == row.in_session);
  CHECK(setting->Text(0, 1) == "session");
}

TEST_CASE_METHOD(Fixture, "A transaction may be silent for the statement's limit and five seconds, or for as long as is asked for") {
  auto options = cluster.Options(url);
  options.statement_timeout = std::chrono::milliseconds(700);
  options.idle_timeout = std::chrono::milliseconds(0);
  const auto limit = [&] {
    return (*Session::Connect(options))
        ->Run("ask", "SELECT setting FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'")
        ->Text(0, 0);
  };
  CHECK(limit() == "5700");
  options.idle_timeout = std::chrono::milliseconds(123);
  CHECK(limit() == "123");
}

TEST_CASE_METHOD(Fixture, "A session takes the role it is told to") {
  REQUIRE(session
              ->RunScript("role",
                          "DO $$ BEGIN CREATE ROLE base_reader NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT SELECT ON "
                          "t TO base_reader;")
              .ok());
  auto options = cluster.Options(url);
  options.role = "base_reader";
  auto reader = *Session::Connect(options);
  CHECK(reader->Run("who", "SELECT current_user")->Text(0, 0) == "base_reader");
  CHECK(reader->Run("read", "SELECT count(*) FROM t")->Int(0, 0) == 0);
  const auto written = reader->Run("write", "INSERT INTO t VALUES (1)");
  INFO(Message(written.status()));
  CHECK(written.status().code() == absl::StatusCode::kPermissionDenied);
  options.role = "no_such_role";
  CHECK_FALSE(Session::Connect(options).ok());
}

TEST_CASE_METHOD(Fixture, "More texts than are kept prepared still run") {
  for (int i = 0; i < 300; ++i)
    REQUIRE(session->Run("read", "SELECT " + std::to_string(i) + " + $1::int8", {std::int64_t{1}})->Int(0, 0) == i + 1);
  CHECK(session->Run("kept", "SELECT count(*) FROM pg_prepared_statements")->Int(0, 0) <= 256);
}

TEST_CASE("Databases made from migrations are apart from one another") {
  auto& cluster = PostgresCluster::Shared();
  const std::string first = cluster.NewDatabase({"tests/base/data/migrations"});
  const std::string second = cluster.NewDatabase({"tests/base/data/migrations"});
  CHECK(first != second);
  CHECK(cluster.Connect(first)->Run("use", "INSERT INTO made VALUES (2)").ok());
  CHECK(cluster.Connect(second)->Run("use", "SELECT count(*) FROM made")->Int(0, 0) == 1);
}
