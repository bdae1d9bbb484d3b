// The llama engine for a model that embeds or reranks: a context of its own, for one step at a time.
#pragma once

#include <memory>

#include "inference/engine.h"
#include "inference/engines/llama_library.h"
#include "inference/pool.h"

namespace tollgate::inference {

// `info` as far as the file says, its pooling resolved. FAILED_PRECONDITION, with the remedy: libllama cannot, or the file is no such
// model. Puts an input through it before it returns.
absl::StatusOr<std::unique_ptr<Engine>> MakeLlamaEmbedder(const ModelOptions& model, ModelInfo info, LlamaModel weights, int threads);

}  // namespace tollgate::inference
