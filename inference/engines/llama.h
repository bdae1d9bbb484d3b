// The llama engine: libllama in this process. Checks everything before libllama sees it, because libllama ends the process on what it does
// not expect.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "inference/engine.h"
#include "inference/pool.h"

namespace tollgate::inference {

// Reads and checks the file's header and digest, and that it fits into `memory_bytes`, then loads it. `backends_dir`: where ggml's loadable
// backends are; empty = as built.
absl::StatusOr<std::unique_ptr<Engine>> MakeLlamaEngine(const ModelOptions& model, const std::string& backends_dir,
                                                        std::int64_t memory_bytes = INT64_MAX);

}  // namespace tollgate::inference
