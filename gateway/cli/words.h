// What people write on the command line and read from it: times, durations, places, limits. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "tollgate/v1/directory.pb.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::cli {

// "45s", "90m", "24h", "7d" as seconds; positive.
absl::StatusOr<std::int64_t> ParseDuration(std::string_view text);

// "2026-11-01", "2026-11-01T08:30:00Z" or a duration before `now` ("24h"), as microseconds since 1970.
absl::StatusOr<std::int64_t> ParseTime(std::string_view text, base::WallTime now);

// "2026-11-25 21:14:03" in UTC; "-" for 0.
std::string ShowTime(std::int64_t us);

// "2,000,000".
std::string ShowCount(std::int64_t count);

// "TEAM" or "TEAM/PROJECT"; `project` empty for the first.
struct TeamAndProject {
  std::string team;
  std::string project;
};
absl::StatusOr<TeamAndProject> ParsePlace(std::string_view text, bool project_needed);

// "requests/minute", "tokens/month", "concurrent".
struct Limit {
  v1::QuotaMeter meter = v1::QUOTA_METER_UNSPECIFIED;
  v1::QuotaWindow window = v1::QUOTA_WINDOW_UNSPECIFIED;
};
absl::StatusOr<Limit> ParseLimit(std::string_view text);
std::string ShowLimit(v1::QuotaMeter meter, v1::QuotaWindow window);

// "acme/search/web", "acme/key 3kQ9xZ0b".
std::string ShowScope(const v1::ScopeRef& scope);

// " --project search/web": the options that name the scope within its org; empty for the org itself.
std::string ShowScopeOptions(const v1::ScopeRef& scope);

// "block by codename; redact by pii.card, pii.email": what each rule did, the strictest first; `strictest` alone where no rule did that.
struct RuleWord {
  std::string action, rule;
};
std::string ByAction(const std::string& strictest, const std::vector<RuleWord>& rules);

// The same of what callers are told.
std::string PolicyWords(const v1::PolicyOutcome& outcome);

// Text from outside without what would move the reader's cursor, end a line or turn the text around: controls, those of C1 (U+0080 to
// U+009F) too, separators of lines, and what sets a direction (U+202A to U+202E, U+2066 to U+2069). '?' for each, and for bytes that are no
// UTF-8.
std::string Tamed(std::string_view text, std::string_view keep = "");  // `keep`: ASCII controls that stay.

// "7/1042" as log and index.
absl::StatusOr<std::pair<std::int32_t, std::int64_t>> ParsePosition(std::string_view text);

}  // namespace tollgate::cli
