#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <future>

#include <fmt/format.h>

#include "metering/leases_postgres.h"
#include "tests/metering/writer_database.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;
using Cluster = test::PostgresCluster;

// A database and an instance that has a lease of 10 tokens of 100 there, its number 1.
struct Held : WriterDatabase {
  std::unique_ptr<base::Session> writer = Writer();
  Holder holder{base::InstanceId::New(), 1};
  PostgresLeases leases{base::SystemClock(), {.postgres = WriterOptions(), .holder = holder, .exchange_timeout = 300ms}};
  LeaseAsk ask = Month();

  Held() {
    REQUIRE(Exchange(10)->granted == 10);
    REQUIRE(Exchange(0)->granted == 10);  // Behind the pruning that follows the first one: none comes within the next minute.
  }

  LeaseAsk Month() const {
    return {.quota = base::Uuid::NewV7(), .window = WindowAt(Window::kMonth, base::SystemClock().Wall()), .amount = 100};
  }
  absl::StatusOr<LeaseState> Exchange(std::int64_t need, std::int64_t give = 0) {
    ask.need = need;
    ask.give = give;
    return Exchange(ask);
  }
  absl::StatusOr<LeaseState> Exchange(const LeaseAsk& one) {
    TG_ASSIGN(const LeaseReply reply, Send(leases, {one}));
    return reply.leases[0];
  }
  static absl::StatusOr<LeaseReply> Send(Leases& to, std::vector<LeaseAsk> asks) {
    std::promise<absl::StatusOr<LeaseReply>> reply;
    to.Exchange(std::move(asks), [&](absl::StatusOr<LeaseReply> r) { reply.set_value(std::move(r)); });
    return reply.get_future().get();
  }
  void Do(const std::string& sql) { REQUIRE(writer->RunScript("test", sql).ToString() == "OK"); }
  std::int64_t Count(const std::string& of) {
    const auto rows = writer->Run("count", "SELECT count(*) FROM metering." + of);
    REQUIRE(rows.status().ToString() == "OK");
    return rows->Int(0, 0);
  }
  // Balances of a window that was over in 1970, each with a lease that somebody closed.
  void PlantOld(int balances) {
    Do(
        fmt::format("WITH b AS (INSERT INTO metering.balance SELECT gen_random_uuid(), 0, 60000000, 5 FROM generate_series(1, {}) "
                    "RETURNING quota_id) INSERT INTO metering.lease (instance_id, epoch, number, quota_id, window_start_us, meter, closed, "
                    "granted) SELECT gen_random_uuid(), 1, 1, quota_id, 0, 1, true, 5 FROM b",
                    balances));
  }
};

// One step of pruning: how many went, and whether something is left behind (end, quota), which moves on.
struct Step {
  std::int64_t end = 0;
  std::string quota = base::Uuid().ToString();

  std::int64_t Prune(base::Session& session, std::int64_t at_most, bool* left) {
    static const std::string kPrune = "SELECT pruned, next_end, next_quota FROM metering.prune($1::int4, '1 minute', $2::int8, $3::uuid)";
    const auto rows = session.Run("prune", kPrune, {at_most, end, quota});
    REQUIRE(rows.status().ToString() == "OK");
    *left = !rows->IsNull(0, 1);
    if (*left) end = rows->Int(0, 1);
    if (*left) quota = rows->Text(0, 2);
    return rows->Int(0, 0);
  }
};

std::int64_t PruneAll(base::Session& session, std::int64_t at_most) {
  Step step;
  std::int64_t pruned = 0;
  bool left = true;
  for (int steps = 0; left; ++steps) {
    REQUIRE(steps < 100);
    const std::int64_t n = step.Prune(session, at_most, &left);
    CHECK(n <= at_most);
    pruned += n;
  }
  return pruned;
}

