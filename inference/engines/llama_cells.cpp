// How it works. Where slots share cells, libllama keeps one cache for all sequences and hides from each what is not its own. A slot that is
// suspended gives its state to memory and its cells back; Resume puts the state into whatever cells are free then, which need not stand
// together. What a snapshot holds beyond what is wanted of it may have no room for the moment it takes to cut it: then states of others are
// taken out, as few tokens as will do, and put back behind it. So what a tenant has kept is found whatever others hold.
//
// Hidden cells are multiplied by zero, not left out: a NaN of one sequence would be everybody's. So each step proves what it wrote, of a
// prompt's chunk too: the last token's logits, in which every cell of its sequence had a part, are finite; or the sequence ends before
// another step, and the cache is cleaned (llama_spoilt.cpp).
//
// States in memory are overwritten when they go.
//
// Tested by tests/inference/pooled_model_test.cpp.
#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include "base/crypto.h"
#include "base/diagnostics.h"
#include "inference/engines/llama_engine.h"

namespace tollgate::inference {

LlamaAside::~LlamaAside() { base::Wipe(bytes); }

// Replaces what `aside` holds. False: libllama did not give it, or there is no memory for it.
bool LlamaEngine::TakeOut(int index, std::int64_t bytes_max, LlamaAside& aside) const {
  try {
    const std::size_t size = llama_state_seq_get_size(context_.get(), index);
    if (static_cast<std::int64_t>(size) > bytes_max) return false;
    aside.bytes.resize(size);
    aside.tokens = slots_[index]->cached;
    return llama_state_seq_get_data(context_.get(), reinterpret_cast<std::uint8_t*>(aside.bytes.data()), size, index) == size;
  } catch (const std::exception& e) {
    base::Warn("llama", "the state of slot {} was not taken out: {}", index, e.what());
    return false;
  }
}

absl::StatusOr<std::int64_t> LlamaEngine::Suspend(int index, std::int64_t bytes_max) {
  if (info_.kv_tokens == 0) return NoCells();
  Slot& slot = *slots_[index];
  slot.aside = std::make_unique<LlamaAside>();
  if (slot.cached == 0 || !slot.sound || !TakeOut(index, bytes_max, *slot.aside)) base::Wipe(slot.aside->bytes);
  llama_memory_seq_rm(llama_get_memory(context_.get()), index, -1, -1);
  return static_cast<std::int64_t>(slot.aside->bytes.size());
}

absl::StatusOr<std::int64_t> LlamaEngine::Resume(int index) {
  if (info_.kv_tokens == 0) return NoCells();
  Slot& slot = *slots_[index];
  const LlamaAside& aside = *slot.aside;
  const bool back = slot.cached == 0 || (!aside.bytes.empty() && Put(index, aside.state(), slot.cached));
  slot.aside.reset();
  return back ? 0 : std::exchange(slot.cached, 0);
}

// Puts a state into an empty slot and cuts it to so many tokens. False: the slot is empty still.
bool LlamaEngine::Put(int index, const LlamaState& state, std::int64_t tokens) {
  if (info_.kv_tokens == 0) return PutAsIs(index, state.bytes, tokens);
  std::vector<int> others = Others(index);
  const auto less = [this](int slot, std::int64_t cached) { return slots_[slot]->cached < cached; };
  std::sort(others.begin(), others.end(), [&](int a, int b) { return less(a, slots_[b]->cached); });
  std::int64_t free = llama_n_ctx(context_.get());
  for (const int other : others) free -= slots_[other]->cached;
  if (tokens > free) return false;
  std::vector<LlamaAway> away;
  bool room = true;
  while (room && state.tokens > free && !others.empty()) {
    auto next = std::lower_bound(others.begin(), others.end(), state.tokens - free, less);  // The smallest that will do, or the largest.
    if (next == others.end()) --next;
    free += slots_[*next]->cached;
    room = SendAway(*next, away);
    others.erase(next);
  }
  const bool put = room && PutAsIs(index, state.bytes, tokens);
  BringBack(away);
  return put;
}

bool LlamaEngine::PutAsIs(int index, std::span<const std::uint8_t> state, std::int64_t tokens) {
  auto* memory = llama_get_memory(context_.get());
  llama_memory_seq_rm(memory, index, -1, -1);
  if (llama_state_seq_set_data(context_.get(), state.data(), state.size(), index) == state.size() &&
      llama_memory_seq_rm(memory, index, static_cast<llama_pos>(tokens), -1)) {
    return true;
  }
  llama_memory_seq_rm(memory, index, -1, -1);
  return false;
}

// Slots but this one that hold cells.
std::vector<int> LlamaEngine::Others(int index) const {
  std::vector<int> others;
  for (int other = 0; other < info_.slots; ++other) {
    if (other != index && slots_[other] && slots_[other]->cached > 0 && slots_[other]->aside == nullptr) others.push_back(other);
  }
  return others;
}

// Takes the slot's state out and its cells away. False: that could not be; nothing was changed.
bool LlamaEngine::SendAway(int index, std::vector<LlamaAway>& away) {
  auto aside = std::make_unique<LlamaAside>();
  if (!TakeOut(index, INT64_MAX, *aside)) return false;
  llama_memory_seq_rm(llama_get_memory(context_.get()), index, -1, -1);
  away.push_back({index, std::move(aside)});
  return true;
}

// REQUIRES: there is room, since what they held was not taken meanwhile.
void LlamaEngine::BringBack(const std::vector<LlamaAway>& away) {
  for (const auto& [slot, aside] : away) {
    const auto state = aside->state().bytes;
    const bool back = llama_state_seq_set_data(context_.get(), state.data(), state.size(), slot) == state.size();
    TG_CHECK(back, "libllama did not take back a state that it had given");
  }
}

bool LlamaEngine::IsFinite(const float* logits) const {
  return logits != nullptr && std::all_of(logits, logits + vocab_.tokens(), [](float l) { return std::isfinite(l); });
}

void LlamaEngine::ProveChunks(std::vector<EngineOutput>& outputs) {
  for (const Wanted& chunk : chunks_) {
    Slot& slot = *slots_[chunk.slot];
    slot.finite = IsFinite(llama_get_logits_ith(context_.get(), chunk.row));
    if (slot.finite) continue;
    EngineOutput& output = outputs.emplace_back();
    output.slot = chunk.slot;
    output.status = Overflowed();
  }
}

}  // namespace tollgate::inference
