// POST /v1/tokenize, also at /tokenize: counts the tokens of a chat's messages, in vLLM's form. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::http_front {

// Errors as ParseChatCompletion; README.md has the table of fields.
absl::StatusOr<tollgate::v1::CountTokensRequest> ParseTokenize(std::string_view body);

// {"count":12,"max_model_len":4096}
std::string TokenizeBody(const tollgate::v1::CountTokensReply& reply);

}  // namespace tollgate::http_front
