// LlamaGrammar: what of a grammar one sequence has followed so far, in tokens. Made on any thread, then used on one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/engines/llama_vocab.h"
#include "inference/grammar_follower.h"
#include "inference/prompt_side.h"

namespace tollgate::inference {

class LlamaGrammar final : public CheckedGrammar {
 public:
  // INVALID_ARGUMENT if it is none. The vocabulary outlives it. Some milliseconds at worst.
  static absl::StatusOr<std::shared_ptr<LlamaGrammar>> Make(const LlamaVocab& vocab, std::string_view gbnf);

  std::shared_ptr<CheckedGrammar> Again() const override;

  // Whether the token may come next; asked once for each. RESOURCE_EXHAUSTED, as from what follows: the grammar has too many readings
  // (grammar_follower.h); its sequence must end.
  absl::StatusOr<bool> Allows(std::int32_t token);

  // Makes -infinity of every logit whose token may not come next. A millisecond or so for each 50,000 tokens.
  absl::Status Mask(std::span<float> logits);

  absl::Status Accept(std::int32_t token);  // REQUIRES: Allows.

  // Starts again, having accepted `tokens`, which it had accepted before.
  absl::Status Restart(std::span<const std::int32_t> tokens);

 private:
  LlamaGrammar(const LlamaVocab& vocab, std::unique_ptr<GrammarFollower> follower) : vocab_(vocab), follower_(std::move(follower)) {}

  const LlamaVocab& vocab_;
  std::unique_ptr<GrammarFollower> follower_;
  std::vector<std::uint8_t> may_;  // Scratch.
};

}  // namespace tollgate::inference
