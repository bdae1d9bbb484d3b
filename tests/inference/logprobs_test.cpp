// Log-probabilities against their definition.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "inference/logprobs.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

TEST_CASE("Log-probabilities are those of the softmax, and the likeliest come first, the lower id on a tie") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 3);
  for (int round = 0; round < 50; ++round) {
    std::vector<float> logits(1 + random() % 3000);
    for (float& logit : logits) logit = normal(random) + 50;
    if (logits.size() > 10) logits[3] = logits[7] = 70;
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - 50);
    const auto expected = [&](std::int32_t token) { return logits[static_cast<std::size_t>(token)] - 50 - std::log(sum); };
    std::vector<TokenLogprob> top;
    const auto token = static_cast<std::int32_t>(random() % logits.size());
    const int wanted = static_cast<int>(random() % 25);
    CHECK(std::abs(Logprobs(logits, token, wanted, top) - expected(token)) < 1e-4);
    REQUIRE(top.size() == std::min(logits.size(), static_cast<std::size_t>(wanted)));
    std::vector<std::int32_t> order(logits.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)]; });
    for (std::size_t i = 0; i < top.size(); ++i) {
      CHECK(top[i].token == order[i]);
      CHECK(std::abs(top[i].logprob - expected(top[i].token)) < 1e-4);
    }
  }
}

TEST_CASE("A token that cannot come has no probability, and others are not disturbed") {
  const float none = -std::numeric_limits<float>::infinity();
  std::vector<TokenLogprob> top;
  CHECK(Logprobs(std::vector<float>{none, 2, none, 2}, 0, 2, top) == none);
  CHECK(top[0].token == 1);
  CHECK(std::abs(top[0].logprob + std::log(2.0F)) < 1e-6);
}

}  // namespace
}  // namespace tollgate::inference
