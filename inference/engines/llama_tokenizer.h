// The tokenizer of a GGUF file, by libllama, without its weights.
#pragma once

#include <memory>
#include <string>

#include "inference/gguf.h"
#include "inference/pool.h"
#include "inference/tokenizer.h"

namespace tollgate::inference {

// What the file of a model that runs elsewhere says.
struct VocabularyFile {
  GgufHeader header;
  base::Digest digest{};
};

// Reads and checks the header and digest of `model.file` as the llama engine does, and that its context is enough.
absl::StatusOr<VocabularyFile> ReadVocabularyFile(const ModelOptions& model);

// As ReadVocabularyFile; weights that stand in the file are not read into memory. The refusals name the file and the remedy.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeLlamaTokenizer(const ModelOptions& model, const std::string& backends_dir);

}  // namespace tollgate::inference
