#include <catch2/catch_test_macros.hpp>

#include <optional>

#include "base/error_detail.h"
#include "tests/metering/quota_fixture.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;
using State = Reservation::State;

TEST_CASE("A stream ends at the very last token that the quota has") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)});
  auto admission = f.Admit();
  REQUIRE(admission.ok());
  auto reservation = f.Reserve(*admission, 100, 64);
  REQUIRE(reservation.ok());
  CHECK(reservation->tokens() == 164);
  CHECK(reservation->output_tokens() == 64);
  std::int64_t output = 64;
  while (true) {
    const auto more = f.Extend(*reservation, 64);
    REQUIRE(more.ok());
    output += more->granted;
    CHECK(more->limited_by == (more->granted < 64 ? "team search" : ""));
    if (more->granted < 64) break;
  }
  CHECK(output == 900);
  CHECK(f.Extend(*reservation, 64)->granted == 0);
  f.quotas.Settle(*reservation, Used(100, 900));
  CHECK(reservation->state() == State::kSettled);
  const absl::Status refused = f.Serve(1, 1);
  CHECK(base::Message(refused) == "team search has used 1,000 of 1,000 tokens; resets 2026-12-01T00:00:00Z");
}

TEST_CASE("A window begins and ends by the store's clock, however wrong the instance's is") {
  struct Row {
    std::chrono::seconds ahead;
    const char* resets;
    std::chrono::seconds left;  // Of the store's minute, at first.
  };
  // Here it is 22:00:00.
  for (const Row& row : {Row{40s, "22:01:00Z", 20s}, Row{-40s, "22:00:00Z", 40s}, Row{-59s, "22:00:00Z", 59s}}) {
    INFO("the store is " << row.ahead.count() << " s ahead");
    Fixture f({Rule(kKey, Meter::kRequests, Window::kMinute, 2)}, false, row.ahead);
    CHECK(f.Serve(1, 1).ok());
    CHECK(f.Serve(1, 1).ok());
    CHECK(base::Message(f.Serve(1, 1)).find(row.resets) != std::string::npos);
    f.Advance(row.left - 1s);
    CHECK_FALSE(f.Serve(1, 1).ok());
    f.Advance(2s);
    CHECK(f.Serve(1, 1).ok());
    CHECK(f.Serve(1, 1).ok());
    CHECK_FALSE(f.Serve(1, 1).ok());
  }
}

TEST_CASE("A prompt is reserved wholly or not at all, and its output as far as there is any") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 100)});
  auto admission = f.Admit();
  CHECK(base::DetailOf(f.Reserve(*admission, 100, 64).status())->may_retry == false);  // No room for one token of output.
  auto reservation = f.Reserve(*admission, 95, 64);
  REQUIRE(reservation.ok());
  CHECK(reservation->output_tokens() == 5);
  auto second = f.Admit();
  const auto refused = f.Reserve(*second, 10, 64);
  CHECK(base::Message(refused.status()) ==
        "team search has used 0 of 100 tokens, running requests hold 100 more and this request needs 11; try again in 1 s");
  f.quotas.Settle(*reservation, Used(60, 0));
  CHECK(base::Message(f.Reserve(*second, 40, 1).status()) ==
        "team search has used 60 of 100 tokens and this request needs 41; resets 2026-12-01T00:00:00Z");
  CHECK(f.Reserve(*second, 39, 64)->tokens() == 40);
}

TEST_CASE("All scopes are debited or none, and the one that refuses longest is named") {
  Fixture f({Rule(kKey, Meter::kTokens, Window::kMinute, 1000), Rule(kTeam, Meter::kTokens, Window::kMonth, 300),
             Rule(kOrg, Meter::kTokens, Window::kDay, 200)});
  REQUIRE(f.Serve(150, 10).ok());
  auto admission = f.Admit();
  CHECK(base::Message(f.Reserve(*admission, 50, 1).status()) ==
        "org acme has used 160 of 200 tokens and this request needs 51; resets 2026-11-26T00:00:00Z");
  const Remaining left = f.quotas.RemainingOf(kScopes);
  CHECK(left.tokens->limit == 200);
  CHECK(left.tokens->remaining == 40);
  CHECK(left.tokens->reset == 2h);
  CHECK(!left.requests.has_value());
  CHECK(f.quotas.RemainingOf(std::vector<Scope>{kKey}).tokens->remaining == 840);
  f.SetRules({Rule(kKey, Meter::kTokens, Window::kMinute, 10), Rule(kTeam, Meter::kTokens, Window::kMonth, 10)});
  CHECK(f.Serve(5, 5).ok());
  CHECK(base::DetailOf(f.Serve(5, 5))->subject == "team search");
}

