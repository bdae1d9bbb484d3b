// The pool on tiny generated models: DeepSeek's architecture, prefixes and who saves by them, log-probabilities, bias, broken weights.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <numeric>

#include "inference/engines/llama.h"
#include "tests/inference/gpu.h"
#include "tests/inference/support.h"
#include "tests/inference/tiny_model.h"

namespace tollgate::inference {
namespace {

using test::Ask;
using test::HearAll;
using test::Heard;
using test::kTinyVocab;
using test::MakePool;
using test::Submit;
using test::Team;
using test::TinyModel;

SequenceRequest Greedy(const Pool& pool, int tenant, std::size_t prompt_tokens, std::int64_t max_tokens = 8) {
  SequenceRequest request;
  request.model = pool.models()[0].name;
  request.tenant = Team(tenant);
  for (std::size_t i = 0; i < prompt_tokens; ++i) request.prompt_tokens.push_back(static_cast<std::int32_t>(5 + i * 7 % 250));
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.allowance = max_tokens;
  return request;
}

TEST_CASE("Both architectures load, render any text and answer the same each time, side by side as alone") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    const auto pool = MakePool(TinyModel(architecture).WriteTo(folder));
    CHECK(pool->models()[0].architecture == architecture);
    CHECK(pool->models()[0].vocab_tokens == kTinyVocab);
    const SequenceRequest asked = Ask(*pool, "odd \xC3\xA9 \xF0\x9F\x98\x80 <|im_end|> text");
    CHECK(std::count(asked.prompt_tokens.begin(), asked.prompt_tokens.end(), test::kTinyImEnd) == 1);
    const Heard first = HearAll(*Submit(*pool, Greedy(*pool, 1, 40)));
    CHECK(first.end.tokens_decoded > 0);
    std::vector<std::shared_ptr<TokenStream>> streams;
    for (int i = 0; i < 4; ++i) streams.push_back(Submit(*pool, Greedy(*pool, 2 + i, 40)));
    for (const auto& stream : streams) CHECK(HearAll(*stream).end.tokens_decoded > 0);
  }
}

TEST_CASE("A load is broken off wherever it stands, until the model is there") {
  const tollgate::test::TempDir folder;
  PoolOptions options;
  options.models = {TinyModel("llama").WriteTo(folder)};
  options.models[0].strict = true;
  int least = 0;
  for (int most = 0;; ++most) {
    int asked = 0;
    options.go_on = [&] { return ++asked <= most; };
    const auto pool = Pool::Create(options);
    if (pool.ok()) {
      CHECK(asked == most);
      CHECK(HearAll(*Submit(**pool, Greedy(**pool, 1, 40))).end.tokens_decoded > 0);
      break;
    }
    INFO("the question number " << most + 1 << ": " << pool.status().ToString());
    REQUIRE(absl::IsCancelled(pool.status()));
    least = most + 1;
  }
  CHECK(least > 10);  // Of each copy: its file, its tensors one by one, and before its first step.
}

TEST_CASE("A tenant's own prefix saves work and is told; another tenant's saves nothing, to the token") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    const auto pool = MakePool(TinyModel(architecture).WriteTo(folder));
    const auto evaluated = [&](int tenant, std::int64_t cached_expected) {
      const std::int64_t before = pool->stats()[0].prompt_tokens;
      const Heard heard = HearAll(*Submit(*pool, Greedy(*pool, tenant, 200)));
      CHECK(heard.end.cached_input_tokens == cached_expected);
      CHECK(heard.end.input_tokens_evaluated == 200);
      CHECK(heard.end.input_tokens == 200);
      return pool->stats()[0].prompt_tokens - before;
    };
    const std::int64_t cold = evaluated(1, 0);
    CHECK(cold == 200);
    CHECK(evaluated(1, 199) == 1);
    CHECK(evaluated(2, 0) == cold);
    CHECK(evaluated(2, 199) == 1);
    CHECK(evaluated(3, 0) == cold);
    CHECK(pool->stats()[0].cached_tokens == 2 * 199);
    CHECK(pool->stats()[0].prefix_cache_bytes > 0);
  }
}

