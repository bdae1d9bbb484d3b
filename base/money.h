// Money: whole nano-units of a currency (10^-9), never floating point.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::base {

struct Money {
  std::int64_t nanos = 0;
  auto operator<=>(const Money&) const = default;
};

// "0.15", "12", "-3.000000001". More than nine decimals, a second point or an overflow is INVALID_ARGUMENT.
absl::StatusOr<Money> ParseMoney(std::string_view text);

// The shortest exact form with at least two decimals: "0.15", "12.00", "0.00000015".
std::string FormatMoney(Money amount);

// price is for `per` units: count * price / per, rounded half up to one nano. OUT_OF_RANGE if it does not fit.
absl::StatusOr<Money> PriceOf(std::int64_t count, Money price, std::int64_t per);

absl::StatusOr<Money> Add(Money a, Money b);  // OUT_OF_RANGE if it does not fit.

}  // namespace tollgate::base
