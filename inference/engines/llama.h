// The llama engine: libllama in this process. Checks everything before libllama sees it, because libllama ends the process on what it does
// not expect.
#pragma once

#include <memory>
#include <string>

#include "inference/engine.h"
#include "inference/pool.h"

namespace tollgate::inference {

// Reads and checks the file's header and digest, then loads it. `backends_dir`: where ggml's loadable backends are; empty = as built.
absl::StatusOr<std::unique_ptr<Engine>> MakeLlamaEngine(const ModelOptions& model, const std::string& backends_dir);

}  // namespace tollgate::inference
