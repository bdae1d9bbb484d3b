// Whole nano-units in 64 bits; products go through 128 bits, so that only the result can overflow.
// Tested by tests/base/values_test.cpp.
#include "base/money.h"

#include <limits>

#include <fmt/format.h>

namespace tollgate::base {
namespace {

__extension__ typedef __int128 Wide;

constexpr std::int64_t kNanos = 1'000'000'000;
constexpr std::size_t kDecimals = 9;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

absl::StatusOr<Money> Fit(Wide nanos) {
  if (nanos > std::numeric_limits<std::int64_t>::max() || nanos < std::numeric_limits<std::int64_t>::min()) {
    return MakeStatus(absl::StatusCode::kOutOfRange, "the amount does not fit: at most 9,223,372,036.854775807");
  }
  return Money{static_cast<std::int64_t>(nanos)};
}

}  // namespace

absl::StatusOr<Money> ParseMoney(std::string_view text) {
  const auto bad = [&](std::string_view why) { return InvalidArgument(fmt::format("\"{}\" is no amount: {}", text.substr(0, 40), why)); };
  std::string_view rest = text;
  const bool negative = !rest.empty() && rest.front() == '-';
  if (negative) rest.remove_prefix(1);
  const std::size_t point = rest.find('.');
  const std::string_view whole = rest.substr(0, point);
  const std::string_view fraction = point == std::string_view::npos ? std::string_view() : rest.substr(point + 1);
  if (whole.empty() || (point != std::string_view::npos && fraction.empty())) return bad("write digits, a point and digits, like 0.15");
  if (fraction.size() > kDecimals) return bad("at most nine decimals");
  Wide nanos = 0;
  for (const char c : whole) {
    if (!IsDigit(c)) return bad("write digits, a point and digits, like 0.15");
    nanos = nanos * 10 + (c - '0');
    if (nanos > std::numeric_limits<std::int64_t>::max()) return bad("it is too large");
  }
  for (std::size_t i = 0; i < kDecimals; ++i) {
    const char c = i < fraction.size() ? fraction[i] : '0';
    if (!IsDigit(c)) return bad("write digits, a point and digits, like 0.15");
    nanos = nanos * 10 + (c - '0');
  }
  const auto money = Fit(negative ? -nanos : nanos);
  if (!money.ok()) return bad("it is too large");
  return money;
}

std::string FormatMoney(Money amount) {
  const bool negative = amount.nanos < 0;
  const std::uint64_t size = negative ? 0 - static_cast<std::uint64_t>(amount.nanos) : static_cast<std::uint64_t>(amount.nanos);
  std::string decimals = fmt::format("{:09}", size % kNanos);
  while (decimals.size() > 2 && decimals.back() == '0') decimals.pop_back();
  return fmt::format("{}{}.{}", negative ? "-" : "", size / kNanos, decimals);
}

absl::StatusOr<Money> PriceOf(std::int64_t count, Money price, std::int64_t per) {
  if (per <= 0) return InvalidArgument("a price must be for at least one unit");
  const Wide doubled = 2 * static_cast<Wide>(count) * price.nanos + per;  // Half up: floor(x + 1/2).
  const Wide divisor = 2 * static_cast<Wide>(per);
  Wide quotient = doubled / divisor;
  if (doubled % divisor < 0) --quotient;
  return Fit(quotient);
}

absl::StatusOr<Money> Add(Money a, Money b) { return Fit(static_cast<Wide>(a.nanos) + b.nanos); }

}  // namespace tollgate::base