TEST_CASE_METHOD(Held, "A database that takes no connections for a while costs an instance no restart") {
  const std::string name = writer->Run("name", "SELECT current_database()")->Text(0, 0);
  const auto admin = Cluster::Shared().Connect(Cluster::Shared().NewDatabase());  // Nobody may close the database that he is in.
  const auto open = [&](const char* to) {
    REQUIRE(admin->RunScript("open or close", fmt::format("ALTER DATABASE \"{}\" ALLOW_CONNECTIONS {}", name, to)).ToString() == "OK");
  };
  open("false");
  REQUIRE(admin->Run("end sessions", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1::text", {name}).ok());
  const absl::Status away = Exchange(10).status();
  CHECK(away.code() == absl::StatusCode::kUnavailable);
  CHECK(base::Message(away).find("no such database") != std::string::npos);  // What base calls FAILED_PRECONDITION.
  open("true");
  CHECK(Exchange(10)->granted == 20);
}

TEST_CASE_METHOD(Held, "An exchange that a constraint forbids is no word of another owner") {
  Do("UPDATE metering.balance SET debited = 5");
  const absl::Status refused = Exchange(0, 10).status();
  CHECK(refused.code() == absl::StatusCode::kUnavailable);
  CHECK(base::Message(refused).find("SQLSTATE 23514") != std::string::npos);
  Do("UPDATE metering.balance SET debited = 10");
  CHECK(Exchange(5)->granted == 15);
}

TEST_CASE_METHOD(Held, "After the last number that a lease can have come the first again, but for those that are still kept") {
  CHECK(Exchange(1)->number == 1);
  Do("UPDATE metering.holder SET leases = 2147483646");
  for (const std::int32_t number : {2147483647, 2, 3}) {
    ask = Month();
    const auto next = Exchange(10);
    REQUIRE(next.status().ToString() == "OK");
    CHECK(next->granted == 10);
    CHECK(next->number == number);
  }
  CHECK(Count("holder WHERE leases = 3") == 1);
}

TEST_CASE_METHOD(Held, "Balances of windows long over are forgotten with their leases, but not while somebody holds one in them") {
  const auto old = [&] {
    LeaseAsk made = Month();
    made.window = WindowAt(Window::kMinute, base::SystemClock().Wall() - 3h);
    made.need = 10;
    return made;
  };
  LeaseAsk held = old(), free = old(), fresh = old();
  fresh.window = WindowAt(Window::kMinute, base::SystemClock().Wall() - 10min);
  for (LeaseAsk* one : {&held, &free, &fresh}) REQUIRE(Exchange(*one).ok());
  for (LeaseAsk* one : {&free, &fresh}) {
    one->need = 0;
    one->give = 5;
    one->close = true;
    REQUIRE(Exchange(*one)->granted == 0);
  }
  PlantOld(4);
  const std::int64_t at_most = GENERATE(1, 2, 100);
  CHECK(PruneAll(*writer, at_most) == 5);
  CHECK(Count("balance") == 3);  // This month's, the one that is held, the fresh one.
  CHECK(Count("lease") == 3);
  CHECK(PruneAll(*writer, at_most) == 0);
  held.need = 0;
  held.give = 10;
  held.close = true;
  REQUIRE(Exchange(held).ok());
  CHECK(PruneAll(*writer, at_most) == 1);
  // Whoever comes back to such a window after all starts it anew.
  CHECK(Exchange(free)->granted == 0);
}

TEST_CASE_METHOD(Held, "One instance prunes at a time, and what another transaction holds is passed over") {
  PlantOld(3);
  const auto other = Writer();
  const auto during = [&](const char* sql, std::int64_t pruned) {
    const absl::Status status = other->InTransaction("hold", [&](base::Session& in) -> absl::Status {
      TG_RETURN_IF_ERROR(in.Run("hold", sql).status());
      CHECK(PruneAll(*writer, 10) == pruned);
      return base::Cancelled("as it was");
    });
    CHECK(status.code() == absl::StatusCode::kCancelled);
  };
  during("SELECT FROM metering.prune(1, '1 minute', 0, '00000000-0000-0000-0000-000000000000')", 0);
  during("SELECT FROM metering.balance WHERE window_end_us = 60000000 LIMIT 1 FOR UPDATE", 2);
  CHECK(PruneAll(*writer, 10) == 1);
}

TEST_CASE_METHOD(Held, "Holders that were closed a month ago are forgotten, but for the latest, and for those with leases to bring home") {
  const std::string instance = base::Uuid::NewV7().ToString();
  for (const int epoch : {1, 2, 3, 4}) {
    Do(fmt::format(
        "INSERT INTO metering.holder (instance_id, epoch, closed, renewed_at) VALUES ('{}', {}, true, now() - interval '{} days')",
        instance, epoch, epoch == 2 ? 29 : 31));
  }
  Do(
      fmt::format("INSERT INTO metering.lease (instance_id, epoch, number, quota_id, window_start_us, meter, granted) "
                  "VALUES ('{}', 3, 1, gen_random_uuid(), 0, 1, 5)",
                  instance));
  CHECK(PruneAll(*writer, 100) == 0);
  CHECK(Count("holder WHERE epoch = 1 AND closed") == 0);
  CHECK(Count("holder WHERE closed") == 3);
  CHECK(Count("holder WHERE NOT closed") == 1);  // Who prunes.
}

TEST_CASE_METHOD(Held, "Old windows go step by step between exchanges, with nobody who asks for it, also while one of them is locked") {
  PlantOld(5'000);
  PostgresLeases second{base::SystemClock(), {.postgres = WriterOptions(), .holder = {base::InstanceId::New(), 1}}};
  const auto other = Writer();
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  const absl::Status status = other->InTransaction("hold", [&](base::Session& in) -> absl::Status {
    TG_RETURN_IF_ERROR(in.Run("hold", "SELECT FROM metering.balance WHERE window_end_us = 60000000 LIMIT 1 FOR UPDATE").status());
    REQUIRE(Send(second, {}).status().ToString() == "OK");
    std::int64_t left = 5'000;
    while (left > 1 && std::chrono::steady_clock::now() < deadline) {
      if (left < 2'500) REQUIRE(Send(second, {}).status().ToString() == "OK");  // Before that nobody asks for anything.
      left = Count("balance WHERE window_end_us = 60000000");
    }
    CHECK(left == 1);
    return absl::OkStatus();
  });
  CHECK(status.ToString() == "OK");
  CHECK(Count("lease WHERE closed") == 1);
}

}  // namespace
}  // namespace tollgate::metering