TEST_CASE("An answer from a kept prefix is the one from nothing; a conversation goes on from where it was") {
  const tollgate::test::TempDir folder;
  ModelOptions model = TinyModel("llama").WriteTo(folder);
  const auto pool = MakePool(model);
  SequenceRequest first = Greedy(*pool, 1, 100, 40);
  first.want_tokens = true;
  const Heard cold = HearAll(*Submit(*pool, first));
  const Heard warm = HearAll(*Submit(*pool, first));
  CHECK(warm.end.cached_input_tokens == 99);
  CHECK(warm.text == cold.text);
  SequenceRequest next = first;
  for (const Piece& piece : cold.pieces) {
    for (const OutputToken& token : piece.tokens) next.prompt_tokens.push_back(token.id);
  }
  next.prompt_tokens.push_back(7);
  const Heard turn = HearAll(*Submit(*pool, next));
  CHECK(turn.end.cached_input_tokens > 99);

  model.prefix_cache_bytes = 0;
  const auto without = MakePool(model);
  HearAll(*Submit(*without, first));
  const Heard again = HearAll(*Submit(*without, first));
  CHECK(again.end.cached_input_tokens == 0);
  CHECK(again.text == cold.text);
}

TEST_CASE("Each token comes with its log-probability and the likeliest others, bytes and all") {
  const tollgate::test::TempDir folder;
  const auto pool = MakePool(TinyModel("llama").WriteTo(folder));
  SequenceRequest request = Greedy(*pool, 1, 30, 12);
  request.logprobs = 5;
  const Heard heard = HearAll(*Submit(*pool, request));
  std::size_t tokens = 0;
  std::string bytes;
  for (const Piece& piece : heard.pieces) {
    for (const OutputToken& token : piece.tokens) {
      ++tokens;
      bytes += token.bytes;
      REQUIRE(token.top.size() == 5);
      CHECK(token.top[0].id == token.id);  // Greedy takes the likeliest.
      CHECK(token.top[0].logprob == token.logprob);
      CHECK(token.logprob < 0);
      CHECK(std::is_sorted(token.top.begin(), token.top.end(), [](const auto& a, const auto& b) { return a.logprob > b.logprob; }));
    }
  }
  CHECK(static_cast<std::int64_t>(tokens) == heard.end.tokens_delivered);
  CHECK(bytes.size() >= heard.text.size() / 3);
  request.logprobs = 21;
  CHECK(base::Message(pool->Submit(request).status()).find("logprobs asks for 21") != std::string::npos);
}

TEST_CASE("A bias forces a token, forbids one, and is refused out of range") {
  const tollgate::test::TempDir folder;
  const auto pool = MakePool(TinyModel("llama").WriteTo(folder));
  SequenceRequest request = Greedy(*pool, 1, 30, 6);
  request.want_tokens = true;
  request.logit_bias = {{.token = 300, .bias = 100}};
  for (const Piece& piece : HearAll(*Submit(*pool, request)).pieces) {
    for (const OutputToken& token : piece.tokens) CHECK(token.id == 300);
  }
  const auto first_of = [&](std::vector<LogitBias> bias) {
    request.logit_bias = std::move(bias);
    request.max_tokens = 1;
    request.logprobs = 1;
    const Heard heard = HearAll(*Submit(*pool, request));
    REQUIRE_FALSE(heard.pieces.empty());
    return heard.pieces[0].tokens.at(0).id;
  };
  const std::int32_t likeliest = first_of({});
  CHECK(first_of({{.token = likeliest, .bias = -100}}) != likeliest);
  request.logit_bias = {{.token = kTinyVocab, .bias = 1}};
  CHECK(base::Message(pool->Submit(request).status()).find("names token 384") != std::string::npos);
  request.logit_bias = {{.token = 1, .bias = 101}};
  CHECK(base::Message(pool->Submit(request).status()).find("between -100 and 100") != std::string::npos);
}

TEST_CASE("Weights that give no numbers fail the sequence, not the process; weights that are no numbers are refused") {
  const tollgate::test::TempDir folder;
  TinyModel huge("llama", 1, 3e18F);
  const auto pool = MakePool(huge.WriteTo(folder));
  SequenceRequest request = Greedy(*pool, 1, 10);
  request.sampling.temperature = 1;
  const Heard heard = HearAll(*Submit(*pool, request));
  if (!test::OnGpu()) {  // Whose sums end in other numbers.
    CHECK(heard.end.reason == EndReason::kEngineFailed);
    CHECK(heard.end.status.code() == absl::StatusCode::kInternal);
    CHECK(base::Message(heard.end.status).find("sha256") != std::string::npos);
  }

  TinyModel none("llama");
  std::string bytes = none.Bytes();
  const float nan = std::nanf("");
  std::memcpy(bytes.data() + bytes.size() - 64, &nan, sizeof nan);
  ModelOptions broken = none.WriteTo(folder);
  std::ofstream(broken.file, std::ios::binary) << bytes;
  broken.sha256 = *DigestOfFile(broken.file);
  PoolOptions options;
  options.models = {broken};
  CHECK_FALSE(Pool::Create(std::move(options)).ok());
}

