// LlamaGrammar: what of a grammar one sequence has followed so far. Made on any thread, then used on one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <llama.h>

#include "base/clock.h"
#include "base/status.h"
#include "inference/prompt_side.h"

namespace tollgate::inference {

class LlamaGrammar final : public CheckedGrammar {
 public:
  // INVALID_ARGUMENT if libllama cannot read it. The vocabulary and the clock outlive it. Tens of milliseconds at worst.
  static absl::StatusOr<std::shared_ptr<LlamaGrammar>> Make(const llama_vocab* vocab, std::string_view gbnf, const base::Clock& clock);

  // Whether the token may come next. RESOURCE_EXHAUSTED, as from what follows: the grammar took longer than kCallMax; its sequence must
  // end.
  static constexpr std::chrono::milliseconds kCallMax{250};
  absl::StatusOr<bool> Allows(std::int32_t token);

  // Makes -infinity of every logit whose token may not come next. A few milliseconds for each 50,000 tokens.
  absl::Status Mask(std::span<float> logits);

  absl::Status Accept(std::int32_t token);  // REQUIRES: Allows.

  // Starts again, having accepted `tokens`, which it had accepted before. Reads the text again, as Make does.
  absl::Status Restart(std::span<const std::int32_t> tokens);

 private:
  struct Free {
    void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
  };
  using Owned = std::unique_ptr<llama_sampler, Free>;
  LlamaGrammar(const llama_vocab* vocab, std::string_view gbnf, const base::Clock& clock) : vocab_(vocab), gbnf_(gbnf), clock_(clock) {}
  absl::Status Read();
  template <typename Call>
  absl::Status Timed(Call call) const;
  absl::Status Apply(std::span<llama_token_data> candidates);

  const llama_vocab* vocab_;
  const std::string gbnf_;
  const base::Clock& clock_;
  Owned now_;
  std::vector<llama_token_data> candidates_;  // Scratch.
};

}  // namespace tollgate::inference
