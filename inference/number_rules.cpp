// Digits are told apart from the front: at each place a number still lies on the edge of a bound, or has left it and any digits may follow.
// So the rule has as many alternatives as there are lengths to tell apart (three), and within each a text has one reading.
//
// A fraction never carries a number over a bound that is allowed itself, for rounding keeps order. Over one that is not it could
// (9.9999999999999999 is 10), so there the digits of bound and fraction are 15 together, which 64-bit floating point tells apart.
//
// Tested by tests/inference/number_rules_test.cpp and tests/inference/json_schema_engine_test.cpp.
#include "inference/number_rules.h"

#include <algorithm>
#include <boost/json/value.hpp>
#include <cmath>
#include <optional>
#include <vector>

#include <fmt/format.h>

namespace tollgate::inference {
namespace {

namespace json = boost::json;

constexpr std::int64_t kMost = 9'999'999'999'999'999;  // Of a number without bounds: 16 digits.
constexpr std::uint64_t kOpenMax = 1'000'000'000;
constexpr int kDigits = 15;  // That a 64-bit number keeps.
constexpr double kFar = 9.2e18;

// From one digit to another.
std::string Class(char from, char to) { return from == to ? fmt::format("\"{}\"", from) : fmt::format("[{}-{}]", from, to); }

// So many digits more.
std::string Any(std::size_t count) { return count == 0 ? "" : count == 1 ? " [0-9]" : fmt::format(" [0-9]{{{}}}", count); }

std::string Group(const std::vector<std::string>& alternatives) {
  std::string out;
  for (const std::string& one : alternatives) out += (out.empty() ? "" : " | ") + one;
  return alternatives.size() == 1 ? out : "( " + out + " )";
}

// As many digits as `most` has, and no more than it; the first not below `first`.
std::string AtMost(std::string_view most, char first) {
  const char edge = most.front();
  if (most.size() == 1) return Class(first, edge);
  if (most.find_first_not_of('9') == std::string_view::npos) return Class(first, '9') + Any(most.size() - 1);
  std::vector<std::string> out;
  if (edge > first) out.push_back(Class(first, static_cast<char>(edge - 1)) + Any(most.size() - 1));
  out.push_back(Class(edge, edge) + " " + AtMost(most.substr(1), '0'));
  return Group(out);
}

std::string AtLeast(std::string_view least) {
  const char edge = least.front();
  if (least.substr(1).find_first_not_of('0') == std::string_view::npos) return Class(edge, '9') + Any(least.size() - 1);
  std::vector<std::string> out = {Class(edge, edge) + " " + AtLeast(least.substr(1))};
  if (edge < '9') out.push_back(Class(static_cast<char>(edge + 1), '9') + Any(least.size() - 1));
  return Group(out);
}

// REQUIRES: as long as each other.
std::string Between(std::string_view least, std::string_view most) {
  const char from = least.front();
  const char to = most.front();
  if (least.size() == 1) return Class(from, to);
  if (from == to) return Class(from, to) + " " + Between(least.substr(1), most.substr(1));
  std::vector<std::string> out = {Class(from, from) + " " + AtLeast(least.substr(1))};
  if (to - from > 1) out.push_back(Class(static_cast<char>(from + 1), static_cast<char>(to - 1)) + Any(least.size() - 1));
  out.push_back(Class(to, to) + " " + AtMost(most.substr(1), '0'));
  return Group(out);
}

// Whole numbers without a sign, an alternative for each length that must be told apart. REQUIRES: least <= most.
std::vector<std::string> Whole(std::uint64_t least, std::uint64_t most) {
  const std::string from = std::to_string(least);
  const std::string to = std::to_string(most);
  if (from.size() == to.size()) return {Between(from, to)};
  std::vector<std::string> out;
  if (least == 0) out.emplace_back("\"0\"");
  const std::string first = least == 0 ? "1" : from;
  const bool any_of_first = first.find_first_not_of('0', 1) == std::string::npos && first.front() == '1';
  const bool any_of_last = to.find_first_not_of('9') == std::string::npos;
  if (!any_of_first) out.push_back(AtLeast(first));
  const std::size_t shortest = first.size() + (any_of_first ? 0 : 1);
  const std::size_t longest = to.size() - (any_of_last ? 0 : 1);
  if (shortest == longest) out.push_back("[1-9]" + Any(shortest - 1));
  if (shortest < longest) out.push_back(fmt::format("[1-9] [0-9]{{{},{}}}", shortest - 1, longest - 1));
  if (!any_of_last) out.push_back(AtMost(to, '1'));
  return out;
}

struct Bound {
  std::int64_t at = 0;
  bool open = false;  // The number itself is not within.
  bool far = false;   // The bound lies beyond 16 digits, and this is their end.
};

struct Magnitudes {
  std::uint64_t least = 0, most = 0;
  bool open_least = false, open_most = false;
  bool far = false;  // As in Bound, of `most`.
};

std::uint64_t Magnitude(std::int64_t number) {
  return number < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number);
}

// Decimals without a sign.
std::vector<std::string> Decimals(const Magnitudes& m, int digits) {
  std::vector<std::string> out;
  const std::uint64_t first = m.least + (m.open_least ? 1 : 0);
  if (m.open_least && m.least < m.most)
    out.push_back(fmt::format(R"("{}." "0"{{0,{}}} [1-9] [0-9]{{0,{}}})", m.least, digits - 1, digits - 1));
  const std::uint64_t last = m.far ? m.most : m.most - 1;  // Behind which any fraction may stand.
  if (first < m.most) out.push_back(fmt::format(R"({} ( "." [0-9]{{1,{}}} )?)", Group(Whole(first, last)), digits));
  if (!m.open_most && !m.far && first <= m.most) out.push_back(fmt::format(R"("{}" ( "." "0"{{1,16}} )?)", m.most));
  return out;
}

NumberRule Joined(const std::vector<std::string>& negative, const std::vector<std::string>& positive, std::size_t lengths) {
  std::vector<std::string> all = positive;
  if (!negative.empty()) all.insert(all.begin(), "\"-\" " + Group(negative));
  const std::size_t readings = std::max({negative.size(), positive.size(), std::size_t{1}}) * lengths;
  std::string body = Group(all);
  return {std::move(body), static_cast<std::int64_t>(readings)};
}

NumberRule Integers(std::int64_t least, std::int64_t most) {
  std::vector<std::string> negative;
  std::vector<std::string> positive;
  if (least < 0) negative = Whole(most < 0 ? Magnitude(most) : 1, Magnitude(least));
  if (most >= 0) positive = Whole(least > 0 ? Magnitude(least) : 0, Magnitude(most));
  return Joined(negative, positive, 1);
}

NumberRule Numbers(const Bound& least, const Bound& most) {
  int digits = 16;
  for (const Bound& bound : {least, most})
    if (bound.open) digits = std::min(digits, kDigits - static_cast<int>(std::to_string(Magnitude(bound.at)).size()));
  std::vector<std::string> negative;
  std::vector<std::string> positive;
  if (least.at < 0)
    negative = Decimals({.least = most.at < 0 ? Magnitude(most.at) : 0,
                         .most = Magnitude(least.at),
                         .open_least = most.at <= 0 && most.open,
                         .open_most = least.open,
                         .far = least.far},
                        digits);
  if (most.at >= 0)
    positive = Decimals({.least = least.at > 0 ? Magnitude(least.at) : 0,
                         .most = Magnitude(most.at),
                         .open_least = least.at >= 0 && least.open,
                         .open_most = most.open,
                         .far = most.far},
                        digits);
  return Joined(negative, positive, 3);  // Whole tells three lengths apart.
}

absl::Status NotEnforced(std::string_view keyword, bool integers) {
  return base::InvalidArgument(fmt::format("\"{}\" cannot be enforced here: it must be a {} within 64 bits", keyword,
                                           integers ? "number" : "whole number (and below 10^9 where it is exclusive)"));
}

// The whole number to which a lower or an upper bound comes; beyond 64 bits on the side where it bounds nothing, the last within.
absl::StatusOr<Bound> Read(std::string_view keyword, const json::value& value, bool integers) {
  const bool lower = keyword == "minimum" || keyword == "exclusiveMinimum";
  Bound bound{.at = 0, .open = keyword.starts_with("exclusive")};
  bool between = false;  // Two whole numbers: neither is the bound itself.
  if (value.is_int64()) {
    bound.at = value.get_int64();
  } else if (value.is_uint64()) {
    if (lower) return NotEnforced(keyword, integers);
    bound.at = INT64_MAX;
  } else if (value.is_double() && std::isfinite(value.get_double())) {
    const double number = value.get_double();
    const double whole = lower ? std::ceil(number) : std::floor(number);
    between = whole != number;
    if (std::abs(whole) > kFar && (lower == (whole > 0))) return NotEnforced(keyword, integers);
    bound.at = std::abs(whole) <= kFar ? static_cast<std::int64_t>(whole) : whole > 0 ? INT64_MAX : INT64_MIN;
  } else {
    return NotEnforced(keyword, integers);
  }
  if (!integers) {
    if (between || (bound.open && Magnitude(bound.at) >= kOpenMax)) return NotEnforced(keyword, integers);
    return bound;
  }
  if (bound.open && !between) {
    if (bound.at == (lower ? INT64_MAX : INT64_MIN)) return NotEnforced(keyword, integers);
    bound.at += lower ? 1 : -1;
  }
  bound.open = false;
  return bound;
}

// The tighter one of the two keywords, if any is there.
absl::StatusOr<std::optional<Bound>> Tighter(const json::object& schema, bool lower, bool integers) {
  std::optional<Bound> out;
  for (const std::string_view keyword : {lower ? "minimum" : "maximum", lower ? "exclusiveMinimum" : "exclusiveMaximum"}) {
    const json::value* value = schema.if_contains({keyword.data(), keyword.size()});
    if (value == nullptr) continue;
    TG_ASSIGN(const Bound bound, Read(keyword, *value, integers));
    const bool tighter = !out || (lower ? bound.at > out->at : bound.at < out->at) || (bound.at == out->at && bound.open);
    if (tighter) out = bound;
  }
  return out;
}

}  // namespace

absl::StatusOr<NumberRule> NumbersWithin(const json::object& schema, bool integers) {
  TG_ASSIGN(const std::optional<Bound> lower, Tighter(schema, true, integers));
  TG_ASSIGN(const std::optional<Bound> upper, Tighter(schema, false, integers));
  if (!lower && !upper) return NumberRule{};
  Bound least = lower.value_or(Bound{.at = INT64_MIN});
  Bound most = upper.value_or(Bound{.at = INT64_MAX});
  if (least.at > most.at || (least.at == most.at && (least.open || most.open)))
    return base::InvalidArgument("its bounds let no number through");
  if (least.at < -kMost && most.at >= -kMost) least = {.at = -kMost, .far = true};
  if (most.at > kMost && least.at <= kMost) most = {.at = kMost, .far = true};
  return integers ? Integers(least.at, most.at) : Numbers(least, most);
}

bool IsNumberBound(std::string_view keyword, const json::value& value, bool integers) { return Read(keyword, value, integers).ok(); }

}  // namespace tollgate::inference
