// By recursion: what is given was parsed within a bound on its depth. A reader keeps a whole number beyond 64 bits as the nearest one that
// floating point has, which shows in its size alone.
//
// Tested by tests/inference/json_schema_test.cpp.
#include "inference/json_text.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include <fmt/format.h>

namespace tollgate::inference {

namespace json = boost::json;

std::string JsonText(const json::value& value) {
  if (value.is_double()) return fmt::format("{}", value.get_double());
  if (!value.is_structured()) return json::serialize(value);
  std::string out;
  if (value.is_array()) {
    for (const json::value& element : value.get_array()) out += (out.empty() ? "" : ",") + JsonText(element);
    return "[" + out + "]";
  }
  for (const auto& field : value.get_object())
    out += (out.empty() ? "" : ",") + json::serialize(field.key()) + ":" + JsonText(field.value());
  return "{" + out + "}";
}

bool HoldsFarNumber(const json::value& value) {
  constexpr double kFar = 9.2e18;
  if (value.is_double()) return !(std::abs(value.get_double()) < kFar);
  if (value.is_array()) return std::any_of(value.get_array().begin(), value.get_array().end(), HoldsFarNumber);
  if (!value.is_object()) return false;
  return std::any_of(value.get_object().begin(), value.get_object().end(), [](const auto& field) { return HoldsFarNumber(field.value()); });
}

}  // namespace tollgate::inference
