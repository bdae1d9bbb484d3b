// JSON as a gateway must read it: one meaning a text. Beside the grammar it refuses duplicate keys (readers differ on which one wins),
// invalid UTF-8, lone surrogates, and nesting deeper than a bound.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/status.h"

namespace tollgate::http_front {

inline constexpr std::size_t kJsonDepthMax = 32;

// How the text spells the numbers within a value that are no whole ones of 64 bits. Views of the text.
using NumberTexts = std::unordered_map<const boost::json::value*, std::string_view>;

// INVALID_ARGUMENT saying what is wrong and at which byte. The value lives in `storage`.
absl::StatusOr<boost::json::value> ParseStrictJson(std::string_view text, const boost::json::storage_ptr& storage,
                                                   NumberTexts* numbers = nullptr);

// The same of a request's body, which must be an object.
absl::StatusOr<boost::json::object> ParseBody(std::string_view text, const boost::json::storage_ptr& storage,
                                              NumberTexts* numbers = nullptr);

// As JSON without white space, each number as it was spelt: a value has the nearest that 64 bits hold, and Boost.JSON writes 0.7 as 7E-1.
std::string JsonAsSpelt(const boost::json::value& value, const NumberTexts& numbers);

}  // namespace tollgate::http_front
