// The session while Postgres is killed, stopped and frozen.
#include <atomic>
#include <chrono>
#include <thread>

#include <catch2/catch_test_macros.hpp>

#include "base/postgres.h"
#include "tests/support/postgres_cluster.h"

using namespace tollgate::base;
using tollgate::test::PostgresCluster;

namespace {

struct Fixture {
  PostgresCluster& cluster = PostgresCluster::Shared();
  std::string url = cluster.NewDatabase();
  std::unique_ptr<Session> session = cluster.Connect(url);

  // Ends the session's backend from another session while it runs `sql`.
  absl::Status EndDuring(const char* function, const std::string& sql) {
    const std::int64_t backend = session->Run("pid", "SELECT pg_backend_pid()")->Int(0, 0);
    std::thread killer([&] {
      auto other = cluster.Connect(url);
      while (!other->Run("wait", "SELECT state = 'active' AND wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1", {backend})
                  ->Bool(0, 0)) {
        std::this_thread::yield();
      }
      CHECK(other->Run("end", std::string("SELECT ") + function + "($1::int)", {backend}).ok());
    });
    const absl::Status outcome = session->Run("sleep", sql).status();
    killer.join();
    return outcome;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "A session that an administrator ends is UNAVAILABLE and broken") {
  CHECK(EndDuring("pg_terminate_backend", "SELECT pg_sleep(30)").code() == absl::StatusCode::kUnavailable);
  CHECK(session->broken());
  CHECK(session->Run("again", "SELECT 1").status().code() == absl::StatusCode::kUnavailable);
  CHECK(session->InTransaction("again", [](Session&) { return absl::OkStatus(); }).code() == absl::StatusCode::kUnavailable);
}

TEST_CASE_METHOD(Fixture, "A cancelled statement is UNAVAILABLE, and the session goes on") {
  CHECK(EndDuring("pg_cancel_backend", "SELECT pg_sleep(30)").code() == absl::StatusCode::kUnavailable);
  CHECK_FALSE(session->broken());
}

TEST_CASE_METHOD(Fixture, "Cancel ends what runs, from another thread") {
  const std::int64_t backend = session->Run("pid", "SELECT pg_backend_pid()")->Int(0, 0);
  std::thread canceller([&] {
    auto other = cluster.Connect(url);
    while (
        !other
             ->Run("wait",
                   "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1 AND wait_event IS NOT NULL UNION ALL SELECT false",
                   {backend})
             ->Bool(0, 0)) {
      std::this_thread::yield();
    }
    session->Cancel();
  });
  CHECK(session->Run("sleep", "SELECT pg_sleep(4)").status().code() == absl::StatusCode::kUnavailable);
  canceller.join();
  CHECK(session->Run("next", "SELECT 1").ok());
}

TEST_CASE_METHOD(Fixture, "A write that was on its way when Postgres was killed is in doubt; a read is not") {
  for (const bool write : {true, false}) {
    auto victim = cluster.Connect(url);
    REQUIRE(victim->RunScript("schema", "CREATE TABLE IF NOT EXISTS w (n int8)").ok());
    std::thread killer([&] {
      auto other = cluster.Connect(url);
      while (other->Run("wait", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")->Int(0, 0) == 0)
        std::this_thread::yield();
      other.reset();
      cluster.Kill9();
    });
    const absl::Status outcome = victim->Run("work", write ? "INSERT INTO w SELECT 1 FROM pg_sleep(30)" : "SELECT pg_sleep(30)").status();
    killer.join();
    CHECK(outcome.code() == (write ? absl::StatusCode::kUnknown : absl::StatusCode::kUnavailable));
    CHECK(victim->broken());
    cluster.Start();
  }
}

TEST_CASE_METHOD(Fixture, "Who stands still within a transaction loses it and its locks: others go on, and nothing of it is in doubt") {
  REQUIRE(session->RunScript("schema", "CREATE TABLE h (n int8); INSERT INTO h VALUES (1)").ok());
  auto options = cluster.Options(url);
  options.idle_timeout = std::chrono::milliseconds(50);
  auto paused = *Session::Connect(options);
  options.lock_timeout = options.statement_timeout = std::chrono::seconds(60);
  auto other = *Session::Connect(options);
  const absl::Status outcome = paused->InTransaction("pause", [&](Session& s) -> absl::Status {
    TG_RETURN_IF_ERROR(s.Run("hold", "UPDATE h SET n = 2").status());
    CHECK(other->Run("take", "SELECT n FROM h FOR UPDATE")->Int(0, 0) == 1);
    while (!s.broken()) std::this_thread::yield();
    return absl::OkStatus();
  });
  INFO(Message(outcome));
  CHECK(outcome.code() == absl::StatusCode::kUnavailable);
  CHECK(session->Run("read", "SELECT n FROM h")->Int(0, 0) == 1);
}

TEST_CASE_METHOD(Fixture, "A commit whose wait for a standby was cancelled is in doubt: it may be on this server alone") {
  REQUIRE(session->RunScript("schema", "CREATE TABLE w (n int8)").ok());
  auto other = cluster.Connect(url);
  const auto set = [&](const std::string& how) {
    CHECK(other->Run("set", "ALTER SYSTEM " + how).ok());
    CHECK(other->Run("reload", "SELECT pg_reload_conf()").ok());
  };
  set("SET synchronous_standby_names = 'nobody'");
  const std::int64_t backend = session->Run("pid", "SELECT pg_backend_pid()")->Int(0, 0);
  std::atomic<bool> waited{false};
  std::thread canceller([&] {
    while (
        !other->Run("wait", "SELECT coalesce(wait_event = 'SyncRep', false) FROM pg_stat_activity WHERE pid = $1", {backend})->Bool(0, 0))
      std::this_thread::yield();
    waited = true;
    CHECK(other->Run("cancel", "SELECT pg_cancel_backend($1::int)", {backend}).ok());
  });
  absl::Status outcome;
  while (!waited) outcome = session->Run("write", "INSERT INTO w VALUES (1)").status();  // The server takes the setting up in its own time.
  canceller.join();
  set("RESET synchronous_standby_names");
  INFO(Message(outcome));
  CHECK(outcome.code() == absl::StatusCode::kUnknown);
  CHECK_FALSE(session->broken());
}

TEST_CASE_METHOD(Fixture, "A server's other warnings leave nothing in doubt, in whatever letters, and come as often as they will") {
  REQUIRE(
      session
          ->RunScript("schema",
                      "CREATE TABLE w (n int8); CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                      "RAISE WARNING 'Datenbank »w« muss bald gevacuumt werden'; RETURN NULL; END $$; "
                      "CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON w DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()")
          .ok());
  const auto insert = [](Session& s) { return s.Run("write", "INSERT INTO w VALUES (1)").status(); };
  for (int i = 0; i < 2; ++i) {
    CHECK(insert(*session).ok());
    CHECK(session->InTransaction("write", insert).ok());
  }
  CHECK(session->Run("count", "SELECT count(*) FROM w")->Int(0, 0) == 4);
}

TEST_CASE_METHOD(Fixture, "While Postgres is down nothing connects, and the reason names no host") {
  cluster.Stop();
  CHECK(session->broken());
  const auto refused = Session::Connect(cluster.Options(url));
  CHECK(refused.status().code() == absl::StatusCode::kUnavailable);
  CHECK(Message(refused.status()).find("Postgres cannot be reached") == 0);
  CHECK(Message(refused.status()).find("/tmp") == std::string::npos);
  cluster.Start();
  CHECK(cluster.Connect(url)->Run("read", "SELECT 1").ok());
}

TEST_CASE_METHOD(Fixture, "A frozen Postgres holds a caller no longer than the statement's limit and a second") {
  auto options = cluster.Options(url);
  options.statement_timeout = std::chrono::milliseconds(200);
  auto limited = *Session::Connect(options);
  cluster.SigStop();
  const auto start = std::chrono::steady_clock::now();
  CHECK(limited->Run("read", "SELECT 1").status().code() == absl::StatusCode::kUnavailable);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
  CHECK(limited->broken());
  CHECK(Session::Connect(options).status().code() == absl::StatusCode::kUnavailable);
  cluster.SigCont();
  CHECK(cluster.Connect(url)->Run("read", "SELECT 1").ok());
}
