// Which days' partitions a statement asks. Internal to audit/.
//
// There is a partition a day, for ever. Postgres locks each one that a statement may touch, with its indexes, while it plans it: a
// statement that may touch all of them needs thousands of places in a table that all sessions share. So statements name days, and name them
// in parameters, for what is reckoned from now() is known too late.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/postgres.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::audit {

// What an UUID of version 7 says of the time it was made at; nothing of another.
std::optional<base::WallTime> MadeAt(const base::Uuid& id);

// Has each statement of this transaction, or of the session, planned for the values that it comes with: a plan for any values asks all
// partitions.
absl::Status PlanForValues(base::Session& session, bool session_wide = false);

// Both run `sql` with `params` and, behind them, the first day that counts, as a parameter of type date. In a transaction in which
// PlanForValues was called.
//
// From the days about `latest` (since 1970-01-01) back, until `enough` says of what was found that nothing more is wanted; at last from
// all.
absl::StatusOr<base::Rows> RunLatestFirst(base::Session& session, std::string_view purpose, const std::string& sql, base::Params params,
                                          std::int64_t latest, const std::function<bool(const base::Rows&)>& enough);
// From the day on which `id` was made; where nothing is found there, from all days: a clock was wrong, or there is nothing.
absl::StatusOr<base::Rows> RunSinceMade(base::Session& session, std::string_view purpose, const std::string& sql, base::Params params,
                                        const base::Uuid& id);

}  // namespace tollgate::audit
