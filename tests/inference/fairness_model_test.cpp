// Fairness with the real model: what two tenants get while both wait, one of them with ten times as much. Counted in tokens, never in time.
#include <catch2/catch_test_macros.hpp>

#include "inference/fair_queue.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using test::HearAll;
using Streams = std::vector<std::shared_ptr<TokenStream>>;

constexpr std::int64_t kPrompt = 16;
constexpr std::int64_t kOutput = 12;
// Sequences of the victim that end in it: so many that the gap between the two, which moves by twice its bound of some 90 tokens at most,
// leaves the index above what is asked for.
constexpr std::size_t kWindow = 9;
constexpr std::size_t kWindows = 3;

ModelOptions Smol() {
  ModelOptions model;
  model.name = "smollm2";
  model.file = std::string(TOLLGATE_SOURCE_DIR) + "/build/setup/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  model.sha256 = *DigestOfFile(model.file);
  model.slots = 4;
  model.threads = 1;
  model.context_tokens = 256;
  model.prefix_cache_bytes = 0;
  model.queue_sequences_max = 1000;
  model.queue_timeout = std::chrono::hours(1);
  return model;
}

// Each with a prompt of its own, and an answer of just so many tokens.
Streams Offer(Pool& pool, int tenant, std::size_t sequences) {
  Streams streams;
  for (std::size_t i = 0; i < sequences; ++i) {
    SequenceRequest request;
    request.model = "smollm2";
    request.tenant = test::Team(tenant);
    for (std::int64_t t = 0; t < kPrompt; ++t)
      request.prompt_tokens.push_back(1000 + static_cast<std::int32_t>((static_cast<std::int64_t>(i) * 7919 + t * 31 + tenant) % 40000));
    request.max_tokens = kOutput;
    request.allowance = kOutput;
    request.logit_bias = {{.token = 0, .bias = -100}, {.token = 2, .bias = -100}};  // Those that end it.
    streams.push_back(test::Submit(pool, std::move(request)));
  }
  return streams;
}

double Served(const Streams& streams) {
  double sum = 0;
  for (const auto& stream : streams) {
    const std::int64_t decoded = stream->tokens_decoded();
    if (decoded > 0) sum += static_cast<double>(kPromptTokenWeight * kPrompt + kOutputTokenWeight * decoded);
  }
  return sum;
}

}  // namespace

TEST_CASE("The real model serves two tenants at ten to one offered load alike while both wait, within the bound that it tells") {
  const auto pool = test::MakePool(Smol());
  const Streams aggressor = Offer(*pool, 1, 240), victim = Offer(*pool, 2, 36);
  std::size_t ended = 0;
  for (; ended < 3; ++ended) HearAll(*victim[ended]);  // Both wait, and the statistics say so.
  std::int64_t greatest_gap = 0;
  // Until so many more of the victim's have ended; both wait all the while.
  const auto serve = [&](std::size_t sequences) {
    for (const std::size_t until = ended + sequences; ended < until; ++ended) {
      CHECK(HearAll(*victim[ended]).end.tokens_decoded == kOutput);
      const ReplicaStats stats = pool->stats()[0];
      CHECK(stats.fairness_bound_tokens > 0);
      CHECK(stats.fairness_gap_tokens <= stats.fairness_bound_tokens);
      greatest_gap = std::max(greatest_gap, stats.fairness_gap_tokens);
    }
  };
  for (std::size_t window = 0; window < kWindows; ++window) {
    const double a = Served(aggressor), v = Served(victim);
    serve(kWindow);
    const double x = Served(aggressor) - a, y = Served(victim) - v;
    INFO("window " << window << ": " << x << " and " << y);
    CHECK((x + y) * (x + y) / (2 * (x * x + y * y)) >= 0.95);
  }
  CHECK(greatest_gap > 0);
  // The victim still waits: nothing of what was measured was measured of a tenant alone.
  CHECK(victim.back()->tokens_decoded() == 0);
  CHECK(aggressor.back()->tokens_decoded() == 0);
}

}  // namespace tollgate::inference
