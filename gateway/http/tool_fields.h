// Tools in a request's JSON.
#pragma once

#include <boost/json/value.hpp>
#include <string>

#include "base/status.h"
#include "gateway/http/strict_json.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::http_front {

// `tools`: an array of {"type": "function", "function": {…}}; `numbers`: of the body.
absl::Status ReadTools(const boost::json::value& value, const NumberTexts& numbers, tollgate::v1::ChatRequest& chat);
// `tool_choice`: "none", "auto", "required", or {"type": "function", "function": {"name": …}}.
absl::Status ReadToolChoice(const boost::json::value& value, tollgate::v1::ChatRequest& chat);
// An assistant's `tool_calls`; `param` is the field's path.
absl::Status ReadToolCalls(const std::string& param, const boost::json::value& value, tollgate::v1::ChatMessage& message);

}  // namespace tollgate::http_front
