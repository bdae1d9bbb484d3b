#include <catch2/catch_test_macros.hpp>

#include <future>
#include <map>
#include <random>
#include <thread>

#include "base/error_detail.h"
#include "metering/leases_postgres.h"
#include "tests/metering/rows.h"
#include "tests/metering/writer_database.h"
#include "tests/support/random.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;
using Cluster = test::PostgresCluster;

QuotaRule Rule(Meter meter, Window window, std::int64_t amount) {
  return {base::Uuid::NewV7(), {Scope::Kind::kTeam, base::Uuid::NewV7(), "search"}, meter, window, amount};
}

struct Database : WriterDatabase {
  std::string writer = Cluster::Shared().UrlAs(url, "tollgate_writer");

  std::unique_ptr<PostgresLeases> Leases(const Holder& holder, std::chrono::milliseconds timeout = 3000ms) const {
    return std::make_unique<PostgresLeases>(
        base::SystemClock(), PostgresLeasesOptions{.postgres = WriterOptions(), .holder = holder, .exchange_timeout = timeout});
  }
  std::int64_t Debited(const base::Uuid& quota) const {
    const auto rows = Cluster::Shared().Connect(url)->Run(
        "debited", "SELECT coalesce(sum(debited), 0)::int8 FROM metering.balance WHERE quota_id = $1::uuid", {quota.ToString()});
    REQUIRE(rows.ok());
    return rows->Int(0, 0);
  }
};

LeaseAsk AskOf(const QuotaRule& rule, std::int64_t need, std::int64_t want = 0, std::int64_t give = 0, bool close = false) {
  return {rule.id, rule.meter, WindowAt(rule.window, base::SystemClock().Wall()), rule.amount, need, want, give, close};
}

absl::StatusOr<LeaseReply> Exchange(Leases& leases, std::vector<LeaseAsk> asks) {
  std::promise<absl::StatusOr<LeaseReply>> reply;
  leases.Exchange(std::move(asks), [&](absl::StatusOr<LeaseReply> r) { reply.set_value(std::move(r)); });
  return reply.get_future().get();
}

Holder NewHolder() { return {base::InstanceId::New(), 1}; }

