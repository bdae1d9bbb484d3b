// How it works. libllama puts a chain of its samplers behind a sequence's logits, into the graph that the device computes; it copies what
// the chain leaves, and the rows themselves only if a sequence in the same pass has no chain. So either all slots have one or none has. The
// chain is one top_k, the same for all: which token comes, our own sampler says, from what is left. libllama's other samplers would be
// other rules: its draw has a generator that cannot be set to a position, its greatest of equals is not the one with the lowest id and,
// where all are no numbers, token 0 or -1.
//
// To give a sequence a chain, or take it away, has libllama throw away its scheduler and reserve for its graphs anew at the next step. So
// chains stay when sequences go, and come back only after a while without any that needed more. A chain is initialised once, or libllama
// ends the process: each time there are new ones.
//
// libllama does not say whether the device can cut. If it cannot, the chain leaves the whole row: that is taken as such, and the chains go
// for good.
//
// Tested by tests/inference/device_sampling_test.cpp.
#include "inference/engines/llama_device_cut.h"

#include <algorithm>
#include <exception>

#include "base/diagnostics.h"
#include "inference/sampler.h"

namespace tollgate::inference {
namespace {

constexpr std::int64_t kLeft = 128;

}  // namespace

LlamaDeviceCut::LlamaDeviceCut(llama_context* context, int slots, std::int64_t vocab_tokens, bool wanted)
    : context_(context), slots_(slots), vocab_tokens_(vocab_tokens), wanted_(wanted) {
  if (wanted_) On();
}

bool LlamaDeviceCut::Enough(std::int64_t deciding) const {
  return deciding > 0 && (deciding + Sampler::kSpare <= kLeft || vocab_tokens_ <= kLeft);
}

void LlamaDeviceCut::Suit(bool enough) {
  calm_steps_ = enough ? std::min(calm_steps_ + 1, kCalmSteps) : 0;
  if (on() && (!enough || !wanted_)) Off();
  if (!on() && wanted_ && calm_steps_ == kCalmSteps) On();
}

LlamaCut LlamaDeviceCut::Row(int row) {
  const float* logits = llama_get_sampled_logits_ith(context_, row);
  const std::size_t left = llama_get_sampled_logits_count_ith(context_, row);
  if (logits == nullptr) return {};
  if (llama_get_sampled_candidates_count_ith(context_, row) == left)
    return {{llama_get_sampled_candidates_ith(context_, row), left}, {logits, left}};
  GiveUp("it leaves all logits");
  return {{}, {logits, left}};
}

void LlamaDeviceCut::On() {
  try {
    for (int slot = 0; slot < slots_; ++slot) {
      llama_sampler_chain_params params = llama_sampler_chain_default_params();
      params.no_perf = true;
      llama_sampler* chain = chains_.emplace_back(llama_sampler_chain_init(params)).get();
      llama_sampler_chain_add(chain, llama_sampler_init_top_k(static_cast<std::int32_t>(std::min(kLeft, vocab_tokens_))));
      if (llama_set_sampler(context_, slot, chain)) continue;
      GiveUp("libllama has none for it");
      return Off();
    }
  } catch (const std::exception& e) {
    GiveUp(e.what());
    Off();
  }
}

void LlamaDeviceCut::Off() {
  for (int slot = 0; slot < static_cast<int>(chains_.size()); ++slot) llama_set_sampler(context_, slot, nullptr);
  chains_.clear();
}

void LlamaDeviceCut::GiveUp(const char* why) {
  if (wanted_) base::Warn("llama", "the device does not sample, all logits are copied: {}", why);
  wanted_ = false;
}

}  // namespace tollgate::inference
