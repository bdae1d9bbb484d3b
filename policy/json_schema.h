// JsonSchema: a JSON Schema that was read and can be judged as it says, with what judging needs at hand. Internal to json_shape.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <re2/re2.h>
#include <boost/json/value.hpp>

#include "base/status.h"

namespace tollgate::policy {

struct JsonSchema {
  static constexpr std::size_t kBytesMax = 32 << 10;

  boost::json::value root;
  std::map<std::string, std::unique_ptr<const re2::RE2>, std::less<>> patterns;  // By their texts: all that may be asked for.

  // INVALID_ARGUMENT that names the place in the schema and the remedy. After it each keyword has a value of its kind, each reference leads
  // to a schema within `root`, and no circle of references stays at one value of the text for ever.
  static absl::StatusOr<std::unique_ptr<const JsonSchema>> Read(std::string_view text);

  // What `ref`, the value of a "$ref", leads to; nullptr if that is nothing of `root`.
  const boost::json::value* Target(const boost::json::value& ref) const;
};

// Of the formats that Read lets pass: date, time, date-time (RFC 3339), uuid (RFC 4122), email, hostname (RFC 1123), ipv4, ipv6, uri.
bool IsOfJsonFormat(std::string_view text, std::string_view format);

}  // namespace tollgate::policy
