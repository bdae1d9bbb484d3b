// Two instances under one limit: what one of them asks for, is refused, holds or leaves behind takes nothing from the other.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <memory>

#include "base/error_detail.h"
#include "tests/metering/quota_fixture.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;

// A request that uses so much of the output that it asks for, or less where it gets less.
absl::Status Serve(Quotas& at, std::int64_t input, std::int64_t output, std::int64_t used, const std::vector<Scope>& scopes = kScopes) {
  TG_ASSIGN(Admission admission, at.Admit(scopes));
  absl::Status served = base::Unknown("not called");
  at.Reserve(admission, input, output, [&](absl::StatusOr<Reservation> r) {
    served = r.status();
    if (!r.ok()) return;
    r->MarkRecorded();
    at.Settle(*r, Used(input, std::min(used, r->output_tokens())));
  });
  return served;
}

// A fixture's instance and another one, under one limit of 100,000 tokens a month.
struct Pair {
  Pair() {
    f.store.SetHolders(2);
    other.SetRules(*QuotaRules::Make({rule}));
    f.quotas.Tick();
    other.Tick();
  }

  // For 30 s: a request of `input` and `output` to the first instance every so often, and two small ones a second to the other; how many
  // of those were refused.
  int RefusedBeside(std::chrono::milliseconds every, std::int64_t input, std::int64_t output, std::chrono::milliseconds offset) {
    int refused = 0;
    for (auto at = 0ms; at < 30s; at += 10ms) {
      f.clock.Advance(10ms);
      if (at % 250ms == 0ms) {
        f.quotas.Tick();
        other.Tick();
      }
      if (at % every == 0ms) static_cast<void>(Serve(f.quotas, input, output, 1));
      if (at % 500ms == offset && !Serve(other, 300, 64, 64).ok()) ++refused;
    }
    return refused;
  }

