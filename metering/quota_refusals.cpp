// Texts of refusals: who, how much of how much, when it resets. One function decides from the wait whether trying again helps: above two
// minutes no SDK should wait, and a longer window than a minute is a budget, which the caller's program must not hammer at.
//
// Tested by tests/metering/quota_refusals_test.cpp.
#include "metering/quota_refusals.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::metering {
namespace {

constexpr std::chrono::milliseconds kRetryMax{120'000};
constexpr std::chrono::milliseconds kRetryRunning{1'000};
constexpr std::chrono::milliseconds kRetryStore{1'000};

// 1234567 -> 1,234,567
std::string Grouped(std::int64_t n) {
  const std::string digits = std::to_string(n);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const std::size_t left = digits.size() - i;
    if (left % 3 == 0 && i > 0 && digits[i - 1] != '-') text += ',';
    text += digits[i];
  }
  return text;
}

absl::Status Away(std::string_view text) {
  return base::WithDetail(base::Unavailable(text),
                          {.reason = "QUOTA_UNAVAILABLE", .retry_after_ms = kRetryStore.count(), .may_retry = true});
}

}  // namespace

std::string LabelOf(const Scope& scope) {
  return fmt::format("{} {}", NameOf(scope.kind), scope.name.empty() ? scope.id.ToString() : scope.name);
}

bool IsOnlyHeld(const QuotaRule& rule, std::int64_t used, std::int64_t need, std::int64_t held) {
  return held > 0 && used - held <= rule.amount - need;
}

absl::Status WindowSpent(const QuotaRule& rule, const WindowSpan& window, base::WallTime now, std::int64_t used, std::int64_t need,
                         std::int64_t held) {
  const std::string who = LabelOf(rule.scope);
  const std::string_view unit = NameOf(rule.meter);
  base::ErrorDetail detail{.reason = rule.window == Window::kMinute ? "RATE_LIMITED" : "QUOTA_SPENT", .subject = who};
  if (need > rule.amount) {
    detail.may_retry = false;
    if (rule.amount == 0) {
      return base::WithDetail(base::ResourceExhausted(fmt::format("{} may use no {}; ask for a quota", who, unit)), detail);
    }
    return base::WithDetail(base::ResourceExhausted(fmt::format("this request needs {} {}, more than the {} that {} may use in a {}; send "
                                                                "less or ask for a larger quota",
                                                                Grouped(need), unit, Grouped(rule.amount), who, NameOf(rule.window))),
                            detail);
  }
  const auto wait = std::max(std::chrono::ceil<std::chrono::milliseconds>(window.end - now), std::chrono::milliseconds(1));
  if (IsOnlyHeld(rule, used, need, held)) {
    detail.reason = "RATE_LIMITED";
    detail.retry_after_ms = std::min(wait, kRetryRunning).count();
    detail.may_retry = true;
    const std::string text =
        fmt::format("{} has used {} of {} {}, running requests hold {} more and this request needs {}; try again in 1 s", who,
                    Grouped(used - held), Grouped(rule.amount), unit, Grouped(held), Grouped(need));
    return base::WithDetail(base::ResourceExhausted(text), detail);
  }
  detail.retry_after_ms = wait.count();
  detail.may_retry = rule.window == Window::kMinute && wait <= kRetryMax;
  const std::string more = used < rule.amount ? fmt::format(" and this request needs {}", Grouped(need)) : "";
  const std::string text = fmt::format("{} has used {} of {} {}{}; resets {}", who, Grouped(used), Grouped(rule.amount), unit, more,
                                       base::FormatRfc3339(window.end));
  return base::WithDetail(base::ResourceExhausted(text), detail);
}

absl::Status TooManyRunning(const QuotaRule& rule, std::int64_t running) {
  const std::string who = LabelOf(rule.scope);
  if (rule.amount == 0) {
    return base::WithDetail(base::ResourceExhausted(fmt::format("{} may run no requests; ask for a quota", who)),
                            {.reason = "QUOTA_SPENT", .may_retry = false, .subject = who});
  }
  return base::WithDetail(
      base::ResourceExhausted(fmt::format("{} has {} of {} requests running; try again when one has ended", who, running, rule.amount)),
      {.reason = "RATE_LIMITED", .retry_after_ms = kRetryRunning.count(), .may_retry = true, .subject = who});
}

absl::Status StoreAway() {
  return Away("the quota database cannot be reached; nothing was routed; try again in 1 s, or ask the operator to check Postgres");
}
absl::Status StoreSlow() {
  return Away("the quota database did not answer in time; nothing was routed; try again in 1 s, or ask the operator to check Postgres");
}
absl::Status TooManyWaiting() { return Away("too many requests wait for quota; try again in 1 s"); }
absl::Status LeasesLost() {
  return Away(
      "the quota database does not know this instance any more, which ends to be started again; nothing was routed; try another instance, "
      "or "
      "again in a moment");
}
absl::Status Stopping() { return Away("this instance is stopping; try again in 1 s"); }

}  // namespace tollgate::metering
