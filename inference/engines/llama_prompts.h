// The prompt side of a GGUF file's model, by libllama, without its weights.
#pragma once

#include <memory>

#include "inference/engines/upstream_embedder.h"
#include "inference/pool.h"
#include "inference/prompt_side.h"

namespace tollgate::inference {

// Of a model that was loaded elsewhere, `loaded`, by who checked its file: no digest is computed, and no backend loaded. Room on GPUs is
// not looked at by CheckAdapter: who loads the adapter does.
absl::StatusOr<std::unique_ptr<PromptSide>> MakeLlamaPrompts(const ModelOptions& model, const ModelInfo& loaded);

// Of a model that embeds or reranks elsewhere. As ReadVocabularyFile (llama_tokenizer.h) and ResolvePooling.
absl::StatusOr<std::unique_ptr<UpstreamTexts>> MakeLlamaTexts(const ModelOptions& model);

}  // namespace tollgate::inference
