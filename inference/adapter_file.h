// A strict reader of a LoRA adapter's GGUF file, held against the model that it is for: libllama ends the process on some adapters that do
// not fit, and takes others that cannot mean anything. What this accepts, libllama loads. Linear in the file.
//
// An adapter adds to a weight W of its base a product of two small matrices: W·x becomes W·x + scale · alpha/rank · B·(A·x)
// (arXiv 2106.09685). In the file they are a pair of tensors: the weight's name with ".lora_a" and with ".lora_b".
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "inference/gguf.h"
#include "inference/types.h"

namespace tollgate::inference {

struct AdapterFile {
  std::int64_t pairs = 0;  // Weights that it changes.
  std::int64_t rank = 0;   // The greatest of its pairs'.
  double alpha = 0;
  std::int64_t weights_bytes = 0;    // What it takes of memory: its tensors,
  std::int64_t computing_bytes = 0;  // and, about, what a step needs more with it.
};

// `file` is the whole file; `base` the header of the model's. INVALID_ARGUMENT, with names and numbers: it is no sound GGUF file, no LoRA
// adapter, of another architecture, half of a pair is missing, a shape does not fit the base's weight, a value is no finite number.
absl::StatusOr<AdapterFile> ReadAdapter(std::string_view file, const GgufHeader& base);

// As Engine::CheckAdapter, for a model with this header: reads the file, compares its digest, and holds what it would take against
// `room_bytes`: of the machine's, or of the GPUs' where the model is on them.
absl::StatusOr<AdapterInfo> CheckAdapterFile(const AdapterOptions& adapter, const GgufHeader& header, bool on_gpus,
                                             std::int64_t room_bytes);

}  // namespace tollgate::inference
