// What a quota is: a limit on one scope, in one meter, over one window. Values; a set of them is immutable once made.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::metering {

// Whom a limit binds. A request lies in up to four: its key, project, team and org. `name` is for people.
struct Scope {
  enum class Kind { kOrg, kTeam, kProject, kKey };
  Kind kind = Kind::kOrg;
  base::Uuid id;
  std::string name;
};

enum class Meter { kRequests, kTokens, kConcurrent };
enum class Window { kMinute, kHour, kDay, kMonth, kNone };  // Calendar windows, UTC. kNone: for kConcurrent only.

std::string_view NameOf(Scope::Kind kind);  // "org", "team", "project", "key"
std::string_view NameOf(Meter meter);       // "requests", "tokens", "concurrent": as the directory stores them.
std::string_view NameOf(Window window);     // "minute", "hour", "day", "month", "none"
absl::StatusOr<Scope::Kind> ParseScopeKind(std::string_view name);
absl::StatusOr<Meter> ParseMeter(std::string_view name);
absl::StatusOr<Window> ParseWindow(std::string_view name);

// One limit: at most `amount` (0 = nothing) of `meter` in each window. The amount may be edited under the same id and keeps what was
// used; another scope, meter or window is another limit and needs another id.
struct QuotaRule {
  base::Uuid id;
  Scope scope;
  Meter meter = Meter::kTokens;
  Window window = Window::kMonth;
  std::int64_t amount = 0;
};

// INVALID_ARGUMENT, naming the field, for what QuotaRules::Make would refuse in one rule. For whoever edits quotas.
absl::Status Validate(const QuotaRule& rule);

// All limits in force. Immutable; any thread.
class QuotaRules {
 public:
  static constexpr std::int64_t kAmountMax = 1'000'000'000'000'000;  // 10^15

  // INVALID_ARGUMENT: a negative or too large amount, two rules with one id, no id, a window with kConcurrent or none without it.
  static absl::StatusOr<std::shared_ptr<const QuotaRules>> Make(std::vector<QuotaRule> rules);

  std::span<const QuotaRule> all() const { return rules_; }

 private:
  explicit QuotaRules(std::vector<QuotaRule> rules) : rules_(std::move(rules)) {}
  std::vector<QuotaRule> rules_;
};

// One window of calendar time: start <= t < end.
struct WindowSpan {
  base::WallTime start;
  base::WallTime end;
  bool Holds(base::WallTime t) const { return start <= t && t < end; }
};

// The window that holds `t`. REQUIRES: not kNone.
WindowSpan WindowAt(Window window, base::WallTime t);

}  // namespace tollgate::metering
