// What strict answers are made with: all that decides a token beside the request itself. An answer is strict when it was decoded alone, in
// a context of its own that began empty, its prompt in chunks of one fixed size: the same request under an equal StrictSetup gives the same
// tokens and, on one processor, the same logits to the last bit. Plain values.
#pragma once

#include <cstdint>
#include <string>

namespace tollgate::inference {

// Tokens of a chunk of a strict answer's prompt. Small, so that whoever computes beside it waits little for a step.
inline constexpr int kStrictChunkTokens = 128;

struct StrictSetup {
  std::string engine_build;         // Of the library that computes.
  std::string processor;            // The kind of what it computes on: its name, and what of it the library uses.
  int threads = 0;                  // That compute.
  std::int64_t chunk_tokens = 0;    // Of the prompt in a step; the last chunk is what is left.
  std::int64_t context_tokens = 0;  // Of the context, which holds nothing else.
  std::string kv;                   // How it is kept: "f16", "q8" or "f32".
  bool operator==(const StrictSetup&) const = default;
};

}  // namespace tollgate::inference
