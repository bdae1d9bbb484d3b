// Strict readers: what is not exactly one of the forms is refused with the forms.
//
// Tested by tests/gateway/cli/words_test.cpp.
#include "gateway/cli/words.h"

#include <charconv>
#include <chrono>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/encoding.h"

namespace tollgate::cli {
namespace {
bool ReadInt(std::string_view text, std::int64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// `digits` digits at `at`.
bool ReadDigits(std::string_view text, std::size_t at, std::size_t digits, int& out) {
  if (text.size() < at + digits) return false;
  out = 0;
  for (std::size_t i = at; i < at + digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    out = out * 10 + (text[i] - '0');
  }
  return true;
}

// Of a character of UTF-8 by its first byte.
std::size_t LengthOf(char first) {
  const auto lead = static_cast<unsigned char>(first);
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// Whether one character in UTF-8, whose order by bytes is that of code points, leaves cursor, line and direction alone, and is no tag or
// selector, by which a text can carry another that a model reads and nobody sees.
bool IsTame(std::string_view character) {
  const auto within = [&](std::string_view first, std::string_view last) { return character >= first && character <= last; };
  if (character.size() == 1) return static_cast<unsigned char>(character[0]) >= 0x20 && character[0] != 0x7F;
  return !within("\u0080", "\u009f") && character != "\u200b" && !within("\u2028", "\u202e") && !within("\u2060", "\u2069") &&
         !within("\U000E0000", "\U000E01EF");
}
}  // namespace

absl::StatusOr<std::int64_t> ParseDuration(std::string_view text) {
  std::int64_t number = 0;
  std::int64_t unit = 0;
  if (!text.empty()) {
    switch (text.back()) {
      case 's': unit = 1; break;
      case 'm': unit = 60; break;
      case 'h': unit = 3600; break;
      case 'd': unit = 86400; break;
      default: break;
    }
  }
  if (unit == 0 || !ReadInt(text.substr(0, text.size() - 1), number) || number <= 0 || number > 100'000'000) {
    return base::InvalidArgument(fmt::format("\"{}\" is no duration; write a number and s, m, h or d, such as 90m or 7d", text));
  }
  return number * unit;
}

absl::StatusOr<std::int64_t> ParseTime(std::string_view text, base::WallTime now) {
  if (const auto ago = ParseDuration(text); ago.ok()) return base::ToMicros(now) - *ago * 1'000'000;
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  bool good =
      ReadDigits(text, 0, 4, year) && ReadDigits(text, 5, 2, month) && ReadDigits(text, 8, 2, day) && text[4] == '-' && text[7] == '-';
  if (good && text.size() != 10) {
    good = text.size() == 20 && (text[10] == 'T' || text[10] == ' ') && ReadDigits(text, 11, 2, hour) && ReadDigits(text, 14, 2, minute) &&
           ReadDigits(text, 17, 2, second) && text[13] == ':' && text[16] == ':' && text[19] == 'Z' && hour < 24 && minute < 60 &&
           second < 60;
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!good || !date.ok()) {
    return base::InvalidArgument(fmt::format("\"{}\" is no time; write 2026-11-01, 2026-11-01T08:30:00Z or how long ago: 24h", text));
  }
  const auto at = std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
  return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count();
}

std::string ShowTime(std::int64_t us) {
  if (us == 0) return "-";
  std::string text = base::FormatRfc3339(base::FromMicros(us - us % 1'000'000));
  if (text.size() < 19) return text;
  text[10] = ' ';
  return text.substr(0, 19);
}

std::string ShowCount(std::int64_t count) {
  std::string text = std::to_string(count);
  const std::size_t first = text.starts_with('-') ? 1 : 0;
  for (std::size_t at = text.size(); at > first + 3;) {
    at -= 3;
    text.insert(at, ",");
  }
  return text;
}

absl::StatusOr<TeamAndProject> ParsePlace(std::string_view text, bool project_needed) {
  const std::size_t slash = text.find('/');
  TeamAndProject place{std::string(text.substr(0, slash)), slash == std::string_view::npos ? "" : std::string(text.substr(slash + 1))};
  const bool extra = place.project.find('/') != std::string::npos;
  const bool hole = place.team.empty() || (slash != std::string_view::npos && place.project.empty());
  if (extra || hole || (project_needed && place.project.empty())) {
    return base::InvalidArgument(fmt::format("\"{}\" is no {}; another org is named by --org", text,
                                             project_needed ? "project; write TEAM/PROJECT" : "place; write TEAM or TEAM/PROJECT"));
  }
  return place;
}

absl::StatusOr<Limit> ParseLimit(std::string_view text) {
  Limit limit;
  const std::size_t slash = text.find('/');
  const std::string_view meter = text.substr(0, slash);
  const std::string_view window = slash == std::string_view::npos ? "" : text.substr(slash + 1);
  if (meter == "requests") limit.meter = v1::QUOTA_METER_REQUESTS;
  if (meter == "tokens") limit.meter = v1::QUOTA_METER_TOKENS;
  if (meter == "concurrent") limit.meter = v1::QUOTA_METER_CONCURRENT;
  if (window == "minute") limit.window = v1::QUOTA_WINDOW_MINUTE;
  if (window == "hour") limit.window = v1::QUOTA_WINDOW_HOUR;
  if (window == "day") limit.window = v1::QUOTA_WINDOW_DAY;
  if (window == "month") limit.window = v1::QUOTA_WINDOW_MONTH;
  const bool concurrent = limit.meter == v1::QUOTA_METER_CONCURRENT;
  if (limit.meter == v1::QUOTA_METER_UNSPECIFIED ||
      (concurrent ? slash != std::string_view::npos : limit.window == v1::QUOTA_WINDOW_UNSPECIFIED)) {
    return base::InvalidArgument(
        fmt::format("\"{}\" is no limit; write requests/WINDOW or tokens/WINDOW, with minute, hour, day or month, or concurrent", text));
  }
  return limit;
}

std::string ShowLimit(v1::QuotaMeter meter, v1::QuotaWindow window) {
  std::string text = meter == v1::QUOTA_METER_REQUESTS ? "requests" : meter == v1::QUOTA_METER_TOKENS ? "tokens" : "concurrent";
  switch (window) {
    case v1::QUOTA_WINDOW_MINUTE: return text + "/minute";
    case v1::QUOTA_WINDOW_HOUR: return text + "/hour";
    case v1::QUOTA_WINDOW_DAY: return text + "/day";
    case v1::QUOTA_WINDOW_MONTH: return text + "/month";
    default: return text;
  }
}

std::string ShowScope(const v1::ScopeRef& scope) {
  std::string text = scope.org();
  if (!scope.team().empty()) text += "/" + scope.team();
  if (!scope.project().empty()) text += "/" + scope.project();
  if (!scope.key().empty()) text += (text.empty() ? "key " : "/key ") + scope.key();
  return text.empty() ? "(own org)" : text;
}

std::string ShowScopeOptions(const v1::ScopeRef& scope) {
  if (!scope.key().empty()) return " --key-id " + scope.key();
  if (!scope.project().empty()) return fmt::format(" --project {}/{}", scope.team(), scope.project());
  return scope.team().empty() ? "" : " --team " + scope.team();
}

std::string ByAction(const std::string& strictest, const std::vector<RuleWord>& rules) {
  std::vector<std::string> parts;
  for (const char* action : {"block", "redact", "flag", "allow", "noted"}) {
    std::vector<std::string_view> names;
    for (const RuleWord& word : rules) {
      if (word.action == action) names.push_back(word.rule);
    }
    if (!names.empty()) parts.push_back(fmt::format("{} by {}", action, fmt::join(names, ", ")));
  }
  if (parts.empty() || !parts[0].starts_with(strictest)) parts.insert(parts.begin(), strictest);
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string PolicyWords(const v1::PolicyOutcome& outcome) {
  const std::string strictest = outcome.action().empty() ? "allow" : outcome.action();
  std::vector<RuleWord> words;
  std::set<std::string> told;
  for (const v1::ActingRule& rule : outcome.rules()) {
    const bool acted = rule.action() == "block" || rule.action() == "redact";
    if (acted && told.insert(rule.id()).second) words.push_back({rule.action(), rule.id()});
  }
  // The others changed nothing.
  const std::string other = words.empty() ? strictest : "noted";
  for (const std::string& id : outcome.rule_ids()) {
    if (!told.contains(id)) words.push_back({other, id});
  }
  return ByAction(strictest, words);
}

std::string Tamed(std::string_view text, std::string_view keep) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::string_view character = text.substr(0, LengthOf(text[0]));
    const bool whole = base::IsValidUtf8(character);
    const bool shown = whole && (IsTame(character) || (character.size() == 1 && keep.find(character[0]) != std::string_view::npos));
    if (shown) {
      out += character;
    } else {
      out += '?';
    }
    text.remove_prefix(whole ? character.size() : 1);
  }
  return out;
}

absl::StatusOr<std::pair<std::int32_t, std::int64_t>> ParsePosition(std::string_view text) {
  const std::size_t slash = text.find('/');
  std::int64_t log = 0;
  std::int64_t index = 0;
  if (slash == std::string_view::npos || !ReadInt(text.substr(0, slash), log) || !ReadInt(text.substr(slash + 1), index) || log < 0 ||
      log > 32767 || index < 0) {
    return base::InvalidArgument(fmt::format("\"{}\" is no position of a record; write LOG/INDEX, such as 1/42", text));
  }
  return std::pair(static_cast<std::int32_t>(log), index);
}

}  // namespace tollgate::cli
