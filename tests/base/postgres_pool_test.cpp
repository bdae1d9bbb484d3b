// The pool: bounds, waiting, reconnection, its end.
#include <atomic>
#include <future>

#include <catch2/catch_test_macros.hpp>

#include "base/postgres_pool.h"
#include "tests/support/postgres_cluster.h"

using namespace tollgate::base;
using tollgate::test::PostgresCluster;

namespace {

struct Fixture {
  PostgresCluster& cluster = PostgresCluster::Shared();
  std::string url = cluster.NewDatabase();

  SessionPool::Options Options(int sessions) const {
    SessionPool::Options options;
    options.postgres = cluster.Options(url);
    options.sessions = sessions;
    options.queue_timeout = std::chrono::milliseconds(30000);
    return options;
  }
};

absl::Status Select(Session& session) { return session.Run("read", "SELECT 1").status(); }

}  // namespace

TEST_CASE_METHOD(Fixture, "Jobs run at the same time on as many sessions as there are") {
  SessionPool pool(Options(2));
  std::promise<void> first, second;
  // Each waits for the other, which one session could never do.
  REQUIRE(pool.Submit([&](absl::StatusOr<Session*> session) {
                CHECK(session.ok());
                first.set_value();
                second.get_future().wait();
              })
              .ok());
  CHECK(pool.RunAndWait([&](Session& session) {
              first.get_future().wait();
              second.set_value();
              return Select(session);
            })
            .ok());
}

TEST_CASE_METHOD(Fixture, "A full queue refuses, and a job that waited too long is answered while every session is busy") {
  SessionPool::Options options = Options(1);
  options.queue_max = 1;
  options.queue_timeout = std::chrono::milliseconds(100);
  SessionPool pool(options);
  std::promise<void> started, go;
  std::future<void> released = go.get_future();
  absl::Status taken = absl::UnavailableError("");
  // The first job may wait longer than the queue's limit for the first connection.
  while (!taken.ok()) {
    std::promise<absl::Status> answer;
    REQUIRE(pool.Submit([&](absl::StatusOr<Session*> session) {
                  answer.set_value(session.status());
                  if (session.ok()) released.wait();
                })
                .ok());
    taken = answer.get_future().get();
  }
  std::promise<absl::Status> waited;
  REQUIRE(pool.Submit([&](absl::StatusOr<Session*> session) { waited.set_value(session.status()); }).ok());
  CHECK(pool.Submit([](absl::StatusOr<Session*>) {}).code() == absl::StatusCode::kResourceExhausted);
  const absl::Status answer = waited.get_future().get();
  CHECK(answer.code() == absl::StatusCode::kUnavailable);
  CHECK(Message(answer).find("Postgres cannot be reached") == 0);
  go.set_value();
}

TEST_CASE_METHOD(Fixture, "The pool comes back by itself after Postgres was killed") {
  SessionPool pool(Options(2));
  REQUIRE(pool.RunAndWait(Select).ok());
  cluster.Kill9();
  cluster.Start();
  CHECK(pool.RunAndWait(Select).ok());
  CHECK(pool.RunAndWait(Select).ok());
}

TEST_CASE_METHOD(Fixture, "While Postgres is down a job is told so in time, without hosts") {
  SessionPool::Options options = Options(2);
  options.queue_timeout = std::chrono::milliseconds(200);
  cluster.Stop();
  {
    SessionPool pool(options);
    const absl::Status answer = pool.RunAndWait(Select);
    CHECK(answer.code() == absl::StatusCode::kUnavailable);
    CHECK(Message(answer).find("Postgres cannot be reached") == 0);
    CHECK(Message(answer).find("/tmp") == std::string::npos);
  }
  cluster.Start();
}

TEST_CASE_METHOD(Fixture, "What still waits when the pool ends is CANCELLED, and what runs finishes") {
  std::promise<void> started;
  std::promise<absl::Status> waiting;
  std::atomic<bool> finished = false;
  {
    SessionPool pool(Options(1));
    REQUIRE(pool.Submit([&](absl::StatusOr<Session*> session) {
                  REQUIRE(session.ok());
                  started.set_value();
                  finished = (*session)->Run("sleep", "SELECT pg_sleep(0.2)").ok();
                })
                .ok());
    started.get_future().wait();
    REQUIRE(pool.Submit([&](absl::StatusOr<Session*> session) { waiting.set_value(session.status()); }).ok());
  }
  CHECK(finished);
  CHECK(waiting.get_future().get().code() == absl::StatusCode::kCancelled);
}

TEST_CASE_METHOD(Fixture, "Stop has the server end what runs, statement by statement, and takes nothing more") {
  SessionPool::Options options = Options(2);
  options.postgres.statement_timeout = std::chrono::seconds(600);
  options.postgres.role = "pg_monitor";  // May not itself cancel what its login runs.
  SessionPool pool(options);
  std::promise<void> started[2];
  std::promise<absl::Status> ended[2], waiting;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(pool.Submit([&, i](absl::StatusOr<Session*> session) {
                  REQUIRE(session.ok());
                  started[i].set_value();
                  absl::Status first = (*session)->Run("sleep", "SELECT pg_sleep(600)").status();
                  // The second job does not give up at its first failure.
                  if (i == 1) first = (*session)->Run("sleep", "SELECT pg_sleep(600)").status();
                  ended[i].set_value(first);
                })
                .ok());
  }
  for (auto& job : started) job.get_future().wait();
  REQUIRE(pool.Submit([&](absl::StatusOr<Session*> session) { waiting.set_value(session.status()); }).ok());
  pool.Stop(std::chrono::seconds(60));
  CHECK(waiting.get_future().get().code() == absl::StatusCode::kCancelled);
  for (auto& job : ended) {
    auto result = job.get_future();
    REQUIRE(result.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
    CHECK(result.get().code() == absl::StatusCode::kUnavailable);
  }
  CHECK(pool.RunAndWait(Select).code() == absl::StatusCode::kCancelled);
}
