// Sequences of generated models that share cells, of which there are too few for all: each says what it says with a context of its own, on
// a thread and in a process, whether its state was kept or worked through again; and nobody's load shows in another's counts or numbers.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>

#include "inference/engines/llama.h"
#include "inference/preemption.h"
#include "tests/inference/gpu.h"
#include "tests/inference/tiny_adapter.h"
#include "tests/inference/tiny_model.h"
#include "tests/inference/worker_support.h"

namespace tollgate::inference {
namespace {

using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Submit;
using test::Team;
using test::TinyModel;

constexpr int kRequests = 16;

ModelOptions Tiny(const TinyModel& tiny, const tollgate::test::TempDir& folder, std::int64_t kv_tokens) {
  ModelOptions model = tiny.WriteTo(folder, 8, 512);
  model.kv = KvType::kF32;
  model.kv_tokens = kv_tokens;
  return model;
}

// Greedy ones and drawn ones, of three tenants; every fourth is held to JSON.
SequenceRequest Request(const std::string& model, int number) {
  SequenceRequest request;
  request.model = model;
  request.tenant = Team(1 + number % 3);
  for (int i = 0; i < 60 + number * 5; ++i) request.prompt_tokens.push_back(40 + (i * 7 + number * 31) % 200);
  request.sampling.temperature = number % 2 == 0 ? 0 : 0.7;
  request.sampling.seed = static_cast<std::uint64_t>(number);
  request.sampling.presence_penalty = 0.3;
  request.json = number % 4 == 3;
  request.max_tokens = request.allowance = 90;
  request.logprobs = 3;
  return request;
}

using Tokens = std::vector<OutputToken>;

std::vector<Tokens> Say(Pool& pool, const std::vector<std::string>& models) {
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (int i = 0; i < kRequests; ++i) streams.push_back(Submit(pool, Request(models[static_cast<std::size_t>(i) % models.size()], i)));
  std::vector<Tokens> all;
  for (const auto& stream : streams) {
    const Heard heard = HearAll(*stream);
    INFO(heard.end.status.ToString());
    REQUIRE(heard.end.status.ok());
    Tokens& tokens = all.emplace_back();
    for (const Piece& piece : heard.pieces) tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end());
  }
  return all;
}

// On a GPU, whose sums depend on what is computed together, a draw may fall on another token now and then: from there on all is another's.
void CheckSame(const std::vector<Tokens>& said, const std::vector<Tokens>& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("request " << i);
    const std::size_t both = std::min(said[i].size(), expected[i].size());
    bool parted = false;
    for (std::size_t t = 0; t < both; ++t) {
      INFO("token " << t);
      parted = test::OnGpu() && t > 0 && said[i][t].id != expected[i][t].id;
      if (parted) break;
      REQUIRE(said[i][t].id == expected[i][t].id);
      REQUIRE(std::abs(said[i][t].logprob - expected[i][t].logprob) <= tolerance);
    }
    if (!parted) REQUIRE(said[i].size() == expected[i].size());
  }
}

TEST_CASE("What shares cells says what it says with a context of its own, with its state kept or made again") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    const tollgate::test::TempDir folder;
    const TinyModel tiny(architecture);
    ModelOptions own = Tiny(tiny, folder, 0);
    own.slots = 1;
    own.prefix_cache_bytes = 0;
    const auto expected = Say(*MakePool(own), {own.name});
    for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{256 << 20}}) {
      INFO(architecture << ", " << bytes << " bytes");
      ModelOptions model = Tiny(tiny, folder, 520);
      model.prefix_cache_bytes = bytes;
      const auto pool = MakePool(model);
      CheckSame(Say(*pool, {model.name}), expected, test::OnGpu() ? 0.05 : 1e-4);
      const ReplicaStats stats = pool->stats()[0];
      CHECK(stats.preemptions > 0);
      CHECK((stats.recomputed_tokens > 0) == (bytes == 0));
      CHECK(stats.failed == 0);
      CHECK(stats.suspended_bytes == 0);
    }
  }
}

