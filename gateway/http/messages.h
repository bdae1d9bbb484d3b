// The `messages` field of a chat request.
#pragma once

#include <boost/json/value.hpp>

#include "base/status.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::http_front {

// Appends every message of `value` to `chat`. Text parts stay parts, in order. Errors name the path: "messages[2].content[0].text".
absl::Status ReadMessages(const boost::json::value& value, tollgate::v1::ChatRequest& chat);

}  // namespace tollgate::http_front
