// Prompt tokens without a chat.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"

namespace tollgate::pipeline {

// The prompt tokens that a chat with these messages would be billed: after the caller's defaults and what policy changes. Errors as that
// chat's: blocked by policy, or not to be laid out for the model.
async::Awaitable<absl::StatusOr<std::int64_t>> CountPrompt(const Collaborators& with, const identity::Principal& principal,
                                                           const base::RequestId& request, const tollgate::v1::CountTokensRequest& asked,
                                                           const std::string& model);

}  // namespace tollgate::pipeline
