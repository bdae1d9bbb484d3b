// A moment is turned into the zone's own day and minute, so that summer time moves the window with people's clocks. An hour that the clocks
// skip holds nothing; one that they repeat is held both times. Zones come from the system's tzdata.
//
// Tested by tests/policy/time_window_test.cpp.
#include "policy/time_window.h"

#include <algorithm>

#include <fmt/format.h>

namespace tollgate::policy {
namespace {

constexpr int kDayMinutes = 24 * 60;
constexpr std::int64_t kExampleWeek = 1795392000;  // 2026-11-23T00:00:00Z.
constexpr std::int64_t kMinuteSeconds = 60;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// "HH:MM" at `at`; -1 if it is none.
int MinuteAt(std::string_view text, std::size_t at) {
  if (!IsDigit(text[at]) || !IsDigit(text[at + 1]) || text[at + 2] != ':' || !IsDigit(text[at + 3]) || !IsDigit(text[at + 4])) return -1;
  const int hour = (text[at] - '0') * 10 + text[at + 1] - '0', minute = (text[at + 3] - '0') * 10 + text[at + 4] - '0';
  return minute < 60 && hour * 60 + minute <= kDayMinutes ? hour * 60 + minute : -1;
}

}  // namespace

bool TimeWindow::Holds(std::int64_t unix_seconds) const {
  const absl::CivilMinute local = absl::ToCivilMinute(absl::FromUnixSeconds(unix_seconds), zone);
  const int day = static_cast<int>(absl::GetWeekday(local));  // Monday is 0.
  const int minute = local.hour() * 60 + local.minute();
  const bool today = (days & (1 << day)) != 0, yesterday = (days & (1 << ((day + 6) % 7))) != 0;
  if (hours.empty()) return today;
  return std::any_of(hours.begin(), hours.end(), [&](const Hours& span) {
    if (span.from < span.to) return today && minute >= span.from && minute < span.to;
    return (today && minute >= span.from) || (yesterday && minute < span.to);
  });
}

std::int64_t TimeWindow::Example() const {
  for (std::int64_t at = kExampleWeek; at < kExampleWeek + 8 * kDayMinutes * kMinuteSeconds; at += kMinuteSeconds) {
    if (Holds(at)) return at;
  }
  return kExampleWeek;
}

std::string TimeWindow::Summary() const {
  std::string out;
  for (int day = 0; day < 7 && days != 0x7F; ++day) {
    if (days & (1 << day)) out += fmt::format("{} ", kDayNames[day]);
  }
  for (const Hours& span : hours)
    out += fmt::format("{:02}:{:02}-{:02}:{:02} ", span.from / 60, span.from % 60, span.to / 60, span.to % 60);
  return out + zone.name();
}

absl::StatusOr<TimeWindow::Hours> ParseHours(std::string_view text) {
  TimeWindow::Hours out{-1, -1};
  if (text.size() == 11 && text[5] == '-') out = {MinuteAt(text, 0), MinuteAt(text, 6)};
  if (out.from < 0 || out.to < 0 || out.from == kDayMinutes)
    return base::InvalidArgument(fmt::format("'{}' is no stretch of a day; write it as in \"08:00-18:00\" or \"22:00-06:00\"", text));
  if (out.from == out.to) return base::InvalidArgument(fmt::format("'{}' begins where it ends; leave hours out for the whole day", text));
  return out;
}

absl::StatusOr<absl::TimeZone> ParseZone(const std::string& name) {
  const bool plain = !name.empty() && name.front() != '/' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IsDigit(c) || c == '_' || c == '/' || c == '+' || c == '-';
  });
  absl::TimeZone out;
  if (!plain || !absl::LoadTimeZone(name, &out))
    return base::InvalidArgument(
        fmt::format("there is no zone '{}'; use a name of the tz database, as in Europe/Berlin (package tzdata), or UTC", name));
  return out;
}

absl::StatusOr<std::int64_t> ParseMoment(const std::string& text) {
  absl::Time out;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &out, &error))
    return base::InvalidArgument(fmt::format("'{}' is no moment; write it as in 2026-11-27T22:30:00+01:00", text));
  return absl::ToUnixSeconds(out);
}

}  // namespace tollgate::policy
