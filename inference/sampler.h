// Sampler: chooses the next token of one sequence from the model's logits. The choice depends on the parameters, the logits, the tokens
// so far and the position alone, so that taking tokens back and going on gives what it would have given. One thread.
//
// Cost for V logits: a few passes over them; what is sorted is one bin of the distribution, or at most top_k tokens.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "inference/types.h"

namespace tollgate::inference {

// INVALID_ARGUMENT, with the field's name, if a value is out of its range (types.h).
absl::Status CheckSampling(const SamplingParams& params);

// Scratch that samplers of one thread share.
struct SamplerScratch {
  struct Candidate {
    float weight;
    std::int32_t token;
  };
  std::vector<float> logits;
  std::vector<float> weights;
  std::vector<double> sums;  // Of the weights, by blocks.
  std::vector<Candidate> candidates;
  std::vector<Candidate> greatest;  // Logits for weights, by token.
};

class Sampler {
 public:
  // REQUIRES: CheckSampling(params).ok(); tokens in [0, vocab) wherever they are given.
  Sampler(const SamplingParams& params, std::span<const std::int32_t> prompt_tokens, std::span<const LogitBias> bias = {});

  // The token at output position `position` (0 = the first). INTERNAL if the logits are of no use (NaN, or none finite).
  absl::StatusOr<std::int32_t> Sample(std::span<const float> logits, std::int64_t position, SamplerScratch& scratch) const;

  // How many of the greatest logits, at most, have a part in what Sample gives; 0: all have, or may have.
  std::int64_t deciding() const;

  // What Sample gives, from the greatest logits alone: logits[i] is that of tokens[i], in any order, each token once. REQUIRES: all of the
  // vocabulary's are there, or kSpare more than deciding() says, which is not 0, and none that is left out is greater. (Where so many more
  // are equal, or nearly, that the last that counts is among them, it may be another of those.)
  static constexpr std::int64_t kSpare = 16;
  absl::StatusOr<std::int32_t> SampleFrom(std::span<const std::int32_t> tokens, std::span<const float> logits, std::int64_t position,
                                          SamplerScratch& scratch) const;

  void Accept(std::int32_t token);    // It stands in the output now.
  void TakeBack(std::int32_t token);  // It no longer does.

  // The next Sample gives none of these; ends with the next Accept.
  void Ban(std::span<const std::int32_t> tokens) { banned_.assign(tokens.begin(), tokens.end()); }
  bool bans() const { return !banned_.empty(); }

 private:
  bool plain() const { return !penalties_ && banned_.empty() && bias_.empty(); }
  void Penalise(std::span<float> logits) const;
  absl::StatusOr<std::int32_t> Choose(std::span<const float> logits, std::int64_t position, SamplerScratch& scratch) const;

  SamplingParams params_;
  bool penalties_;
  std::unordered_map<std::int32_t, std::int32_t> output_counts_;  // Kept only where a penalty needs it.
  std::vector<std::int32_t> prompt_tokens_;                       // Sorted, distinct; for the repeat penalty.
  std::vector<LogitBias> bias_;
  std::vector<std::int32_t> banned_;
};

}  // namespace tollgate::inference
