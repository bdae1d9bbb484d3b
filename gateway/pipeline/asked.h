// What a request asks, as one digest: what a second person approves for one request. Linear in the prompt. Pure; thread-safe.
#pragma once

#include <string_view>

#include "base/crypto.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::pipeline {

// SHA-256 over the model as the caller names it; for whom it is, as `end_user` (its HMAC; empty: nobody is named); the messages, with the
// system prompt of the defaults in force if it was put into them; the tools, and whether they are to be called; and the form of the
// output. Not over what chooses tokens, bounds the output or describes it (sampling, limits, stop strings, log-probabilities, how many
// replies), nor over ids, justification and terms. REQUIRES: validated.
base::Digest DigestOfAsked(const tollgate::v1::ChatRequest& call, std::string_view end_user);

}  // namespace tollgate::pipeline