TEST_CASE("Requests per minute are exact, and a refused or dropped request gives its count back") {
  Fixture f({Rule(kKey, Meter::kRequests, Window::kMinute, 3), Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)});
  {
    auto dropped = f.Admit();
    REQUIRE(dropped.ok());
  }
  {
    auto refused = f.Admit();
    CHECK(!f.Reserve(*refused, 5000, 1).ok());
  }
  {
    auto released = f.Admit();
    auto reservation = f.Reserve(*released, 1, 1);
    REQUIRE(reservation.ok());
    f.quotas.Release(*reservation);
    CHECK(reservation->state() == State::kReleased);
  }
  for (int i = 0; i < 3; ++i) CHECK(f.Serve(1, 1).ok());
  const absl::Status fourth = f.Serve(1, 1);
  CHECK(base::Message(fourth) == "key app has used 3 of 3 requests; resets 2026-11-25T22:01:00Z");
  CHECK(base::DetailOf(fourth)->retry_after_ms == 60'000);
  f.Advance(60s);
  CHECK(f.Serve(1, 1).ok());
  CHECK(f.quotas.RemainingOf(kScopes).requests->remaining == 2);
}

TEST_CASE("A second attempt of a request counts its tokens again, not the request") {
  Fixture f({Rule(kKey, Meter::kRequests, Window::kMinute, 2), Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)});
  {
    auto admission = f.Admit();
    auto first = f.Reserve(*admission, 10, 10);
    f.quotas.Settle(*first, Used(10, 3));
    auto second = f.Reserve(*admission, 10, 10);
    f.quotas.Settle(*second, Used(10, 10));
  }
  CHECK(f.quotas.RemainingOf(kScopes).requests->remaining == 1);
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == 1000 - 33);
}

TEST_CASE("What goes on for a request that is on record names the leases of its tokens alone: a recount counts the call once") {
  Fixture f({Rule(kKey, Meter::kRequests, Window::kMinute, 2), Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)});
  auto admission = f.Admit();
  auto first = f.Reserve(*admission, 10, 10);
  CHECK(first->holds().size() == 2);
  first->MarkRecorded();
  CHECK(first->holds().size() == 2);
  f.quotas.Settle(*first, Used(10, 0));
  auto second = f.Reserve(*admission, 10, 10);
  REQUIRE(second->holds().size() == 1);
  second->MarkRecorded();
  CHECK(second->holds().size() == 1);
  f.quotas.Settle(*second, Used(10, 10));
  auto unrecorded = f.Admit();
  auto released = f.Reserve(*unrecorded, 10, 10);
  f.quotas.Release(*released);
  CHECK(f.Reserve(*unrecorded, 10, 10)->holds().size() == 2);
}

TEST_CASE("Concurrency comes back when the admission goes") {
  Fixture f({Rule(kKey, Meter::kConcurrent, Window::kNone, 2)});
  auto a = f.Admit();
  auto b = f.Admit();
  REQUIRE((a.ok() && b.ok()));
  CHECK(base::Message(f.Admit().status()) == "key app has 2 of 2 requests running; try again when one has ended");
  a = base::Unknown("gone");
  auto c = f.Admit();
  CHECK(c.ok());
  f.SetRules({});  // The rule goes while two run under it.
  CHECK(f.Admit().ok());
}

TEST_CASE("A reservation closes once") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)});
  auto admission = f.Admit();
  auto reservation = f.Reserve(*admission, 100, 64);
  f.quotas.Settle(*reservation, Used(100, 10));
  f.quotas.Settle(*reservation, Used(100, 64));
  f.quotas.Release(*reservation);
  CHECK(reservation->state() == State::kSettled);
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == 890);
  CHECK(f.Extend(*reservation, 1).status().code() == absl::StatusCode::kCancelled);
}

TEST_CASE("Dropped before its record is durable a reservation is released, after it its tokens stay counted") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)});
  {
    auto admission = f.Admit();
    auto reservation = f.Reserve(*admission, 100, 64);
  }
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == 1000);
  {
    auto admission = f.Admit();
    auto reservation = f.Reserve(*admission, 100, 64);
    reservation->MarkRecorded();
  }
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == 836);
}

