// What people and programs are told when a limit is met. Private to metering. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "metering/quota_rules.h"

namespace tollgate::metering {

// "team search"
std::string LabelOf(const Scope& scope);

// A window's limit is met: `used` of the rule's amount are used or held, `need` more are wanted. `now` is the database's time.
// RESOURCE_EXHAUSTED with ErrorDetail. Of what IsOnlyHeld trying again helps: RATE_LIMITED.
absl::Status WindowSpent(const QuotaRule& rule, const WindowSpan& window, base::WallTime now, std::int64_t used, std::int64_t need,
                         std::int64_t held = 0);

// Whether the limit has room for `need` without the `held` of `used`, which running requests may give back.
bool IsOnlyHeld(const QuotaRule& rule, std::int64_t used, std::int64_t need, std::int64_t held);

// As many requests run as may.
absl::Status TooManyRunning(const QuotaRule& rule, std::int64_t running);

// The lease store cannot be reached: UNAVAILABLE with ErrorDetail, reason QUOTA_UNAVAILABLE.
absl::Status StoreAway();
absl::Status StoreSlow();  // No lease came in time.
absl::Status TooManyWaiting();
absl::Status LeasesLost();  // The holder was closed by the next owner of the log.
absl::Status Stopping();

}  // namespace tollgate::metering