  QuotaRule rule = Rule(kOrg, Meter::kTokens, Window::kMonth, 100'000);
  Fixture f{{rule}};
  test::FakeLeases leases{f.store, f.clock, {base::InstanceId::New(), 1}};
  Quotas other{f.clock, leases};
};

TEST_CASE("Requests that are refused, however many and large, take nothing of a shared limit from others") {
  for (const auto offset : {0ms, 130ms, 370ms}) {
    for (const auto every : {10ms, 50ms, 1000ms}) {
      INFO("every " << every.count() << " ms, offset " << offset.count());
      Pair pair;
      REQUIRE(Serve(pair.f.quotas, 30'000, 30'000, 30'000).ok());
      CHECK(pair.RefusedBeside(every, 41'000, 1, offset) == 0);
    }
  }
}

TEST_CASE("Requests that hold much and use little leave the rest to others") {
  for (const auto offset : {0ms, 130ms, 370ms}) {
    INFO("offset " << offset.count());
    Pair pair;
    REQUIRE(Serve(pair.f.quotas, 30'000, 20'000, 20'000).ok());
    CHECK(pair.RefusedBeside(1000ms, 10, 20'000, offset) == 0);
  }
}

TEST_CASE("Right behind a large request that is refused, and gives back what is too little for it, a small one is served") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)}, true);
  f.store.SetHolders(2);
  const auto reserve = [&](Admission& admission, std::int64_t input, absl::StatusOr<Reservation>& held) {
    f.quotas.Reserve(admission, input, 10, [&held](absl::StatusOr<Reservation> r) { held = std::move(r); });
  };
  auto first = f.Admit(), large = f.Admit(), small = f.Admit();
  absl::StatusOr<Reservation> all = base::Unknown("not called"), refused = all.status(), served = all.status();
  reserve(*first, 990, all);
  while (f.leases.Deliver()) {
  }
  REQUIRE(all.ok());
  all->MarkRecorded();
  f.quotas.Settle(*all, Used(600, 0));  // 400 are here, and nothing is left in the store.
  reserve(*large, 500, refused);
  REQUIRE(absl::IsResourceExhausted(refused.status()));
  REQUIRE(f.leases.queued() == 1);  // The 400 are on their way back.
  reserve(*small, 100, served);
  while (f.leases.Deliver()) {
  }
  CHECK(served.ok());
}

TEST_CASE("A spent limit is asked about now and then, however often it refuses, and refuses at once") {
  for (const Meter meter : {Meter::kTokens, Meter::kRequests}) {
    const QuotaRule rule = Rule(kTeam, meter, Window::kMonth, 1000);
    Fixture f({rule}, true);
    const LeaseAsk all{.quota = rule.id, .meter = meter, .window = WindowAt(Window::kMonth, f.clock.Wall()), .amount = 1000, .need = 1000};
    REQUIRE(f.store.Exchange({base::InstanceId::New(), 1}, {all}, f.clock.Wall(), f.clock.Mono()).ok());
    const int before = f.store.exchanges();
    int at_once = 0, on_its_way = 0;
    for (int ms = 0; ms < 2000; ++ms) {  // The store answers after 5 ms.
      f.clock.Advance(1ms);
      if (ms % 250 == 0) f.quotas.Tick();
      on_its_way = f.leases.queued() > 0 ? on_its_way + 1 : 0;
      if (on_its_way == 5) {
        f.leases.Deliver();
        on_its_way = 0;
      }
      auto admission = f.Admit();
      bool refused = !admission.ok();
      const auto asked = std::make_shared<bool>(false);
      if (!refused) f.quotas.Reserve(*admission, 10, 10, [asked](absl::StatusOr<Reservation> r) { *asked = !r.ok(); });
      at_once += refused || *asked ? 1 : 0;
    }
    CHECK(f.store.exchanges() - before < 20);
    CHECK(at_once > 1900);
  }
}

TEST_CASE("Requests that another limit refuses ask for nothing of one that has plenty") {
  const QuotaRule org = Rule(kOrg, Meter::kTokens, Window::kMonth, 3'000'000);
  std::vector<Scope> teams;
  std::vector<QuotaRule> rules{org};
  for (int i = 0; i < 20; ++i) {
    teams.push_back({Scope::Kind::kTeam, base::Uuid::NewV7(), "busy"});
    rules.push_back(Rule(teams.back(), Meter::kTokens, Window::kMinute, 30'000));
  }
  Fixture f(rules);
  f.store.SetHolders(2);
  test::FakeLeases leases{f.store, f.clock, {base::InstanceId::New(), 1}};
  Quotas other{f.clock, leases};
  other.SetRules(*QuotaRules::Make(rules));
  int refused = 0;
  for (int step = 0; step < 240; ++step) {  // A minute.
    f.Advance(250ms);
    other.Tick();
    for (const Scope& team : teams)
      static_cast<void>(Serve(f.quotas, 20'000, 64, 64, {team, kOrg}));  // Each has tokens for one a minute, and tries again and again.
    if (step % 8 == 0 && !Serve(other, 5000, 64, 64, {kTeam, kOrg}).ok()) ++refused;
  }
  CHECK(refused == 0);
}

TEST_CASE("What refuses longest is told: what can never be, before what is spent, before what running requests hold") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000), Rule(kKey, Meter::kTokens, Window::kMinute, 900)});
  auto running = f.Admit();
  const auto held = f.Reserve(*running, 800, 64);  // Of the month, and of the minute.
  REQUIRE(held.ok());
  auto next = f.Admit();
  CHECK(base::DetailOf(f.Reserve(*next, 500, 1).status())->subject == "team search");  // Both are held: the later end.
  CHECK(base::DetailOf(f.Reserve(*next, 950, 1).status())->subject == "key app");      // More than a minute ever has.
}

TEST_CASE("Of a reservation of nothing, too, the record names the lease that an extension is drawn from") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)}, true);
  auto admission = f.Admit();
  absl::StatusOr<Reservation> held = base::Unknown("not called");
  f.quotas.Reserve(*admission, 0, 0, [&](absl::StatusOr<Reservation> r) { held = std::move(r); });
  while (f.leases.Deliver()) {
  }
  REQUIRE(held.ok());
  CHECK(held->tokens() == 0);
  CHECK(held->holds().at(0).lease != 0);
}

TEST_CASE("What a stop's last exchange brings goes back too, and the stop says when it could not") {
  for (const bool answers : {true, false}) {
    const QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000);
    Fixture f({rule}, true);
    const auto deliver = [&] {
      while (f.leases.Deliver()) {
      }
    };
    auto admission = f.Admit();
    absl::StatusOr<Reservation> held = base::Unknown("not called");
    f.quotas.Reserve(*admission, 100, 10, [&](absl::StatusOr<Reservation> r) { held = std::move(r); });
    deliver();
    REQUIRE(held.ok());
    held->MarkRecorded();
    f.quotas.Settle(*held, Used(100, 10));
    f.clock.Advance(1s);
    f.quotas.Tick();  // Renews what it holds.
    REQUIRE(f.leases.queued() == 1);
    CHECK_FALSE(f.quotas.Close(0ms));
    if (answers) deliver();
    CHECK(f.quotas.Close(0ms) == answers);
    CHECK((f.store.leased(f.holder) == 110) == answers);
  }
}

TEST_CASE("Only the store's word that its leases are another's fences an instance, for good, and it says so") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)});
  REQUIRE(f.Serve(1, 1).ok());
  f.leases.SetAway(true);
  f.Advance(10s);
  CHECK_FALSE(f.quotas.Ready());
  CHECK_FALSE(f.quotas.Fenced());
  f.leases.SetAway(false);
  f.Advance(10s);
  REQUIRE(f.quotas.Ready());
  f.store.ReturnLeases(f.holder, {});
  f.Advance(10s);
  CHECK(f.quotas.Fenced());
  CHECK_FALSE(f.quotas.Ready());
  const absl::Status refused = f.Serve(1, 1);
  CHECK(base::DetailOf(refused)->reason == "QUOTA_UNAVAILABLE");
  CHECK(base::Message(refused).find("ends to be started again") != std::string::npos);
}

}  // namespace
}  // namespace tollgate::metering
