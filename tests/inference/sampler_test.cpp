// The sampler against the definition of what it samples, told slowly.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "inference/sampler.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using Weights = std::map<std::int32_t, double>;

SamplingParams Params(double temperature, double top_p = 1, int top_k = 0, double min_p = 0) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_p = top_p;
  params.top_k = top_k;
  params.min_p = min_p;
  return params;
}

// The distribution by definition: sort everything, cut, normalise.
Weights Reference(const std::vector<float>& logits, const SamplingParams& p) {
  const double max = *std::max_element(logits.begin(), logits.end());
  std::vector<std::pair<double, std::int32_t>> all;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double w = std::exp((logits[i] - max) / p.temperature);
    if (w >= p.min_p && w > 1.7e-38) all.emplace_back(w, static_cast<std::int32_t>(i));
  }
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  if (p.top_k > 0 && static_cast<std::size_t>(p.top_k) < all.size()) all.resize(static_cast<std::size_t>(p.top_k));
  double total = 0;
  for (const auto& [w, token] : all) total += w;
  Weights kept;
  double cumulative = 0;
  for (const auto& [w, token] : all) {
    if (cumulative >= p.top_p * total) break;
    cumulative += w;
    kept[token] = w;
  }
  for (auto& [token, w] : kept) w /= cumulative;
  return kept;
}

std::vector<float> RandomLogits(std::mt19937_64& random, std::size_t count, double spread) {
  std::normal_distribution<float> normal(0, static_cast<float>(spread));
  std::vector<float> logits(count);
  for (float& l : logits) l = normal(random);
  return logits;
}

std::int32_t One(const SamplingParams& params, const std::vector<float>& logits, std::int64_t position = 0) {
  SamplerScratch scratch;
  const auto token = Sampler(params, {}).Sample(logits, position, scratch);
  REQUIRE(token.ok());
  return *token;
}

TEST_CASE("Greedy takes the likeliest token, the lowest id on a tie") {
  CHECK(One(Params(0), {1, 5, 3, 5}) == 1);
  CHECK(One(Params(1, 1, 1), {1, 5, 3, 5}) == 1);
  const float none = -std::numeric_limits<float>::infinity();
  CHECK(One(Params(0), {none, none, -3}) == 2);
}

TEST_CASE("Logits that are of no use fail the sequence, not the process") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  struct Row {
    std::vector<float> logits;
    double temperature;
  };
  std::vector<float> odd(140, 1);  // One among many.
  odd[21] = nan;
  const Row rows[] = {{{nan, nan}, 0}, {{nan, nan}, 1}, {{nan, 1, 2}, 0},  {{nan, 1, 2}, 1}, {{1, 2, nan}, 0},
                      {odd, 0},        {odd, 1},        {{-inf, -inf}, 1}, {{inf, 1}, 1},    {std::vector<float>(40, -inf), 0}};
  for (const Row& row : rows) {
    SamplerScratch scratch;
    const auto token = Sampler(Params(row.temperature), {}).Sample(row.logits, 0, scratch);
    CHECK(token.status().code() == absl::StatusCode::kInternal);
    std::vector<std::int32_t> tokens(row.logits.size());
    std::iota(tokens.begin(), tokens.end(), 0);
    const auto same = Sampler(Params(row.temperature, 1, 1), {}).SampleFrom(tokens, row.logits, 0, scratch);
    CHECK(same.status().code() == absl::StatusCode::kInternal);
  }
}

TEST_CASE("Every parameter out of its range is refused by name") {
  struct Row {
    void (*spoil)(SamplingParams&);
    const char* name;
  };
  const Row rows[] = {{[](SamplingParams& p) { p.temperature = -0.1; }, "temperature"},
                      {[](SamplingParams& p) { p.temperature = std::nan(""); }, "temperature"},
                      {[](SamplingParams& p) { p.top_p = 0; }, "top_p"},
                      {[](SamplingParams& p) { p.top_p = 1.01; }, "top_p"},
                      {[](SamplingParams& p) { p.top_k = -1; }, "top_k"},
                      {[](SamplingParams& p) { p.min_p = 2; }, "min_p"},
                      {[](SamplingParams& p) { p.presence_penalty = 3; }, "presence_penalty"},
                      {[](SamplingParams& p) { p.frequency_penalty = -3; }, "frequency_penalty"},
                      {[](SamplingParams& p) { p.repeat_penalty = 0; }, "repeat_penalty"},
                      {[](SamplingParams& p) { p.repeat_penalty = 1e-40; }, "repeat_penalty"}};
  CHECK(CheckSampling(SamplingParams{}).ok());
  for (const Row& row : rows) {
    SamplingParams params;
    row.spoil(params);
    const absl::Status status = CheckSampling(params);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(base::Message(status).starts_with(row.name));
  }
}

