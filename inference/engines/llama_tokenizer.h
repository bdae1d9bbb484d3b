// The tokenizer of a GGUF file, by libllama, without its weights.
#pragma once

#include <memory>
#include <string>

#include "inference/pool.h"
#include "inference/tokenizer.h"

namespace tollgate::inference {

// Reads and checks the header and digest of `model.file` as the llama engine does; weights that stand in it are not read into memory. The
// refusals name the file and the remedy.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeLlamaTokenizer(const ModelOptions& model, const std::string& backends_dir);

}  // namespace tollgate::inference
