#include <catch2/catch_test_macros.hpp>

#include "metering/quota_rules.h"

namespace tollgate::metering {
namespace {

using std::chrono::sys_days;
using namespace std::chrono_literals;

base::WallTime At(int year, unsigned month, unsigned day, std::chrono::microseconds time = 0us) {
  return sys_days(std::chrono::year(year) / static_cast<int>(month) / static_cast<int>(day)) + time;
}

TEST_CASE("A window is the calendar's, in UTC, and ends where the next one starts") {
  struct Row {
    const char* name;
    Window window;
    base::WallTime t, start, end;
  };
  const Row rows[] = {
      {"a minute's first microsecond", Window::kMinute, At(2026, 11, 25, 22h + 4min), At(2026, 11, 25, 22h + 4min),
       At(2026, 11, 25, 22h + 5min)},
      {"a minute's last", Window::kMinute, At(2026, 11, 25, 22h + 5min - 1us), At(2026, 11, 25, 22h + 4min), At(2026, 11, 25, 22h + 5min)},
      {"a minute over the year's end", Window::kMinute, At(2026, 12, 31, 24h - 1s), At(2026, 12, 31, 24h - 1min), At(2027, 1, 1)},
      {"an hour", Window::kHour, At(2026, 11, 25, 22h + 59min), At(2026, 11, 25, 22h), At(2026, 11, 25, 23h)},
      {"an hour over midnight", Window::kHour, At(2026, 2, 28, 23h + 1us), At(2026, 2, 28, 23h), At(2026, 3, 1)},
      {"a day", Window::kDay, At(2026, 11, 25, 12h), At(2026, 11, 25), At(2026, 11, 26)},
      {"the leap day", Window::kDay, At(2028, 2, 29, 24h - 1us), At(2028, 2, 29), At(2028, 3, 1)},
      {"a month of 30 days", Window::kMonth, At(2026, 11, 30, 24h - 1us), At(2026, 11, 1), At(2026, 12, 1)},
      {"a month of 31 days", Window::kMonth, At(2026, 12, 1), At(2026, 12, 1), At(2027, 1, 1)},
      {"February", Window::kMonth, At(2027, 2, 28, 23h), At(2027, 2, 1), At(2027, 3, 1)},
      {"February in a leap year", Window::kMonth, At(2028, 2, 29), At(2028, 2, 1), At(2028, 3, 1)},
      {"February in 2000, a leap year", Window::kMonth, At(2000, 2, 29), At(2000, 2, 1), At(2000, 3, 1)},
      {"February in 2100, none", Window::kMonth, At(2100, 2, 28), At(2100, 2, 1), At(2100, 3, 1)},
      {"before 1970", Window::kDay, At(1969, 12, 31, 1h), At(1969, 12, 31), At(1970, 1, 1)},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const WindowSpan span = WindowAt(row.window, row.t);
    CHECK(base::FormatRfc3339(span.start) == base::FormatRfc3339(row.start));
    CHECK(base::FormatRfc3339(span.end) == base::FormatRfc3339(row.end));
    CHECK(span.Holds(row.t));
    CHECK(!span.Holds(span.end));
    CHECK(WindowAt(row.window, span.end).start == span.end);
  }
}

TEST_CASE("Names of scopes, meters and windows are read back, and an unknown one is told what there is") {
  for (const auto kind : {Scope::Kind::kOrg, Scope::Kind::kTeam, Scope::Kind::kProject, Scope::Kind::kKey}) {
    CHECK(*ParseScopeKind(NameOf(kind)) == kind);
  }
  for (const auto meter : {Meter::kRequests, Meter::kTokens, Meter::kConcurrent}) CHECK(*ParseMeter(NameOf(meter)) == meter);
  for (const auto window : {Window::kMinute, Window::kHour, Window::kDay, Window::kMonth, Window::kNone}) {
    CHECK(*ParseWindow(NameOf(window)) == window);
  }
  CHECK(base::Message(ParseMeter("token").status()) == "meter \"token\" is not one of requests, tokens, concurrent");
}

TEST_CASE("A rule that makes no sense is refused by what is wrong with it") {
  const base::Uuid id = base::Uuid::NewV7();
  const Scope scope{Scope::Kind::kTeam, base::Uuid::NewV7(), "search"};
  struct Row {
    QuotaRule rule;
    std::string message;
  };
  const Row rows[] = {
      {{id, scope, Meter::kTokens, Window::kMonth, 0}, ""},
      {{id, scope, Meter::kTokens, Window::kMonth, QuotaRules::kAmountMax}, ""},
      {{id, scope, Meter::kConcurrent, Window::kNone, 4}, ""},
      {{id, scope, Meter::kTokens, Window::kMonth, -1}, "amount -1 is negative; 0 allows nothing"},
      {{id, scope, Meter::kTokens, Window::kMonth, QuotaRules::kAmountMax + 1},
       "amount 1000000000000001 is above the largest, 1000000000000000"},
      {{id, scope, Meter::kTokens, Window::kNone, 1}, "a limit of tokens needs a window: minute, hour, day or month"},
      {{id, scope, Meter::kConcurrent, Window::kDay, 1}, "a limit of concurrent requests has no window: use window none"},
      {{base::Uuid(), scope, Meter::kTokens, Window::kDay, 1}, "a quota needs an id"},
      {{id, {Scope::Kind::kTeam, base::Uuid(), "x"}, Meter::kTokens, Window::kDay, 1}, "a quota needs the id of its team"},
  };
  for (const Row& row : rows) CHECK(base::Message(Validate(row.rule)) == row.message);
  const auto twice = QuotaRules::Make({rows[0].rule, rows[2].rule});
  CHECK(base::Message(twice.status()) == "two quotas have the id " + id.ToString());
}

}  // namespace
}  // namespace tollgate::metering
