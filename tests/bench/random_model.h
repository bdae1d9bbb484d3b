// Writes models of realistic size with random weights, so that a machine's speed can be measured where no model is at hand: what a model
// says depends on its weights, how fast it says it does not.
#pragma once

#include <string>

namespace tollgate::bench {

// A GGUF file in build/bench-models, made if it is not there: "llama-1b-f16", "llama-1b-q4_0", "llama-8b-q8_0" (the shapes of Llama 3.2 1B
// and Llama 3.1 8B, 128,256 tokens, ChatML). Dies of another name. 8b takes 8.5 GB of disk.
std::string RandomModelFile(const std::string& name);

}  // namespace tollgate::bench