TEST_CASE("What is drawn follows the distribution that the parameters define") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const SamplingParams rows[] = {Params(1),       Params(0.5),          Params(2, 0.9),       Params(1, 0.5),
                                 Params(1, 1, 5), Params(1, 0.8, 20),   Params(1, 1, 0, 0.1), Params(0.7, 0.95, 0, 0.02),
                                 Params(1, 0.01), Params(1, 1, 1000000)};
  for (SamplingParams params : rows) {
    const std::vector<float> logits = RandomLogits(random, 300, 2.5);
    const Weights expected = Reference(logits, params);
    params.seed = random();
    const Sampler sampler(params, {});
    SamplerScratch scratch;
    std::map<std::int32_t, int> counts;
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) ++counts[*sampler.Sample(logits, i, scratch)];
    double distance = 0;  // Total variation.
    for (const auto& [token, count] : counts) REQUIRE(expected.contains(token));
    for (const auto& [token, p] : expected) distance += std::abs(p - counts[token] / static_cast<double>(kDraws)) / 2;
    CHECK(distance < 0.08);
  }
}

TEST_CASE("A large vocabulary is cut exactly where sorting would cut it") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20; ++round) {
    std::vector<float> logits = RandomLogits(random, 5000, 1.5);
    for (std::size_t i = 0; i < 50; ++i) logits[random() % logits.size()] = 4;  // Ties.
    SamplingParams params = Params(1, 0.3 + 0.05 * (round % 10), round % 3 == 0 ? 100 : 0);
    params.seed = random();
    const Weights expected = Reference(logits, params);
    const Sampler sampler(params, {});
    SamplerScratch scratch;
    for (int i = 0; i < 300; ++i) REQUIRE(expected.contains(*sampler.Sample(logits, i, scratch)));
    // The set itself, but for rounding at its edge.
    const auto size = static_cast<double>(scratch.candidates.size());
    CHECK(std::abs(size - static_cast<double>(expected.size())) <= 1);
  }
}

// The 128 greatest, in no order, as a device gives them.
std::vector<std::int32_t> Likeliest(const std::vector<float>& logits, std::mt19937_64& random) {
  std::vector<std::int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  std::shuffle(tokens.begin(), tokens.end(), random);
  const auto of = [&](std::int32_t token) { return logits[static_cast<std::size_t>(token)]; };
  const auto greater = [&](std::int32_t a, std::int32_t b) { return of(a) > of(b); };
  std::nth_element(tokens.begin(), tokens.begin() + 127, tokens.end(), greater);
  tokens.resize(128);
  return tokens;
}

TEST_CASE("From the greatest logits alone the token is chosen that is chosen from all") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 600; ++round) {
    std::vector<float> logits = RandomLogits(random, 130 + random() % 3000, 0.5 + static_cast<double>(random() % 20));
    for (int i = 0; i < 10; ++i) logits[random() % logits.size()] = logits[0];  // Ties.
    const double temperatures[] = {0, 0.2, 1, 2}, top_ps[] = {1, 0.9, 0.3}, min_ps[] = {0, 0, 0.05};
    SamplingParams params = Params(temperatures[random() % 4], top_ps[random() % 3], 1 + static_cast<int>(random() % 108));
    params.min_p = min_ps[random() % 3];
    params.seed = random();
    const std::vector<std::int32_t> tokens = Likeliest(logits, random);
    std::vector<float> greatest;
    for (const std::int32_t token : tokens) greatest.push_back(logits[static_cast<std::size_t>(token)]);
    Sampler sampler(params, {});
    const std::vector<std::int32_t> banned = {tokens[0], static_cast<std::int32_t>(random() % logits.size())};
    if (round % 3 == 0) sampler.Ban(banned);
    REQUIRE(sampler.deciding() > 0);
    REQUIRE(sampler.deciding() + Sampler::kSpare <= 128);
    SamplerScratch all, few;
    for (int position = 0; position < 20; ++position)
      REQUIRE(*sampler.SampleFrom(tokens, greatest, position, few) == *sampler.Sample(logits, position, all));
  }
}

