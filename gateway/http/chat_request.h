// The body of POST /v1/chat/completions, as a tollgate.v1.ChatRequest. Pure; thread-safe.
//
// Every field is honoured or refused by name with INVALID_ARGUMENT (detail.param = the field; reason = OpenAI's code in upper case:
// UNKNOWN_PARAMETER, UNSUPPORTED_PARAMETER, UNSUPPORTED_VALUE, INVALID_TYPE, INVALID_VALUE, MISSING_REQUIRED_PARAMETER). A null is an
// absent field. Ranges of numbers and lengths of texts are the pipeline's to check; here are only types, and what OpenAI's form itself
// says. README.md has the table of fields.
#pragma once

#include <string_view>

#include "base/status.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::http_front {

struct ChatCompletionRequest {
  tollgate::v1::ChatRequest chat;
  bool stream = false;
  bool include_usage = false;
};

absl::StatusOr<ChatCompletionRequest> ParseChatCompletion(std::string_view body);

}  // namespace tollgate::http_front
