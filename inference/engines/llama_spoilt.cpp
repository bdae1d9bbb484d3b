// How it works. An adapter may be such that a model's numbers overflow. What is not finite stays in the cache's cells when its sequence has
// gone, and libllama multiplies hidden cells by zero rather than leave them out: the next sequence in the slot, anybody's, would get
// nonsense too. So a sequence with adapters leaves its slot either proven clean, since the last logits were finite and every cell had a
// part in them, or is asked for one more token to prove it (where it was cut short within its prompt), or the cache is emptied of numbers:
// the states of the other sequences are taken out, all cells set to zero, the states put back. Adapters that made it necessary are used no
// more.
//
// A model's own numbers may overflow too, on one prompt and not on others. That is looked for only where no token could be chosen, so that
// it costs good steps nothing; then the slot is cleaned likewise, and nothing of it is kept.
//
// Tested by tests/inference/adapter_model_test.cpp, tests/inference/state_model_test.cpp.
#include <algorithm>

#include "base/diagnostics.h"
#include "inference/engines/llama_engine.h"

namespace tollgate::inference {

bool LlamaEngine::TurnsOutFinite(int index) {
  const Slot& slot = *slots_[index];
  if (slot.cached == 0 || slot.aside != nullptr || (slot.sound && slot.finite)) return true;
  if (slot.odd || info_.kv_tokens > 0) {  // It was seen; or each step proves.
    if (slot.sound && !slot.adapters.empty()) adapters_.GaveNonsense(slot.adapters);
    return false;
  }
  if (slot.cached >= info_.context_tokens || !adapters_.Use(slot.adapters).ok()) return false;
  cut_.Suit(false);  // All logits are the proof.
  batch_.raw.n_tokens = 0;
  batch_.Add(0, slot.cached, index, true);
  if (!Decode().ok()) return false;
  if (IsFinite(llama_get_logits_ith(context_.get(), 0))) {
    return llama_memory_seq_rm(llama_get_memory(context_.get()), index, static_cast<llama_pos>(slot.cached), -1);
  }
  adapters_.GaveNonsense(slot.adapters);
  return false;
}

// False: the states of the others could not be taken out; nothing was changed. REQUIRES: the slot is empty.
bool LlamaEngine::Cleanse(int index) {
  base::Warn("llama", "model {}: what was left in slot {} is not finite; the cache is cleaned", info_.name, index);
  std::vector<LlamaAway> away;
  const std::vector<int> others = Others(index);
  const bool out = std::all_of(others.begin(), others.end(), [&](int other) { return SendAway(other, away); });
  if (out) {
    llama_memory_clear(llama_get_memory(context_.get()), true);
    spoilt_.clear();
  }
  BringBack(away);
  return out;
}

}  // namespace tollgate::inference
