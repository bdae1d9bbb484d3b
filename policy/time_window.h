// TimeWindow: the days and hours of `where: {time: …}`, by a named zone's own clocks. A value; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/time/time.h>

#include "base/status.h"

namespace tollgate::policy {

struct TimeWindow {
  // Minutes of the day, from included, to excluded; `to` at or before `from` runs past midnight.
  struct Hours {
    int from = 0, to = 24 * 60;
    bool operator==(const Hours&) const = default;
  };

  std::uint8_t days = 0x7F;  // Bit 0 is Monday. Of hours that run past midnight: the day on which they begin.
  std::vector<Hours> hours;  // Empty: the whole day.
  absl::TimeZone zone = absl::UTCTimeZone();

  bool Holds(std::int64_t unix_seconds) const;
  // A moment that it holds, in the week after 2026-11-23, a Monday. There is one in every window.
  std::int64_t Example() const;
  std::string Summary() const;  // "mon tue 08:00-18:00 Europe/Berlin"
  bool operator==(const TimeWindow&) const = default;
};

// "08:00-18:00". Messages begin with what is wrong and name no place.
absl::StatusOr<TimeWindow::Hours> ParseHours(std::string_view text);
absl::StatusOr<absl::TimeZone> ParseZone(const std::string& name);
// "2026-11-27T22:30:00+01:00", in seconds since 1970.
absl::StatusOr<std::int64_t> ParseMoment(const std::string& text);

inline constexpr const char* kDayNames[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

}  // namespace tollgate::policy
