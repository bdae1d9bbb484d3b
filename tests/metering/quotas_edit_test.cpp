// Limits that change while requests run under them.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/metering/quota_fixture.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;

// What small requests still get until they are refused.
std::int64_t Served(Fixture& f) {
  std::int64_t served = 0;
  for (int i = 0; i < 2'000 && f.Serve(20, 20).ok(); ++i) {
    served += 40;
    if (i % 10 == 0) f.Advance(250ms);
  }
  return served;
}

void Pass(Fixture& f, std::chrono::milliseconds time) {
  for (auto passed = 0ms; passed < time; passed += 250ms) f.Advance(250ms);
}

TEST_CASE("What a request held and did not use is nobody's once its limit was lowered below what is used") {
  const std::int64_t lowered = GENERATE(100, 0);
  const int holders = GENERATE(1, 2);
  INFO(lowered << " with " << holders << " instances");
  QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000);
  Fixture f({rule});
  f.store.SetHolders(holders);
  auto admission = f.Admit();
  auto open = f.Reserve(*admission, 10, 60'000);
  REQUIRE(open.ok());
  open->MarkRecorded();
  rule.amount = lowered;
  f.SetRules({rule});
  Pass(f, 5s);
  f.quotas.Settle(*open, Used(10, lowered));  // All of what the limit still has.
  CHECK(Served(f) == 0);
  Pass(f, 1s);
  CHECK(Served(f) == 0);
  CHECK(f.store.balances().begin()->second == 10 + lowered);
}

TEST_CASE("Requests that are given back under a lowered limit are nobody's either") {
  QuotaRule rule = Rule(kTeam, Meter::kRequests, Window::kMonth, 100);
  Fixture f({rule});
  std::vector<Admission> open;
  for (int i = 0; i < 10; ++i) open.push_back(*f.Admit());
  for (int i = 0; i < 3; ++i) REQUIRE(f.Serve(1, 1).ok());
  rule.amount = 3;
  f.SetRules({rule});
  Pass(f, 1s);
  open.clear();
  CHECK(!f.Serve(1, 1).ok());
}

TEST_CASE("A limit that is removed, and set again lower, has no more than is left of the new amount") {
  const bool stream = GENERATE(true, false);  // One goes on the while.
  const auto gap = GENERATE(0ms, 5'000ms, 60'000ms);
  INFO("a stream: " << stream << ", after " << gap.count() << " ms");
  QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMonth, 1'000'000);
  Fixture f({rule});
  REQUIRE(f.Serve(100'000, 1000).ok());
  auto admission = f.Admit();
  auto open = f.Reserve(*admission, 10, 64);
  REQUIRE(open.ok());
  open->MarkRecorded();
  if (!stream) f.quotas.Settle(*open, Used(10, 64));
  f.SetRules({});
  Pass(f, gap);
  rule.amount = 101'200;  // 101,074 are used.
  f.SetRules({rule});
  CHECK(Served(f) == 120);
  CHECK(f.quotas.RemainingOf(kScopes).tokens->remaining == 6);
}

TEST_CASE("A stream that began before its limit was removed ends at what that has when it is set again lower") {
  QuotaRule rule = Rule(kTeam, Meter::kTokens, Window::kMonth, 10'000);
  Fixture f({rule});
  auto admission = f.Admit();
  auto open = f.Reserve(*admission, 36, 64);
  REQUIRE(open.ok());
  f.SetRules({});
  Pass(f, 5s);
  rule.amount = 130;
  f.SetRules({rule});
  CHECK(f.Extend(*open, 64)->granted == 30);
  CHECK(f.Extend(*open, 64)->granted == 0);
}

TEST_CASE("Requests that run under a limit of concurrency count when it is removed and set again") {
  QuotaRule rule = Rule(kKey, Meter::kConcurrent, Window::kNone, 2);
  Fixture f({rule});
  auto a = f.Admit(), b = f.Admit();
  REQUIRE((a.ok() && b.ok()));
  f.SetRules({});
  auto free = f.Admit();  // Under no limit.
  CHECK(free.ok());
  f.Advance(2s);
  f.SetRules({rule});
  CHECK(!f.Admit().ok());
  rule.amount = 3;
  f.SetRules({});
  f.SetRules({rule});
  auto c = f.Admit();
  CHECK(c.ok());
  CHECK(!f.Admit().ok());
  for (auto* ended : {&a, &b, &c}) *ended = base::Unknown("gone");
  for (int i = 0; i < 3; ++i) f.Advance(1s);
  std::vector<Admission> all;
  for (int i = 0; i < 3; ++i) all.push_back(*f.Admit());
  CHECK(!f.Admit().ok());
}

}  // namespace
}  // namespace tollgate::metering
