// Whether models of this process compute on a GPU. With TOLLGATE_GPU=required, as scripts/gpu-check sets it, a test that finds none fails.
#pragma once

#include <cstdlib>
#include <string_view>

#include <catch2/catch_test_macros.hpp>

#include "inference/engines/llama_library.h"

namespace tollgate::inference::test {

inline bool OnGpu() {
  if (StartLlama("").ok() && !LlamaGpus().empty()) return true;
  const char* wanted = std::getenv("TOLLGATE_GPU");
  if (wanted != nullptr && std::string_view(wanted) == "required") FAIL("TOLLGATE_GPU=required, and libllama finds no GPU");
  return false;
}

// How far log-probabilities may lie from those of another run: a GPU's sums depend on what is computed together.
inline double Tolerance() { return OnGpu() ? 0.05 : 1e-4; }

}  // namespace tollgate::inference::test
