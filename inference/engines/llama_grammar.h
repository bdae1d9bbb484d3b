// LlamaGrammar: what of a grammar one sequence has followed so far. One thread; Check from any.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <llama.h>

#include "base/status.h"

namespace tollgate::inference {

class LlamaGrammar {
 public:
  // INVALID_ARGUMENT if libllama cannot read it.
  static absl::StatusOr<LlamaGrammar> Make(const llama_vocab* vocab, std::string_view gbnf);

  // Whether the token may come next. RESOURCE_EXHAUSTED: the grammar takes too long; its sequence must end.
  absl::StatusOr<bool> Allows(std::int32_t token);

  // Makes -infinity of every logit whose token may not come next. A few milliseconds for each 50,000 tokens.
  absl::Status Mask(std::span<float> logits);

  absl::Status Accept(std::int32_t token);  // REQUIRES: Allows.

  // Starts again, having accepted `tokens`, which it had accepted before.
  absl::Status Restart(std::span<const std::int32_t> tokens);

 private:
  struct Free {
    void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
  };
  using Owned = std::unique_ptr<llama_sampler, Free>;
  explicit LlamaGrammar(Owned start) : start_(std::move(start)), now_(llama_sampler_clone(start_.get())) {}
  absl::Status Apply(std::span<llama_token_data> candidates);

  Owned start_;  // Has accepted nothing.
  Owned now_;
  std::vector<llama_token_data> candidates_;  // Scratch.
};

}  // namespace tollgate::inference