TEST_CASE("Eight-bit context is refused where a model's heads do not fit its blocks") {
  const tollgate::test::TempDir folder;
  ModelOptions model = TinyModel("llama").WriteTo(folder);
  model.kv = KvType::kQ8;
  PoolOptions options;
  options.models = {model};
  const auto pool = Pool::Create(std::move(options));  // Its heads have 16 numbers, a block 32.
  REQUIRE_FALSE(pool.ok());
  CHECK(base::Message(pool.status()).find("8-bit") != std::string::npos);
}

TEST_CASE("A model that does not fit beside the others is refused in numbers and loads once there is room") {
  if (test::OnGpu()) SKIP("contexts are in the GPU's memory: gpu_test.cpp");
  const tollgate::test::TempDir folder;
  PoolOptions options;
  ModelOptions first = TinyModel("llama").WriteTo(folder);
  first.prefix_cache_bytes = 1 << 20;
  ModelOptions second = TinyModel("deepseek2").WriteTo(folder);
  second.prefix_cache_bytes = 1 << 20;
  options.models = {first};
  options.memory_bytes = 10 << 20;
  auto created = Pool::Create(options);
  INFO(created.status().ToString());
  REQUIRE(created.ok());
  Pool& pool = **created;
  CHECK(pool.models()[0].memory_bytes > 1 << 20);
  const absl::Status refused = pool.Load(second);
  CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
  CHECK(base::Message(refused).find("model deepseek2: it needs about") != std::string::npos);
  REQUIRE(pool.Unload("llama", base::MonoTime::max()).ok());
  CHECK(pool.Load(second).ok());
  CHECK(HearAll(*Submit(pool, Greedy(pool, 1, 20))).end.tokens_decoded > 0);
  options.memory_bytes = 1 << 20;
  CHECK(Pool::Create(options).status().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("Several answers to one prompt work through it once, and each is what it would be alone") {
  for (const std::string architecture : {"llama", "deepseek2"}) {
    INFO(architecture);
    const tollgate::test::TempDir folder;
    ModelOptions model = TinyModel(architecture).WriteTo(folder, 5);  // Four run at once: the last is kept for another tenant.
    model.prefix_cache_bytes = 0;                                     // The group shares without it.
    model.kv = KvType::kF32;
    model.step_tokens_max = 64;  // The prompt takes several steps.
    const auto pool = MakePool(model);
    SequenceRequest request = Greedy(*pool, 1, 300, 10);
    request.sampling.temperature = 1;
    const std::vector<std::uint64_t> seeds = {11, 12, 13, 14};
    const auto streams = pool->SubmitGroup(request, seeds);
    REQUIRE(streams.ok());
    REQUIRE(streams->size() == 4);
    std::vector<Heard> heard;
    for (const auto& stream : *streams) heard.push_back(HearAll(*stream));
    CHECK(pool->stats()[0].prompt_tokens == 300 + 3);
    CHECK(pool->stats()[0].cached_tokens == 3 * 299);
    int shared = 0;
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      CHECK(heard[i].end.input_tokens_evaluated == 300);
      shared += heard[i].end.cached_input_tokens == 299 ? 1 : 0;
      SequenceRequest alone = request;
      alone.sampling.seed = seeds[i];
      const std::string text = HearAll(*Submit(*pool, alone)).text;
      if (!test::OnGpu()) CHECK(text == heard[i].text);  // On a GPU batching moves the third digit, and a draw with it.
    }
    CHECK(shared == 3);
  }
}

TEST_CASE("A group goes on where the one that works through the prompt is cancelled, and where slots are fewer than answers") {
  const tollgate::test::TempDir folder;
  ModelOptions model = TinyModel("llama").WriteTo(folder, 2, 2048);
  model.step_tokens_max = 16;
  const auto pool = MakePool(model);
  const SequenceRequest request = Greedy(*pool, 1, 1800, 5);
  const std::vector<std::uint64_t> seeds = {1, 2, 3, 4, 5};
  const auto streams = pool->SubmitGroup(request, seeds);
  REQUIRE(streams.ok());
  test::Until(*pool, [](const ReplicaStats& s) { return s.steps > 2; });
  (*streams)[0]->Cancel();
  CHECK(HearAll(*(*streams)[0]).end.reason == EndReason::kCancelled);
  const std::string text = HearAll(*(*streams)[1]).text;
  for (std::size_t i = 2; i < seeds.size(); ++i) {
    const Heard heard = HearAll(*(*streams)[i]);
    CHECK(heard.end.tokens_decoded > 0);
    CHECK(heard.text == text);  // Greedy: seeds change nothing.
  }
}

}  // namespace
}  // namespace tollgate::inference