TEST_CASE("A reservation stays in its window; the next window starts whole") {
  const QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMinute, 100);
  Fixture f({rule});
  f.clock.Advance(59s);
  auto admission = f.Admit();
  auto reservation = f.Reserve(*admission, 50, 10);
  REQUIRE(reservation.ok());
  v1::RequestBody body;
  FillHolds(*reservation, &body);
  REQUIRE(reservation->holds().size() == 1);
  const Hold hold = reservation->holds()[0];
  CHECK(hold.quota == rule.id);
  CHECK(base::FormatRfc3339(hold.window_start) == "2026-11-25T22:00:00Z");
  REQUIRE(body.leases_size() == 1);
  CHECK(body.leases(0) == hold.lease);
  CHECK(hold.lease > 0);
  CHECK(body.epoch() == 1);
  f.Advance(2s);
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == 100);
  CHECK(f.Extend(*reservation, 100)->granted == 40);  // What was left of the old window.
  CHECK(f.Serve(90, 10).ok());                        // The new one.
  f.quotas.Settle(*reservation, Used(50, 50));
  for (int i = 0; i < 5; ++i) f.Advance(1s);
  CHECK((f.store.balances()[{rule.id, hold.window_start}]) == 100);
}

TEST_CASE("Editing an amount keeps what was used") {
  QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMonth, 1000);
  Fixture f({rule});
  REQUIRE(f.Serve(490, 10).ok());
  rule.amount = 2000;
  f.SetRules({rule});
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == 1500);
  rule.amount = 600;
  f.SetRules({rule});
  CHECK(f.Serve(90, 20).ok());  // 90 and 10 of the 20.
  CHECK(base::Message(f.Serve(1, 1)) == "team search has used 600 of 600 tokens; resets 2026-12-01T00:00:00Z");
  rule.amount = 200;
  f.SetRules({rule});
  CHECK(base::Message(f.Serve(1, 1)) == "team search has used 600 of 200 tokens; resets 2026-12-01T00:00:00Z");
  f.SetRules({});
  CHECK(f.Serve(10'000, 1).ok());
  rule.amount = 610;
  f.SetRules({rule});
  CHECK(f.Serve(9, 5).ok());  // Taken up again where it stood.
  CHECK(!f.Serve(1, 1).ok());
}

TEST_CASE("Rules that are in force already, set again, are not even looked at") {
  base::ManualClock clock;
  test::FakeLeaseStore store;
  test::FakeLeases leases(store, clock, {base::InstanceId::New(), 1}, true);
  Quotas quotas(clock, leases);
  const QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMonth, 1000);
  const auto rules = *QuotaRules::Make({rule});
  const auto asks = [&] {  // Rules that are taken up ask the store for its clock, while that is not known.
    const bool asked = leases.Deliver(test::FakeLeases::Answer::kLostBefore);
    clock.Advance(1s);
    return asked;
  };
  quotas.SetRules(rules);
  CHECK(asks());
  quotas.SetRules(rules);
  CHECK_FALSE(asks());
  quotas.SetRules(*QuotaRules::Make({rule}));
  CHECK(asks());
  quotas.SetRules(rules);
  CHECK(asks());
}

