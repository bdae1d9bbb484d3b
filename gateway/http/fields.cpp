// Texts follow OpenAI's where it has one, because people search for them. Names of unknown fields come from the caller: they are cut to 64
// bytes.
//
// Tested by tests/gateway/http/chat_request_test.cpp.
#include "gateway/http/fields.h"

#include <cmath>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error_detail.h"

namespace tollgate::http_front {
namespace {

std::string_view KindName(const boost::json::value& value) {
  switch (value.kind()) {
    case boost::json::kind::null: return "null";
    case boost::json::kind::bool_: return "a boolean";
    case boost::json::kind::int64:
    case boost::json::kind::uint64: return "an integer";
    case boost::json::kind::double_: return "a decimal number";
    case boost::json::kind::string: return "a string";
    case boost::json::kind::array: return "an array";
    case boost::json::kind::object: return "an object";
  }
  return "something else";
}

std::string_view Cut(std::string_view text) { return text.substr(0, base::Utf8PrefixLength(text.substr(0, 64))); }

}  // namespace

absl::Status Refuse(std::string_view code, std::string_view param, std::string_view message) {
  return base::WithDetail(base::InvalidArgument(message), {.reason = std::string(code), .param = std::string(param), .may_retry = false});
}

absl::Status UnknownField(std::string_view param) {
  return Refuse("UNKNOWN_PARAMETER", Cut(param), fmt::format("Unknown parameter: '{}'. Remove it: Tollgate ignores no field.", Cut(param)));
}

absl::Status MissingField(std::string_view param) {
  return Refuse("MISSING_REQUIRED_PARAMETER", param, fmt::format("Missing required parameter: '{}'.", param));
}

absl::Status Unsupported(std::string_view param, std::string_view remedy) {
  return Refuse("UNSUPPORTED_PARAMETER", param, fmt::format("Unsupported parameter: '{}'. {}", param, remedy));
}

absl::Status WrongType(std::string_view param, std::string_view wanted, const boost::json::value& got) {
  return Refuse("INVALID_TYPE", param,
                fmt::format("Invalid type for '{}': expected {}, but got {} instead.", param, wanted, KindName(got)));
}

absl::StatusOr<bool> ReadBool(std::string_view param, const boost::json::value& value) {
  if (!value.is_bool()) return WrongType(param, "a boolean", value);
  return value.get_bool();
}

absl::StatusOr<double> ReadNumber(std::string_view param, const boost::json::value& value) {
  if (!value.is_number()) return WrongType(param, "a number", value);
  const double number = value.to_number<double>();
  if (!std::isfinite(number)) return Refuse("INVALID_VALUE", param, fmt::format("Invalid '{}': the number is too large.", param));
  return number;
}

absl::StatusOr<std::int64_t> ReadInteger(std::string_view param, const boost::json::value& value, std::int64_t least, std::int64_t most) {
  if (value.is_uint64() || value.is_int64()) {
    const bool too_large = value.is_uint64() && value.get_uint64() > static_cast<std::uint64_t>(INT64_MAX);
    const std::int64_t number = too_large ? INT64_MAX : value.to_number<std::int64_t>();
    if (!too_large && number >= least && number <= most) return number;
    return Refuse("INVALID_VALUE", param, fmt::format("Invalid '{}': must be at least {} and at most {}.", param, least, most));
  }
  return WrongType(param, "an integer", value);
}

absl::StatusOr<std::string> ReadString(std::string_view param, const boost::json::value& value) {
  if (!value.is_string()) return WrongType(param, "a string", value);
  return std::string(value.get_string().data(), value.get_string().size());
}

absl::Status CheckOther(std::string_view param, std::string_view key, const boost::json::value& value) {
  if (key != "cache_control" && key != "copilot_cache_control") return UnknownField(param);
  if (value.is_null() || value.is_object()) return absl::OkStatus();
  return WrongType(param, "an object", value);
}

}  // namespace tollgate::http_front