TEST_CASE("A lease is granted in need as far as the balance goes, in want from a fair share") {
  const Database db;
  const QuotaRule rule = Rule(Meter::kTokens, Window::kMonth, 1000);
  const auto a = db.Leases(NewHolder()), b = db.Leases(NewHolder());
  REQUIRE(Exchange(*a, {}).ok());
  REQUIRE(Exchange(*b, {}).ok());
  struct Step {
    Leases* who;
    std::int64_t need, want, give, granted, debited;
  };
  const Step steps[] = {
      {a.get(), 0, 10'000, 0, 250, 250},    // 1000 / (2 x 2)
      {b.get(), 100, 10'000, 0, 187, 437},  // 750 / 4
      {b.get(), 500, 0, 0, 687, 937},       // need goes over the share
      {a.get(), 100, 0, 0, 313, 1000},      // 63 were left
      {a.get(), 1, 1, 0, 313, 1000},        // none
      {b.get(), 0, 0, 87, 600, 913},        // given back
      {b.get(), 0, 0, 10'000, 0, 313},      // never more than it holds
      {a.get(), 687, 0, 0, 1000, 1000},     // to the last token
  };
  for (const Step& s : steps) {
    const auto reply = Exchange(*s.who, {AskOf(rule, s.need, s.want, s.give)});
    REQUIRE(reply.status().ToString() == "OK");
    CHECK(reply->holders == 2);
    CHECK(reply->leases[0].granted == s.granted);
    CHECK(reply->leases[0].debited == s.debited);
  }
}

TEST_CASE("An exchange answers the database's clock and each ask in its place") {
  const Database db;
  const auto leases = db.Leases(NewHolder());
  const QuotaRule a = Rule(Meter::kTokens, Window::kMonth, 10), b = Rule(Meter::kRequests, Window::kMinute, 20);
  const auto reply = Exchange(*leases, {AskOf(b, 7), AskOf(a, 3), AskOf(Rule(Meter::kTokens, Window::kDay, 0), 5)});
  REQUIRE(reply.ok());
  CHECK(reply->leases[0].granted == 7);
  CHECK(reply->leases[1].granted == 3);
  CHECK(reply->leases[2].granted == 0);
  const auto drift = reply->database_time - base::SystemClock().Wall();
  CHECK(std::chrono::abs(drift) < 1min);
}

TEST_CASE("A closed lease is forgotten, its balance is not") {
  const Database db;
  const auto leases = db.Leases(NewHolder());
  const QuotaRule rule = Rule(Meter::kTokens, Window::kMonth, 100);
  REQUIRE(Exchange(*leases, {AskOf(rule, 60)}).ok());
  const auto closed = Exchange(*leases, {AskOf(rule, 0, 0, 20, true)});
  REQUIRE(closed.ok());
  CHECK(closed->leases[0].granted == 0);
  CHECK(db.Debited(rule.id) == 40);
}

TEST_CASE("Many instances at once never get more than there is, and need gets all of it") {
  const Database db;
  const QuotaRule rule = Rule(Meter::kTokens, Window::kMonth, 5'003);
  std::vector<std::unique_ptr<PostgresLeases>> holders;
  for (int i = 0; i < 6; ++i) holders.push_back(db.Leases(NewHolder(), 20s));
  std::vector<std::thread> threads;
  std::vector<std::int64_t> got(holders.size());
  for (std::size_t i = 0; i < holders.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < 60; ++n) {
        const auto reply = Exchange(*holders[i], {AskOf(rule, 20, 50, n % 5)});
        if (reply.ok()) got[i] = reply->leases[0].granted;
      }
    });
  }
  for (auto& t : threads) t.join();
  std::int64_t sum = 0;
  for (const auto n : got) sum += n;
  CHECK(sum == db.Debited(rule.id));
  CHECK(sum <= 5'003);
  CHECK(sum > 5'003 - 6 * 5);
}

TEST_CASE("An exchange that is sent twice is done once") {
  const Database db;
  const auto session = db.Writer();
  const base::Uuid instance = base::Uuid::NewV7(), life = base::Uuid::NewV7(), quota = base::Uuid::NewV7();
  REQUIRE(session->Run("open", "SELECT metering.open_holder($1::uuid, 1, $2::uuid)", {instance.ToString(), life.ToString()})->Bool(0, 0));
  const auto send = [&](std::int64_t seq) {
    return session->Run(
        "exchange",
        "SELECT ord, granted, debited FROM metering.exchange($1::uuid, 1, $2::uuid, $3::int8, ARRAY[$4::uuid], ARRAY[1::int2], "
        "ARRAY[0::int8], ARRAY[60000000::int8], ARRAY[1000::int8], ARRAY[100::int8], ARRAY[0::int8], ARRAY[0::int8], ARRAY[false])",
        {instance.ToString(), life.ToString(), seq, quota.ToString()});
  };
  for (const std::int64_t seq : {1, 1, 1}) {
    const auto rows = send(seq);
    REQUIRE(rows.ok());
    CHECK(rows->Int(1, 1) == 100);
    CHECK(rows->Int(1, 2) == 100);
  }
  CHECK(send(2)->Int(1, 1) == 200);
  CHECK(base::SqlStateOf(send(1).status()) == "TG001");  // Late.
  CHECK(base::SqlStateOf(send(4).status()) == "TG001");
}

TEST_CASE("One epoch has one life; a second process is refused") {
  const Database db;
  const Holder holder = NewHolder();
  const auto first = db.Leases(holder), second = db.Leases(holder);
  REQUIRE(Exchange(*first, {}).ok());
  CHECK(Exchange(*second, {}).status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Exchange(*first, {}).ok());
}

TEST_CASE("Adoption brings home what usage rows do not say was used, once, and fences the old holder") {
  const Database db;
  const auto session = db.Writer();
  const Holder dead = NewHolder();
  const auto leases = db.Leases(dead);
  const QuotaRule tokens = Rule(Meter::kTokens, Window::kMonth, 10'000), requests = Rule(Meter::kRequests, Window::kMonth, 100);
  const auto granted = Exchange(*leases, {AskOf(tokens, 500), AskOf(requests, 10)});
  REQUIRE(granted.ok());
  const std::int32_t first = granted->leases[0].number, second = granted->leases[1].number;
  const Who who;
  const auto settle = [&](std::int64_t epoch, const v1::TokenCounts& counts, std::int64_t index, std::vector<std::int32_t> numbers) {
    v1::Record request = RequestOf(who);
    for (const std::int32_t number : numbers) request.mutable_request()->add_leases(number);
    request.mutable_request()->set_epoch(epoch);
    const auto rows = Settlement(request, base::SystemClock().Wall(), counts);
    REQUIRE(rows.ok());
    for (const auto& row : *rows) REQUIRE(InsertCompanion(*session, row, 1, index).ok());
  };
  settle(dead.epoch, CountsOf(100, 0, 30, 30), 1, {first, second});
  settle(dead.epoch, CountsOf(20, 10, 7, 0), 2, {first, second});
  settle(dead.epoch, CountsOf(0, 0, 0, 0), 3, {first, second});
  settle(dead.epoch, CountsOf(50, 0, 50, 50), 4, {std::max(first, second) + 1});  // Another window.
  settle(dead.epoch + 1, CountsOf(50, 0, 50, 50), 5, {first, second});            // Another life.
  settle(0, CountsOf(50, 0, 50, 50), 6, {});                                      // Under no limit.

  std::map<base::Uuid, ReturnedLease> home;
  const auto returned = ReturnLeases(*session, dead.instance, 2);
  REQUIRE(returned.status().ToString() == "OK");
  for (const auto& lease : *returned) home[lease.quota] = lease;
  CHECK(home[tokens.id].granted == 500);
  CHECK(home[tokens.id].used == 157);
  CHECK(home[requests.id].granted == 10);
  CHECK(home[requests.id].used == 3);
  CHECK(db.Debited(tokens.id) == 157);
  CHECK(db.Debited(requests.id) == 3);

  CHECK(ReturnLeases(*session, dead.instance, 2)->empty());
  CHECK(db.Debited(tokens.id) == 157);
  CHECK(Exchange(*leases, {AskOf(tokens, 1)}).status().code() == absl::StatusCode::kFailedPrecondition);
  const auto next = db.Leases({dead.instance, 2});
  CHECK(Exchange(*next, {AskOf(tokens, 10)})->leases[0].granted == 10);
}

TEST_CASE(
    "A lease that was closed keeps its number, what is granted in its window afterwards has another, and old usage does not count for it") {
  const Database db;
  const auto session = db.Writer();
  const Holder holder = NewHolder();
  const auto leases = db.Leases(holder);
  const QuotaRule rule = Rule(Meter::kTokens, Window::kMonth, 1'000);
  const auto before = Exchange(*leases, {AskOf(rule, 100)});
  REQUIRE(before.ok());
  REQUIRE(before->leases[0].number > 0);
  v1::Record request = RequestOf(Who());
  request.mutable_request()->add_leases(before->leases[0].number);
  request.mutable_request()->set_epoch(holder.epoch);
  const auto rows = Settlement(request, base::SystemClock().Wall(), CountsOf(50, 0, 10, 10));
  REQUIRE(rows.ok());
  for (const auto& row : *rows) REQUIRE(InsertCompanion(*session, row, 1, 1).ok());
  const auto closed = Exchange(*leases, {AskOf(rule, 0, 0, 40, true)});
  CHECK(closed->leases[0].granted == 0);
  CHECK(closed->leases[0].number == 0);
  CHECK(db.Debited(rule.id) == 60);
  const auto after = Exchange(*leases, {AskOf(rule, 10)});
  CHECK(after->leases[0].number > before->leases[0].number);
  CHECK(Exchange(*leases, {AskOf(rule, 5)})->leases[0].number == after->leases[0].number);
  const auto returned = ReturnLeases(*session, holder.instance, holder.epoch + 1);
  REQUIRE(returned.ok());
  REQUIRE(returned->size() == 1);
  CHECK(returned->front().granted == 15);
  CHECK(returned->front().used == 0);
  CHECK(db.Debited(rule.id) == 60);
}

TEST_CASE("A process that was too slow to open its leases before its log was adopted cannot open them") {
  const Database db;
  const Holder slow = NewHolder();
  REQUIRE(ReturnLeases(*db.Writer(), slow.instance, 2)->empty());
  CHECK(Exchange(*db.Leases(slow), {}).status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("Sessions that are killed at random lose and double nothing") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const Database db;
  const QuotaRule rule = Rule(Meter::kTokens, Window::kMonth, 1'000'000);
  const auto leases = db.Leases(NewHolder(), 20s);
  const auto admin = Cluster::Shared().Connect(db.url);
  std::int64_t granted = 0;
  for (int i = 0; i < 4 * test::Loops(); ++i) {
    std::thread killer;
    if (random() % 2 == 0) {
      killer = std::thread([&admin, after = std::chrono::microseconds(random() % 2000)] {
        std::this_thread::sleep_for(after);
        (void)admin->Run(
            "kill",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
      });
    }
    const std::int64_t need = static_cast<std::int64_t>(random() % 50),
                       give = std::min<std::int64_t>(granted, static_cast<std::int64_t>(random() % 20));
    const auto reply = Exchange(*leases, {AskOf(rule, need, 0, give)});
    if (killer.joinable()) killer.join();
    REQUIRE(reply.status().ToString() == "OK");
    granted += need - give;
    REQUIRE(reply->leases[0].granted == granted);
  }
  CHECK(db.Debited(rule.id) == granted);
}

TEST_CASE("Quotas over Postgres: the budget is exact, with the cluster away nothing is lost, and it comes back unaided") {
  const Database db;
  QuotaRule rule = Rule(Meter::kTokens, Window::kMonth, 10'000);
  const std::vector<Scope> scopes{rule.scope};
  const auto leases = db.Leases(NewHolder(), 500ms);
  QuotaOptions options;
  options.lease_ttl = 300ms;
  options.lease_wait = 5s;
  options.tick = 20ms;
  Quotas quotas(base::SystemClock(), *leases, options);
  quotas.SetRules(*QuotaRules::Make({rule}));
  quotas.StartTicking();
  const auto reserve = [&]() -> absl::StatusOr<Reservation> {
    TG_ASSIGN(Admission admission, quotas.Admit(scopes));
    std::promise<absl::StatusOr<Reservation>> result;
    quotas.Reserve(admission, 90, 10, [&](absl::StatusOr<Reservation> r) { result.set_value(std::move(r)); });
    return result.get_future().get();
  };
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  const auto serve_until = [&](std::int64_t served, std::int64_t goal) {
    while (served < goal && std::chrono::steady_clock::now() < deadline) {
      auto r = reserve();
      if (r.status().code() == absl::StatusCode::kResourceExhausted) break;
      if (!r.ok()) continue;
      quotas.Settle(*r, CountsOf(90, 0, r->output_tokens(), 0));
      served += 90 + r->output_tokens();
    }
    return served;
  };
  std::int64_t served = serve_until(0, 5'000);
  REQUIRE(served >= 5'000);
  Cluster::Shared().Stop();
  absl::Status away;
  while (away.code() != absl::StatusCode::kUnavailable && std::chrono::steady_clock::now() < deadline) {
    auto r = reserve();
    away = r.status();
    if (r.ok()) served += r->tokens();
    if (r.ok()) quotas.Settle(*r, CountsOf(90, 0, 10, 0));
  }
  CHECK(base::DetailOf(away)->reason == "QUOTA_UNAVAILABLE");
  Cluster::Shared().Start();
  served = serve_until(served, 10'000);
  CHECK(served <= 10'000);
  CHECK(served > 10'000 - 91);  // What a request needs at least.
  CHECK(reserve().status().code() == absl::StatusCode::kResourceExhausted);
  quotas.Close(5s);
  CHECK(db.Debited(rule.id) == served);
}

}  // namespace
}  // namespace tollgate::metering
