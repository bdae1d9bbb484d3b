// Numbers between the bounds of a JSON Schema (minimum, maximum, exclusiveMinimum, exclusiveMaximum), as a rule of a grammar.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tollgate::inference {

// `body`: what stands behind the rule's "::=", empty where the schema has no bounds. `readings`: how many of its alternatives a text may
// begin at most.
struct NumberRule {
  std::string body;
  std::int64_t readings = 1;
};

// Of a schema whose type is "integer" (`integers`) or "number". What it lets through is within the bounds, also to a reader that rounds to
// 64-bit floating point; it may be narrower: no exponents, no more than 16 digits before the point unless a bound has more, and 16 behind.
// INVALID_ARGUMENT, without a place, for bounds that let nothing through, or that are beyond what is enforced: those of integers lie within
// 64 bits, those of other numbers are whole and, where they are exclusive, below 10^9. Some two kilobytes at most.
absl::StatusOr<NumberRule> NumbersWithin(const boost::json::object& schema, bool integers);

// Whether this keyword of these four, alone, is one that NumbersWithin takes.
bool IsNumberBound(std::string_view keyword, const boost::json::value& value, bool integers);

}  // namespace tollgate::inference
