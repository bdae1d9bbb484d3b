// LlamaBatch: the tokens of one step, as libllama wants them. Internal to the engine.
#pragma once

#include <cstdint>

#include <llama.h>

#include "base/status.h"

namespace tollgate::inference {

struct LlamaBatch {
  explicit LlamaBatch(int tokens) : raw(llama_batch_init(tokens, 0, 1)) {}
  ~LlamaBatch() { llama_batch_free(raw); }
  LlamaBatch(const LlamaBatch&) = delete;
  LlamaBatch& operator=(const LlamaBatch&) = delete;
  void Add(std::int32_t token, std::int64_t position, int slot, bool output) {
    const int i = raw.n_tokens++;
    raw.token[i] = token;
    raw.pos[i] = static_cast<llama_pos>(position);
    raw.n_seq_id[i] = 1;
    raw.seq_id[i][0] = slot;
    raw.logits[i] = output ? 1 : 0;
  }
  absl::StatusOr<int> Decode(llama_context* context) const;  // To the end: libllama's code. INTERNAL: it threw.

  llama_batch raw;
};

}  // namespace tollgate::inference
