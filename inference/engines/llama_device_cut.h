// LlamaDeviceCut: has the device that computes cut each slot's logits to the greatest, so that no others are copied, for as long as these
// are enough for all that is open. Internal to the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <llama.h>

namespace tollgate::inference {

// A row's greatest logits and whose they are, in no order; no tokens: all logits, by token.
struct LlamaCut {
  std::span<const std::int32_t> tokens;
  std::span<const float> logits;
};

class LlamaDeviceCut {
 public:
  // On from the start, so that what it needs is taken when the model is loaded; never, if not `wanted`. `context` outlives it.
  LlamaDeviceCut(llama_context* context, int slots, std::int64_t vocab_tokens, bool wanted);
  ~LlamaDeviceCut() { Off(); }
  LlamaDeviceCut(const LlamaDeviceCut&) = delete;
  LlamaDeviceCut& operator=(const LlamaDeviceCut&) = delete;

  // Whether what it leaves is enough where so many of the greatest logits decide (Sampler::deciding).
  bool Enough(std::int64_t deciding) const;

  // Before each step: whether it is enough for all slots that are open. If not it is off at once; it is on again after kCalmSteps for which
  // it was, for each change costs what reserving for the model's graphs does.
  static constexpr int kCalmSteps = 256;
  void Suit(bool enough);

  bool on() const { return !chains_.empty(); }
  bool wanted() const { return wanted_; }  // False: it is off for good.

  // Of a row of the last step, which had it on; valid until the next. Empty: libllama gave nothing.
  LlamaCut Row(int row);

 private:
  struct Free {
    void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
  };
  void On();
  void Off();
  void GiveUp(const char* why);

  llama_context* context_;
  int slots_;
  std::int64_t vocab_tokens_;
  bool wanted_;
  int calm_steps_ = 0;
  std::vector<std::unique_ptr<llama_sampler, Free>> chains_;  // By slot; libllama points at them.
};

}  // namespace tollgate::inference
