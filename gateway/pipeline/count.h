// Prompt tokens without a chat.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/collaborators.h"
#include "inference/types.h"

namespace tollgate::pipeline {

struct Shared;

struct CountedPrompt {
  std::int64_t tokens = 0;
  std::int64_t context_tokens = 0;  // Of the model that would answer.
};

// The prompt tokens that a chat with these messages would be billed: after the caller's defaults and what policy changes, of the model that
// a rule sends it to. Errors as that chat's: blocked by policy, or not to be laid out for the model. What rules ask of the caller (terms, a
// justification, an approval, a rate) is not asked here.
async::Awaitable<absl::StatusOr<CountedPrompt>> CountPrompt(Shared& shared, const identity::Principal& principal,
                                                            const base::RequestId& request, const tollgate::v1::CountTokensRequest& asked,
                                                            const inference::ModelInfo& model);

}  // namespace tollgate::pipeline