TEST_CASE("However many limits are lowered at once, each gives its lease back") {
  std::vector<QuotaRule> rules;
  for (int i = 0; i < 2'500; ++i)
    rules.push_back(Rule({Scope::Kind::kKey, base::Uuid::NewV7(), "app"}, Meter::kTokens, Window::kMonth, 1000));
  Fixture f(rules);
  for (const QuotaRule& rule : rules) {
    auto admission = f.quotas.Admit(std::vector<Scope>{rule.scope});
    REQUIRE(admission.ok());
    auto reservation = f.Reserve(*admission, 50, 50);
    REQUIRE(reservation.ok());
    reservation->MarkRecorded();
    f.quotas.Settle(*reservation, Used(50, 50));
  }
  CHECK(f.store.leased(f.holder) > 2'500 * 100);
  for (QuotaRule& rule : rules) rule.amount = 120;
  f.SetRules(rules);
  CHECK(f.store.leased(f.holder) == 2'500 * 100);
  int left = 0;
  for (const QuotaRule& rule : rules) left += f.quotas.RemainingOf(std::vector<Scope>{rule.scope}).tokens->remaining == 20;
  CHECK(left == 2'500);
}

TEST_CASE("With the store away leases are spent until they expire, then everything is refused, and it comes back unaided") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 100'000)});
  auto admission = f.Admit();
  auto running = f.Reserve(*admission, 100, 100);
  REQUIRE(running.ok());
  REQUIRE(f.Serve(1000, 1000).ok());
  f.leases.SetAway(true);
  CHECK(f.Serve(1, 1).ok());  // The lease holds more than was asked.
  for (int i = 0; i < 6; ++i) f.Advance(1s);
  const absl::Status refused = f.Serve(1, 1);
  CHECK(refused.code() == absl::StatusCode::kUnavailable);
  CHECK(base::DetailOf(refused)->reason == "QUOTA_UNAVAILABLE");
  CHECK(f.Extend(*running, 64).status().code() == absl::StatusCode::kUnavailable);
  f.leases.SetAway(false);
  for (int i = 0; i < 2; ++i) f.Advance(1s);
  CHECK(f.Serve(1, 1).ok());
  CHECK(f.Extend(*running, 64)->granted == 64);
  f.quotas.Settle(*running, Used(100, 164));
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == 100'000 - 2000 - 2 - 2 - 264);  // Neither spent twice nor lost.
}

TEST_CASE("A call that waits too long for a lease is refused, and one whose request has gone is cancelled") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)}, true);
  auto admission = f.Admit();
  std::optional<absl::Status> late, gone;
  f.quotas.Reserve(*admission, 1, 1, [&](absl::StatusOr<Reservation> r) { late = r.status(); });
  CHECK(!late.has_value());
  f.Advance(1s);
  REQUIRE(late.has_value());
  CHECK(late->code() == absl::StatusCode::kUnavailable);
  while (f.leases.Deliver()) {
  }
  f.quotas.Reserve(*admission, 900, 1, [&](absl::StatusOr<Reservation> r) { gone = r.status(); });
  admission = base::Unknown("gone");
  while (f.leases.Deliver()) {
  }
  REQUIRE(gone.has_value());
  CHECK(gone->code() == absl::StatusCode::kCancelled);
}

TEST_CASE("An instance whose log was adopted spends no more") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1000)});
  REQUIRE(f.Serve(10, 10).ok());
  f.store.ReturnLeases(f.holder, {});
  f.Advance(1s);
  f.Advance(1s);
  CHECK(f.Serve(10, 10).code() == absl::StatusCode::kUnavailable);
  CHECK(!f.quotas.Ready());
}

TEST_CASE("An orderly stop gives every unspent lease back") {
  const QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000);
  Fixture f({rule, Rule(kKey, Meter::kRequests, Window::kMinute, 600)});
  REQUIRE(f.Serve(100, 10).ok());
  f.quotas.Close(1s);
  CHECK(f.store.leased(f.holder) == 110 + 1);
  CHECK(f.Admit().status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("With a healthy lease a request makes no call to the store") {
  Fixture f({Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000'000), Rule(kKey, Meter::kRequests, Window::kMinute, 1'000'000)});
  for (int i = 0; i < 2000; ++i) REQUIRE(f.Serve(10, 10).ok());  // Demand becomes known.
  for (int i = 0; i < 3; ++i) f.Advance(1s);
  const int before = f.store.exchanges();
  for (int i = 0; i < 200; ++i) REQUIRE(f.Serve(10, 10).ok());
  CHECK(f.store.exchanges() == before);
}

TEST_CASE("An idle instance lets go of what another one wants, within seconds") {
  const QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMonth, 1000);
  Fixture f({rule});
  f.store.SetHolders(2);
  test::FakeLeases other_leases(f.store, f.clock, {base::InstanceId::New(), 1});
  Quotas other(f.clock, other_leases);
  other.SetRules(*QuotaRules::Make({rule}));
  REQUIRE(f.Serve(300, 50).ok());
  std::int64_t served = 350;
  for (int i = 0; i < 11; ++i) {  // It halves what it may keep each second, from 1000.
    f.Advance(1s);
    other.Tick();
    while (true) {
      auto admission = other.Admit(kScopes);
      REQUIRE(admission.ok());
      std::int64_t got = 0;
      other.Reserve(*admission, 9, 1, [&](absl::StatusOr<Reservation> r) {
        if (!r.ok()) return;
        got = r->tokens();
        r->MarkRecorded();
      });
      if (got == 0) break;
      served += got;
    }
  }
  CHECK(served <= 1000);
  CHECK(served > 1000 - 10);
}

}  // namespace
}  // namespace tollgate::metering
