// How it works. log p = l - max - log(sum of e^(l - max)). The sum runs in doubles over blocks of floats. The likeliest are kept in a heap
// of `wanted`, whose least is a threshold that most logits fail at once.
//
// Tested by tests/inference/logprobs_test.cpp.
#include "inference/logprobs.h"

#include <algorithm>
#include <cmath>

namespace tollgate::inference {
namespace {

bool Likelier(const TokenLogprob& a, const TokenLogprob& b) { return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token; }

}  // namespace

float Logprobs(std::span<const float> logits, std::int32_t token, int wanted, std::vector<TokenLogprob>& top) {
  const float max = *std::max_element(logits.begin(), logits.end(), [](float a, float b) { return a < b || std::isnan(a); });
  double sum = 0;
  for (const float logit : logits) {
    if (logit > max - 80) sum += std::exp(logit - max);
  }
  const auto scale = static_cast<float>(max + std::log(sum));
  top.clear();
  const std::size_t size = std::min(logits.size(), static_cast<std::size_t>(wanted));
  for (std::size_t i = 0; i < logits.size() && size > 0; ++i) {
    const TokenLogprob candidate{static_cast<std::int32_t>(i), logits[i] - scale};
    if (top.size() == size && !Likelier(candidate, top.front())) continue;
    if (top.size() == size) {
      std::pop_heap(top.begin(), top.end(), Likelier);
      top.pop_back();
    }
    top.push_back(candidate);
    std::push_heap(top.begin(), top.end(), Likelier);
  }
  std::sort_heap(top.begin(), top.end(), Likelier);
  return logits[static_cast<std::size_t>(token)] - scale;
}

}  // namespace tollgate::inference
