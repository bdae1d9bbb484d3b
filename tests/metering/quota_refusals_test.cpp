#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "metering/quota_refusals.h"

namespace tollgate::metering {
namespace {

using std::chrono::sys_days;
using namespace std::chrono_literals;

QuotaRule Rule(Scope::Kind kind, const char* name, Meter meter, Window window, std::int64_t amount) {
  return {base::Uuid::NewV7(), {kind, base::Uuid::NewV7(), name}, meter, window, amount};
}

TEST_CASE("A refusal says who used how much of how much, when it resets, and whether trying again helps") {
  struct Row {
    QuotaRule rule;
    base::WallTime now;
    std::int64_t used, need;
    std::string text, reason;
    std::optional<std::int64_t> retry_after_ms;
    bool may_retry;
  };
  const auto november = sys_days(std::chrono::year(2026) / 11 / 25) + 22h;
  const auto leap = sys_days(std::chrono::year(2028) / 2 / 28) + 12h;
  const auto new_year = sys_days(std::chrono::year(2026) / 12 / 31) + 23h + 59min + 59s + 1us;
  using K = Scope::Kind;
  const Row rows[] = {
      {Rule(K::kTeam, "search", Meter::kTokens, Window::kMonth, 2'000'000), november, 2'000'000, 1,
       "team search has used 2,000,000 of 2,000,000 tokens; resets 2026-12-01T00:00:00Z", "QUOTA_SPENT", 5LL * 86400'000 + 7'200'000,
       false},
      {Rule(K::kTeam, "search", Meter::kTokens, Window::kMonth, 2'000'000), november, 1'999'940, 100,
       "team search has used 1,999,940 of 2,000,000 tokens and this request needs 100; resets 2026-12-01T00:00:00Z", "QUOTA_SPENT",
       5LL * 86400'000 + 7'200'000, false},
      {Rule(K::kKey, "app", Meter::kRequests, Window::kMinute, 60), november + 15s, 60, 1,
       "key app has used 60 of 60 requests; resets 2026-11-25T22:01:00Z", "RATE_LIMITED", 45'000, true},
      {Rule(K::kProject, "web", Meter::kTokens, Window::kMinute, 1000), november + 59s + 999'999us, 1000, 1,
       "project web has used 1,000 of 1,000 tokens; resets 2026-11-25T22:01:00Z", "RATE_LIMITED", 1, true},
      {Rule(K::kOrg, "acme", Meter::kTokens, Window::kHour, 500), november + 59min + 30s, 500, 1,
       "org acme has used 500 of 500 tokens; resets 2026-11-25T23:00:00Z", "QUOTA_SPENT", 30'000, false},
      {Rule(K::kOrg, "acme", Meter::kTokens, Window::kDay, 999), leap, 999, 1,
       "org acme has used 999 of 999 tokens; resets 2028-02-29T00:00:00Z", "QUOTA_SPENT", 12LL * 3600'000, false},
      {Rule(K::kOrg, "acme", Meter::kTokens, Window::kMonth, 999), leap, 999, 1,
       "org acme has used 999 of 999 tokens; resets 2028-03-01T00:00:00Z", "QUOTA_SPENT", 36LL * 3600'000, false},
      {Rule(K::kOrg, "acme", Meter::kTokens, Window::kMinute, 5), new_year, 5, 1,
       "org acme has used 5 of 5 tokens; resets 2027-01-01T00:00:00Z", "RATE_LIMITED", 1000, true},
      {Rule(K::kTeam, "search", Meter::kTokens, Window::kMonth, 200), november, 500, 1,
       "team search has used 500 of 200 tokens; resets 2026-12-01T00:00:00Z", "QUOTA_SPENT", 5LL * 86400'000 + 7'200'000, false},
      {Rule(K::kKey, "app", Meter::kTokens, Window::kMinute, 1000), november, 0, 5000,
       "this request needs 5,000 tokens, more than the 1,000 that key app may use in a minute; send less or ask for a larger quota",
       "RATE_LIMITED", std::nullopt, false},
      {Rule(K::kKey, "app", Meter::kTokens, Window::kMonth, 0), november, 0, 1, "key app may use no tokens; ask for a quota", "QUOTA_SPENT",
       std::nullopt, false},
  };
  for (const Row& row : rows) {
    const absl::Status status = WindowSpent(row.rule, WindowAt(row.rule.window, row.now), row.now, row.used, row.need);
    INFO(row.text);
    CHECK(status.code() == absl::StatusCode::kResourceExhausted);
    CHECK(base::Message(status) == row.text);
    const auto detail = base::DetailOf(status);
    REQUIRE(detail.has_value());
    CHECK(detail->reason == row.reason);
    CHECK(detail->retry_after_ms == row.retry_after_ms);
    CHECK(detail->may_retry == row.may_retry);
    CHECK(detail->subject == LabelOf(row.rule.scope));
  }
}

TEST_CASE("Where running requests hold what is wanted, and may give it back, a refusal is soon tried again") {
  const auto now = sys_days(std::chrono::year(2026) / 11 / 25) + 1h;
  const auto rule = Rule(Scope::Kind::kTeam, "search", Meter::kTokens, Window::kDay, 1000);
  const absl::Status held = WindowSpent(rule, WindowAt(Window::kDay, now), now, 1000, 100, 700);
  CHECK(base::Message(held) ==
        "team search has used 300 of 1,000 tokens, running requests hold 700 more and this request needs 100; try again in 1 s");
  CHECK(base::DetailOf(held)->reason == "RATE_LIMITED");
  CHECK(base::DetailOf(held)->retry_after_ms == 1000);
  CHECK(base::DetailOf(held)->may_retry == true);
  // All of it given back would be too little.
  const absl::Status spent = WindowSpent(rule, WindowAt(Window::kDay, now), now, 1000, 701, 700);
  CHECK(base::DetailOf(spent)->reason == "QUOTA_SPENT");
  CHECK(base::DetailOf(spent)->may_retry == false);
}

TEST_CASE("No refusal of more than two minutes invites a retry") {
  const auto now = sys_days(std::chrono::year(2026) / 11 / 25) + 1h;
  for (const Window window : {Window::kMinute, Window::kHour, Window::kDay, Window::kMonth}) {
    const auto rule = Rule(Scope::Kind::kTeam, "t", Meter::kTokens, window, 10);
    const auto detail = base::DetailOf(WindowSpent(rule, WindowAt(window, now), now, 10, 1));
    REQUIRE(detail.has_value());
    CHECK((*detail->retry_after_ms <= 120'000 || !detail->may_retry));
  }
}

TEST_CASE("Concurrency is refused with how many run") {
  const auto status = TooManyRunning(Rule(Scope::Kind::kKey, "app", Meter::kConcurrent, Window::kNone, 4), 4);
  CHECK(base::Message(status) == "key app has 4 of 4 requests running; try again when one has ended");
  CHECK(base::DetailOf(status)->reason == "RATE_LIMITED");
  CHECK(base::DetailOf(status)->may_retry);
}

TEST_CASE("A scope without a name is called by its id") {
  const Scope scope{Scope::Kind::kTeam, base::Uuid::NewV7(), ""};
  CHECK(LabelOf(scope) == "team " + scope.id.ToString());
}

}  // namespace
}  // namespace tollgate::metering
