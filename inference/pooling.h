// What a model makes of a text beside chatting: what is asked for, against what its file can do. Pure.
#pragma once

#include "base/status.h"
#include "inference/gguf.h"
#include "inference/types.h"

namespace tollgate::inference {

// The pooling that a model with this header gets where `wanted` is asked for. FAILED_PRECONDITION, with the remedy: the file does not say
// (kAsFile), has no classifier for documents (kRank), or is an encoder, which cannot chat (kNone).
absl::StatusOr<Pooling> ResolvePooling(Pooling wanted, const GgufHeader& header);

// Attention looks both ways: all of a text at once, and no cache.
bool IsEncoder(const GgufHeader& header);

}  // namespace tollgate::inference
