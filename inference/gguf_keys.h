// What a model's keys must say beyond being well-formed: inside of gguf.h.
#pragma once

#include <span>
#include <string_view>

#include "base/status.h"
#include "inference/gguf.h"

namespace tollgate::inference {

// INVALID_ARGUMENT, with the key, where libllama would end the process or divide by zero over what the header says: a key that lacks, is
// out of range, or contradicts another; a token that stands twice. Fills in what of the header follows from its keys. `tokens`: the
// elements of tokenizer.ggml.tokens.
absl::Status CheckKeys(GgufHeader& header, std::span<const std::string_view> tokens);

}  // namespace tollgate::inference
