// What an org published is worked through once for all its tenants: exactly those tokens, nothing behind them, and under no other org.
// With a tiny F32 model each tenant's log-probabilities are those of its conversation alone.
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "inference/engines/llama.h"
#include "inference/prefix_cache.h"
#include "tests/inference/gpu.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::kTinyVocab;
using test::Team;
using test::Tolerance;
using Tokens = std::vector<std::int32_t>;
using Logprobs = std::vector<float>;

constexpr std::int64_t kPublished = 2 * PrefixCache::kBlockTokens + 5;

Tokens Prompt(std::int64_t published, std::int32_t mark, std::size_t own) {
  Tokens tokens;
  for (std::int64_t i = 0; i < published; ++i) tokens.push_back(static_cast<std::int32_t>(40 + i % 50));
  for (std::size_t i = 0; i < own; ++i) tokens.push_back(mark + static_cast<std::int32_t>(i % 7));
  return tokens;
}

struct Done {
  EngineOpened opened;
  Logprobs first;  // Of the first output token, by token.
};

Done Run(Engine& engine, const Tokens& prompt, const base::TeamId& tenant, std::int64_t published, const base::OrgId& org) {
  SamplingParams greedy;
  greedy.temperature = 0;
  Done turn;
  const auto opened = engine.Open(0, {.prompt_tokens = prompt,
                                      .sampling = greedy,
                                      .tenant = tenant,
                                      .published_tokens = published,
                                      .published_by = org,
                                      .logprobs = kTinyVocab});
  REQUIRE(opened.ok());
  turn.opened = *opened;
  const std::int64_t left = static_cast<std::int64_t>(prompt.size()) - opened->cached_tokens - opened->published_tokens;
  std::vector<EngineOutput> outputs;
  const EngineWork work{0, left};
  REQUIRE(engine.Step(std::span(&work, 1), outputs).ok());
  turn.first.resize(static_cast<std::size_t>(kTinyVocab));
  for (const EngineAlternative& other : outputs.at(0).top) turn.first[static_cast<std::size_t>(other.token)] = other.logprob;
  engine.Close(0);
  return turn;
}

double Distance(const Logprobs& a, const Logprobs& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, static_cast<double>(std::abs(a[i] - b[i])));
  return most;
}

}  // namespace

TEST_CASE("A published prompt is worked through once for an org's tenants, and nothing behind it is ever shared") {
  for (const char* architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    ModelOptions model = test::TinyModel(architecture).WriteTo(folder, 2, 512);
    model.kv = KvType::kF32;
    auto engine = MakeLlamaEngine(model, "");
    REQUIRE(engine.ok());
    model.prefix_cache_bytes = 0;
    auto alone = MakeLlamaEngine(model, "");
    REQUIRE(alone.ok());
    const base::OrgId acme = base::OrgId::New(), globex = base::OrgId::New();
    const Tokens ours = Prompt(kPublished, 100, 2 * PrefixCache::kBlockTokens), theirs = Prompt(kPublished, 200, 40);

    const Done first = Run(**engine, ours, Team(1), kPublished, acme);
    CHECK(first.opened.cached_tokens + first.opened.published_tokens == 0);

    // Another tenant, another prompt behind it.
    const Done second = Run(**engine, theirs, Team(2), kPublished, acme);
    CHECK(second.opened.cached_tokens == 0);
    CHECK(second.opened.published_tokens == kPublished);
    CHECK(Distance(second.first, Run(**alone, theirs, Team(2), 0, acme).first) < Tolerance());

    // The first tenant's whole prompt, by another: what is behind the published tokens saves nothing.
    const Done same = Run(**engine, ours, Team(3), kPublished, acme);
    CHECK(same.opened.cached_tokens == 0);
    CHECK(same.opened.published_tokens == kPublished);
    CHECK(Distance(same.first, first.first) < Tolerance());

    // Its own work is its own, as ever, and counts as cached.
    const Done again = Run(**engine, ours, Team(1), kPublished, acme);
    CHECK(again.opened.cached_tokens == std::ssize(ours) - 1);
    CHECK(again.opened.published_tokens == 0);

    // The same tokens under another org, or not published at all: nothing.
    CHECK(Run(**engine, ours, Team(4), kPublished, globex).opened.published_tokens == 0);
    CHECK(Run(**engine, ours, Team(5), 0, acme).opened.published_tokens == 0);
    // Fewer published tokens than there were: no more than these.
    CHECK(Run(**engine, ours, Team(6), PrefixCache::kBlockTokens, acme).opened.published_tokens == PrefixCache::kBlockTokens);
    // A prompt that only says that it begins so finds what it really begins with.
    CHECK(Run(**engine, Prompt(0, 300, 200), Team(7), kPublished, acme).opened.published_tokens == 0);
  }
}

TEST_CASE("What another tenant's work on published tokens saves is in nobody's counts") {
  const tollgate::test::TempDir folder;
  PoolOptions options;
  options.models.push_back(test::TinyModel("llama").WriteTo(folder, 2, 512));
  auto pool = Pool::Create(std::move(options));
  REQUIRE(pool.ok());
  const base::OrgId org = base::OrgId::New();
  for (int tenant = 1; tenant <= 3; ++tenant) {
    SequenceRequest request;
    request.model = (*pool)->models().front().name;
    request.prompt_tokens = Prompt(kPublished, 100, 10);
    request.sampling.temperature = 0;
    request.max_tokens = request.allowance = 2;
    request.tenant = Team(tenant);
    request.published_tokens = kPublished;
    request.published_by = org;
    auto stream = (*pool)->Submit(std::move(request));
    REQUIRE(stream.ok());
    const StreamEnd end = test::HearAll(**stream).end;
    CHECK(end.cached_input_tokens == 0);
    CHECK(end.input_tokens_evaluated == end.input_tokens);
  }
  CHECK((*pool)->stats().front().prefix_hits == 0);
}

}  // namespace tollgate::inference
