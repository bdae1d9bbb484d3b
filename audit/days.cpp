// Few steps, each much wider than the one before: what is wanted is nearly always in the first, and a search that must ask all days has
// then read little for nothing. Tested by tests/audit/days_test.cpp.
#include "audit/days.h"

#include "audit/key_chain.h"

namespace tollgate::audit {
namespace {

constexpr std::int64_t kSteps[] = {1, 31, 366};
constexpr std::chrono::hours kClocksMayDiffer{24};
constexpr const char* kAllDays = "-infinity";

}  // namespace

std::optional<base::WallTime> MadeAt(const base::Uuid& id) {
  if (id.raw()[6] >> 4 != 7) return std::nullopt;
  std::int64_t millis = 0;
  for (std::size_t i = 0; i < 6; ++i) millis = millis << 8 | id.raw()[i];
  return base::FromMicros(millis * 1000);
}

absl::Status PlanForValues(base::Session& session, bool session_wide) {
  static const std::string kLocal = "SELECT set_config('plan_cache_mode', 'force_custom_plan', true)";
  static const std::string kWide = "SELECT set_config('plan_cache_mode', 'force_custom_plan', false)";
  return session.Run("have statements planned for their values", session_wide ? kWide : kLocal).status();
}

absl::StatusOr<base::Rows> RunLatestFirst(base::Session& session, std::string_view purpose, const std::string& sql, base::Params params,
                                          std::int64_t latest, const std::function<bool(const base::Rows&)>& enough) {
  params.emplace_back();
  for (const std::int64_t days : kSteps) {
    params.back() = DayText(latest - days);
    TG_ASSIGN(auto rows, session.Run(purpose, sql, params));
    if (enough(rows)) return rows;
  }
  params.back() = std::string(kAllDays);
  return session.Run(purpose, sql, params);
}

absl::StatusOr<base::Rows> RunSinceMade(base::Session& session, std::string_view purpose, const std::string& sql, base::Params params,
                                        const base::Uuid& id) {
  params.emplace_back(std::string(kAllDays));
  if (const auto made = MadeAt(id)) {
    params.back() = DayText(DayOf(*made - kClocksMayDiffer));
    TG_ASSIGN(auto rows, session.Run(purpose, sql, params));
    if (!rows.empty()) return rows;
    params.back() = std::string(kAllDays);
  }
  return session.Run(purpose, sql, params);
}

}  // namespace tollgate::audit