TEST_CASE("Whatever may bring another token to the front makes all logits count") {
  const LogitBias bias{3, 1};
  const std::int32_t banned[] = {1, 2};
  CHECK(Sampler(Params(0), {}).deciding() == 1);
  CHECK(Sampler(Params(0, 1, 40), {}).deciding() == 1);
  CHECK(Sampler(Params(1, 0.9, 40), {}).deciding() == 40);
  CHECK(Sampler(Params(1, 0.9), {}).deciding() == 0);
  CHECK(Sampler(Params(0), {}, std::span(&bias, 1)).deciding() == 0);
  SamplingParams params = Params(0);
  params.frequency_penalty = 0.1;
  CHECK(Sampler(params, {}).deciding() == 0);
  Sampler sampler(Params(1, 1, 40), {});
  sampler.Ban(banned);
  CHECK(sampler.deciding() == 42);
  sampler.Accept(0);
  CHECK(sampler.deciding() == 40);
}

TEST_CASE("The same seed and position draw the same token, whatever was drawn before") {
  std::mt19937_64 random(7);
  const std::vector<float> logits = RandomLogits(random, 1000, 1);
  SamplingParams params = Params(1, 0.9);
  params.seed = 42;
  std::vector<std::int32_t> forward;
  for (int i = 0; i < 50; ++i) forward.push_back(One(params, logits, i));
  for (int i = 49; i >= 0; --i) CHECK(One(params, logits, i) == forward[static_cast<std::size_t>(i)]);
  CHECK(std::set<std::int32_t>(forward.begin(), forward.end()).size() > 10);
}

TEST_CASE("Penalties weigh on tokens that stand in the output or, for repeat, in the prompt; taking back undoes them") {
  const std::vector<float> logits = {2.0F, 1.9F, 1.0F, -1.0F};
  SamplerScratch scratch;
  SamplingParams params = Params(0);
  params.presence_penalty = 0.5;
  Sampler presence(params, {});
  CHECK(*presence.Sample(logits, 0, scratch) == 0);
  presence.Accept(0);
  CHECK(*presence.Sample(logits, 1, scratch) == 1);
  presence.TakeBack(0);
  CHECK(*presence.Sample(logits, 0, scratch) == 0);

  params = Params(0);
  params.frequency_penalty = 0.06;
  Sampler frequency(params, {});
  frequency.Accept(0);
  CHECK(*frequency.Sample(logits, 1, scratch) == 0);
  frequency.Accept(0);
  CHECK(*frequency.Sample(logits, 2, scratch) == 1);

  params = Params(0);
  params.repeat_penalty = 2;
  const std::vector<std::int32_t> prompt = {0, 1, 0};
  const Sampler repeat(params, prompt);
  CHECK(*repeat.Sample(logits, 0, scratch) == 0);  // 1.0, 0.95, 1.0: the lower id of a tie.
  Sampler more(params, prompt);
  more.Accept(2);
  CHECK(*more.Sample(logits, 1, scratch) == 0);
}

TEST_CASE("A banned token is not drawn until the next one is accepted") {
  const std::vector<float> logits = {2, 1, 0};
  SamplerScratch scratch;
  Sampler sampler(Params(0), {});
  const std::vector<std::int32_t> banned = {0};
  sampler.Ban(banned);
  CHECK(*sampler.Sample(logits, 0, scratch) == 1);
  sampler.Accept(1);
  CHECK(*sampler.Sample(logits, 1, scratch) == 0);
}

}  // namespace
}  // namespace tollgate::inference
