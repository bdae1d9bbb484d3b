// Names, checks and calendar of quotas. Windows are computed in UTC with std::chrono's calendar, which knows leap years and month ends;
// leap seconds do not exist in Postgres's clock and so not here.
//
// Tested by tests/metering/quota_rules_test.cpp.
#include "metering/quota_rules.h"

#include <array>
#include <chrono>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

namespace tollgate::metering {
namespace {

constexpr std::array<std::pair<std::string_view, Scope::Kind>, 4> kKinds{
    {{"org", Scope::Kind::kOrg}, {"team", Scope::Kind::kTeam}, {"project", Scope::Kind::kProject}, {"key", Scope::Kind::kKey}}};
constexpr std::array<std::pair<std::string_view, Meter>, 3> kMeters{
    {{"requests", Meter::kRequests}, {"tokens", Meter::kTokens}, {"concurrent", Meter::kConcurrent}}};
constexpr std::array<std::pair<std::string_view, Window>, 5> kWindows{
    {{"minute", Window::kMinute}, {"hour", Window::kHour}, {"day", Window::kDay}, {"month", Window::kMonth}, {"none", Window::kNone}}};

template <typename Table, typename T>
std::string_view NameIn(const Table& table, T value) {
  for (const auto& [name, v] : table) {
    if (v == value) return name;
  }
  return "unknown";
}

template <typename T, typename Table>
absl::StatusOr<T> ParseIn(const Table& table, std::string_view what, std::string_view text) {
  std::string known;
  for (const auto& [name, v] : table) {
    if (name == text) return v;
    known += known.empty() ? "" : ", ";
    known += name;
  }
  return base::InvalidArgument(fmt::format("{} \"{}\" is not one of {}", what, text.substr(0, 40), known));
}

}  // namespace

std::string_view NameOf(Scope::Kind kind) { return NameIn(kKinds, kind); }
std::string_view NameOf(Meter meter) { return NameIn(kMeters, meter); }
std::string_view NameOf(Window window) { return NameIn(kWindows, window); }
absl::StatusOr<Scope::Kind> ParseScopeKind(std::string_view name) { return ParseIn<Scope::Kind>(kKinds, "scope", name); }
absl::StatusOr<Meter> ParseMeter(std::string_view name) { return ParseIn<Meter>(kMeters, "meter", name); }
absl::StatusOr<Window> ParseWindow(std::string_view name) { return ParseIn<Window>(kWindows, "window", name); }

absl::Status Validate(const QuotaRule& rule) {
  if (rule.id.IsNone()) return base::InvalidArgument("a quota needs an id");
  if (rule.scope.id.IsNone()) return base::InvalidArgument(fmt::format("a quota needs the id of its {}", NameOf(rule.scope.kind)));
  if (rule.amount < 0) return base::InvalidArgument(fmt::format("amount {} is negative; 0 allows nothing", rule.amount));
  if (rule.amount > QuotaRules::kAmountMax) {
    return base::InvalidArgument(fmt::format("amount {} is above the largest, {}", rule.amount, QuotaRules::kAmountMax));
  }
  const bool timed = rule.window != Window::kNone;
  if (timed == (rule.meter == Meter::kConcurrent)) {
    return base::InvalidArgument(timed ? "a limit of concurrent requests has no window: use window none"
                                       : fmt::format("a limit of {} needs a window: minute, hour, day or month", NameOf(rule.meter)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const QuotaRules>> QuotaRules::Make(std::vector<QuotaRule> rules) {
  std::unordered_set<base::Uuid, base::UuidHash> seen;
  for (const QuotaRule& rule : rules) {
    TG_RETURN_IF_ERROR(Validate(rule));
    if (!seen.insert(rule.id).second) return base::InvalidArgument(fmt::format("two quotas have the id {}", rule.id.ToString()));
  }
  return std::shared_ptr<const QuotaRules>(new QuotaRules(std::move(rules)));
}

WindowSpan WindowAt(Window window, base::WallTime t) {
  using namespace std::chrono;
  TG_CHECK(window != Window::kNone, "WindowAt needs a window");
  if (window == Window::kMinute) {
    const auto start = floor<minutes>(t);
    return {start, start + minutes(1)};
  }
  if (window == Window::kHour) {
    const auto start = floor<hours>(t);
    return {start, start + hours(1)};
  }
  const auto day = floor<days>(t);
  if (window == Window::kDay) return {day, day + days(1)};
  const year_month_day date(day);
  const year_month month = date.year() / date.month();
  return {sys_days(month / 1), sys_days((month + months(1)) / 1)};
}

}  // namespace tollgate::metering
