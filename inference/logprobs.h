// Log-probabilities of tokens, as the model gave them: before temperature, penalties, bias, bans and cuts. One thread.
//
// Cost for V logits: two passes, and one more where alternatives are wanted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tollgate::inference {

struct TokenLogprob {
  std::int32_t token = 0;
  float logprob = 0;  // Natural; -infinity for a token that cannot come.
};

// The log-probability of `token` and, in `top`, of the `wanted` likeliest tokens (as many as there are), the likeliest first, the lower id
// first on a tie. REQUIRES: `token` is an index of `logits`; at least one is finite.
float Logprobs(std::span<const float> logits, std::int32_t token, int wanted, std::vector<TokenLogprob>& top);

}  // namespace tollgate::inference
