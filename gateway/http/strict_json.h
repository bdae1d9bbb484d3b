// JSON as a gateway must read it: one meaning a text. Beside the grammar it refuses duplicate keys (readers differ on which one wins),
// invalid UTF-8, lone surrogates, and nesting deeper than a bound.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <string_view>

#include "base/status.h"

namespace tollgate::http_front {

inline constexpr std::size_t kJsonDepthMax = 32;

// INVALID_ARGUMENT saying what is wrong and at which byte. The value lives in `storage`.
absl::StatusOr<boost::json::value> ParseStrictJson(std::string_view text, const boost::json::storage_ptr& storage);

// The same of a request's body, which must be an object.
absl::StatusOr<boost::json::object> ParseBody(std::string_view text, const boost::json::storage_ptr& storage);

}  // namespace tollgate::http_front