TEST_CASE("Adapters share cells too, each sequence under its own") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const ModelOptions own = Tiny(tiny, folder, 0), model = Tiny(tiny, folder, 600);
  const auto alone = MakePool(own), pool = MakePool(model);
  for (Pool* p : {alone.get(), pool.get()}) {
    for (const std::string name : {"a", "b"}) {
      const std::string bytes = test::TinyAdapter{.seed = name == "a" ? 3U : 4U, .only = {}}.For(tiny.Bytes());
      REQUIRE(p->LoadAdapter(test::WriteAdapter(folder, bytes, model.name, name, 0.3)).ok());
    }
  }
  const std::vector<std::string> models = {model.name, model.name + ":a", model.name + ":b"};
  CheckSame(Say(*pool, models), Say(*alone, models), test::OnGpu() ? 0.05 : 1e-3);
  CHECK(pool->stats()[0].preemptions > 0);
}

TEST_CASE("In a process of its own the model shares cells as on a thread") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const ModelOptions model = Tiny(tiny, folder, 520);
  ModelOptions own = Tiny(tiny, folder, 0);
  PoolOptions options;
  options.models = {model};
  options.isolation = Isolation::kProcess;
  options.worker = test::TestWorker();
  const auto pool = test::ProcessPool(options);
  CheckSame(Say(*pool, {model.name}), Say(*MakePool(own), {own.name}), test::OnGpu() ? 0.05 : 1e-4);
  CHECK(pool->stats()[0].preemptions > 0);
  CHECK(pool->stats()[0].kv_tokens_total == 520);
  CHECK(pool->models()[0].kv_tokens == 520);
}

using Prompt = std::vector<std::int32_t>;

Prompt PromptOf(int tokens, int number) {
  Prompt prompt;
  for (int i = 0; i < tokens; ++i) prompt.push_back(40 + (i * 7 + number * 31) % 200);
  return prompt;
}

void StepPrompt(Engine& engine, int slot, std::int64_t tokens) {
  std::vector<EngineOutput> outputs;
  const EngineWork work{slot, tokens};
  REQUIRE(engine.Step(std::span(&work, 1), outputs).ok());
  REQUIRE(outputs.size() == 1);
  REQUIRE(outputs[0].status.ok());
}

TEST_CASE("What a tenant has kept is found whatever others hold, though the snapshot is longer than what is free") {
  const tollgate::test::TempDir folder;
  const TinyModel tiny("llama");
  const auto engine = MakeLlamaEngine(Tiny(tiny, folder, 520), "");
  REQUIRE(engine.ok());
  Engine& e = **engine;
  const auto open = [&](int slot, const Prompt& prompt, int tenant) {
    const auto opened = e.Open(slot, {.prompt_tokens = prompt, .sampling = {.temperature = 0}, .tenant = Team(tenant)});
    REQUIRE(opened.ok());
    return opened->cached_tokens;
  };
  Prompt kept = PromptOf(400, 1);
  CHECK(open(0, kept, 1) == 0);
  StepPrompt(e, 0, 400);
  e.Close(0);
  CHECK(open(1, PromptOf(380, 2), 2) == 0);
  StepPrompt(e, 1, 380);
  kept.resize(100);
  kept.push_back(39);
  CHECK(open(0, kept, 1) == 100);  // 100 + 380 fit; 400 + 380 do not.
  StepPrompt(e, 0, 1);
  CHECK(e.Suspend(1, INT64_MAX).ok());
  CHECK(*e.Resume(1) == 0);
  std::vector<EngineOutput> outputs;
  const EngineWork work{1, 0};
  CHECK(e.Step(std::span(&work, 1), outputs).ok());
}

TEST_CASE("Numbers that overflow under one tenant's adapter reach nobody's cells but its own") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    const TinyModel tiny(architecture);
    const auto pool = MakePool(Tiny(tiny, folder, 520));
    const std::string name = pool->models()[0].name;
    const std::string huge = test::TinyAdapter{.magnitude = 1e18F, .only = "ffn"}.For(tiny.Bytes());
    (void)pool->LoadAdapter(test::WriteAdapter(folder, huge, name, "huge"));
    const Heard before = HearAll(*Submit(*pool, Request(name, 1)));
    for (int round = 0; round < 3; ++round) {
      const auto running = Submit(*pool, Request(name, 1));
      const auto bad = pool->Submit(Request(name + ":huge", 2));
      if (bad.ok()) CHECK(HearAll(**bad).end.reason == EndReason::kEngineFailed);
      const Heard beside = HearAll(*running);
      CHECK(beside.end.status.ok());
      CHECK(beside.text == before.text);
    }
  }
}

}  // namespace
}  // namespace tollgate::inference
