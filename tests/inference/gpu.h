// Whether models of this process compute on a GPU.
#pragma once

#include "inference/engines/llama_library.h"

namespace tollgate::inference::test {

inline bool OnGpu() { return StartLlama("").ok() && !LlamaGpus().empty(); }

}  // namespace tollgate::inference::test
