// The pool with a model that embeds: jobs, their bounds and ends, and what tenants have of each other. The scripted engine.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>

#include "base/error_detail.h"
#include "inference/memory_estimate.h"
#include "inference/pooling.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::Embed;
using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Scripted;
using test::Team;
using test::Until;

ModelOptions Embedder(Pooling pooling = Pooling::kMean) {
  ModelOptions model = Scripted();
  model.pooling = pooling;
  return model;
}

std::vector<float> VectorOf(Pool& pool, const std::string& text) { return HearAll(*Embed(pool, {text})).end.vectors; }

TEST_CASE("A job gives a vector of length 1 for each input, in order, whatever else is in it") {
  const auto pool = MakePool(Embedder());
  CHECK(pool->models()[0].embeds());
  REQUIRE(pool->models()[0].dimensions == 8);
  std::vector<std::string> texts;
  for (int i = 0; i < 150; ++i) texts.push_back(std::string(static_cast<std::size_t>(1 + i % 40), static_cast<char>('a' + i % 26)));
  const Heard heard = HearAll(*Embed(*pool, texts));
  CHECK(heard.text.empty());
  CHECK(heard.end.reason == EndReason::kStop);
  CHECK(heard.end.tokens_decoded == 0);
  CHECK(heard.end.input_tokens_evaluated == heard.end.input_tokens);
  REQUIRE(heard.end.vectors.size() == 150 * 8);
  for (std::size_t i = 0; i < texts.size(); i += 37) {
    const std::vector<float> alone = VectorOf(*pool, texts[i]);
    CHECK(std::vector<float>(heard.end.vectors.begin() + static_cast<std::ptrdiff_t>(i * 8),
                             heard.end.vectors.begin() + static_cast<std::ptrdiff_t>(i * 8 + 8)) == alone);
    double square = 0;
    for (const float x : alone) square += static_cast<double>(x) * x;
    CHECK(std::abs(square - 1) < 1e-6);
  }
}

TEST_CASE("What a job may not be is refused with the numbers, before anything is queued") {
  ModelOptions model = Embedder();
  model.context_tokens = 64;
  const auto pool = MakePool(model);
  const auto refusal = [&](std::vector<std::vector<std::int32_t>> inputs) {
    EmbedJob job;
    job.model = "script";
    job.inputs = std::move(inputs);
    return pool->Embed(std::move(job)).status();
  };
  CHECK_THAT(base::Message(refusal({})), ContainsSubstring("there are 0 inputs; script takes 1 to 2048 at once"));
  CHECK_THAT(base::Message(refusal(std::vector<std::vector<std::int32_t>>(2049, {1}))), ContainsSubstring("there are 2049 inputs"));
  const absl::Status long_one = refusal({{1}, std::vector<std::int32_t>(65, 1)});
  CHECK_THAT(base::Message(long_one), ContainsSubstring("input 1 has 65 tokens; script takes 1 to 64 of one"));
  CHECK(base::DetailOf(long_one)->reason == "CONTEXT_LENGTH_EXCEEDED");
  CHECK_THAT(base::Message(refusal({{}})), ContainsSubstring("input 0 has 0 tokens"));
  CHECK_THAT(base::Message(refusal({{-1}})), ContainsSubstring("-1 is not one of the model's"));
  EmbedJob of_another;
  of_another.model = "script";
  of_another.fingerprint = "another's";
  of_another.inputs = {{1}};
  CHECK(base::DetailOf(pool->Embed(of_another).status())->reason == "MODEL_CHANGED");
  CHECK(pool->stats()[0].sequences == 0);

  model.context_tokens = 2048;
  EmbedJob much;
  much.model = "script";
  much.inputs.assign(2000, std::vector<std::int32_t>(1100, 1));
  CHECK_THAT(base::Message(MakePool(model)->Embed(std::move(much)).status()), ContainsSubstring("more than 2097152 tokens"));
}

TEST_CASE("A model that embeds does not chat, one that chats does not embed, and each says so") {
  const auto embedder = MakePool(Embedder());
  SequenceRequest chat;
  chat.model = "script";
  chat.prompt_tokens = {1};
  chat.allowance = 1;
  CHECK_THAT(base::Message(embedder->Submit(chat).status()), ContainsSubstring("does not chat"));
  const auto chats = MakePool(Scripted());
  CHECK_THAT(base::Message(chats->EmbedTokens("script", {"a", {}}).status()), ContainsSubstring("makes no vectors"));
  CHECK(absl::IsFailedPrecondition(chats->TextOf("script", {}).status()));
  EmbedJob job;
  job.model = "script";
  job.inputs = {{1}};
  CHECK(absl::IsFailedPrecondition(chats->Embed(job).status()));
  job.model = "none";
  CHECK(absl::IsNotFound(chats->Embed(job).status()));
}

TEST_CASE("A job that is cancelled, late, or that the engine fails on ends alone, and its inputs that were worked through are counted") {
  base::ManualClock clock;
  const auto pool = MakePool(Embedder());
  const auto cancelled = Embed(*pool, std::vector<std::string>(2000, "!pace_ms 1"), 1);
  Until(*pool, [](const ReplicaStats& stats) { return stats.steps > 2; });
  cancelled->Cancel();
  const Heard heard = HearAll(*cancelled);
  CHECK(heard.end.reason == EndReason::kCancelled);
  CHECK(heard.end.input_tokens_evaluated > 0);
  CHECK(heard.end.input_tokens_evaluated < heard.end.input_tokens);

  const auto still = MakePool(Embedder(), clock);
  EmbedJob job;
  job.model = "script";
  job.inputs.assign(2000, *still->EmbedTokens("script", {"!pace_ms 1", {}}));
  job.deadline = clock.Mono() + std::chrono::milliseconds(20);
  const auto stream = *still->Embed(job);
  while (stream->input_tokens_begun() == 0) std::this_thread::yield();
  Until(*still, [&](const ReplicaStats& stats) {
    clock.Advance(std::chrono::milliseconds(1));
    return stats.sequences == 1;
  });
  const Heard late = HearAll(*stream);
  CHECK(late.end.reason == EndReason::kDeadline);
  CHECK_THAT(base::Message(late.end.status), ContainsSubstring("before all inputs were worked through"));

  const auto failed = Embed(*pool, {"!fail"}, 2);
  const auto other = Embed(*pool, {"sound"}, 3);
  CHECK(HearAll(*failed).end.reason == EndReason::kEngineFailed);
  CHECK(HearAll(*other).end.reason == EndReason::kStop);
}

TEST_CASE("While a step lasts, what it works on is told") {
  const auto pool = MakePool(Embedder());
  const auto stream = Embed(*pool, {"!pace_ms 60000"});
  while (stream->input_tokens_begun() == 0) std::this_thread::yield();
  CHECK(stream->input_tokens_begun() == static_cast<std::int64_t>(pool->EmbedTokens("script", {"!pace_ms 60000", {}})->size()));
}

TEST_CASE("Tenants never share a step, and one with little to do does not wait for one with much") {
  base::ManualClock clock;
  const auto steps_of_two = [&](int first, int second) {
    ModelOptions model = Embedder();
    model.queue_timeout = std::chrono::hours(1);
    model.step_target = std::chrono::seconds(10);
    const auto pool = MakePool(model, clock);
    // None fits beside it, and it lasts for a minute of a clock that stands still but for this test.
    const std::string one_step = "!pace_ms 60000 " + std::string(400, 'x');
    const auto holds = Embed(*pool, {one_step, one_step}, 9);
    Until(*pool, [&](const ReplicaStats& stats) {
      if (stats.steps == 0) clock.Advance(std::chrono::milliseconds(10));
      return stats.steps == 1;
    });
    const auto a = Embed(*pool, {"a"}, first);
    const auto b = Embed(*pool, {"b"}, second);
    clock.Advance(std::chrono::minutes(2));
    for (const auto& stream : {holds, a, b}) CHECK(HearAll(*stream).end.reason == EndReason::kStop);
    return pool->stats()[0].steps - 2;
  };
  CHECK(steps_of_two(1, 1) == 1);
  CHECK(steps_of_two(1, 2) == 2);

  const auto pool = MakePool(Embedder());
  const auto much = Embed(*pool, std::vector<std::string>(2000, "!pace_ms 10"), 1);
  Until(*pool, [](const ReplicaStats& stats) { return stats.running > 0; });
  for (int i = 0; i < 3; ++i) CHECK(HearAll(*Embed(*pool, {"little"}, 2)).end.reason == EndReason::kStop);
  much->Cancel();
  CHECK(HearAll(*much).end.reason == EndReason::kCancelled);  // It had not ended.
}

TEST_CASE("What a tenant embedded while nobody else did is not held against it, nor for it") {
  base::ManualClock clock;
  ModelOptions model = Embedder();
  model.queue_timeout = std::chrono::hours(1);
  model.step_target = std::chrono::seconds(10);
  const auto pool = MakePool(model, clock);
  const std::string one_step = std::string(400, 'x');  // None fits beside it.
  HearAll(*Embed(*pool, std::vector<std::string>(100, one_step), 2));
  const std::int64_t before = pool->stats()[0].steps;
  const auto long_job = Embed(*pool, std::vector<std::string>(6, "!pace_ms 60000 " + one_step), 1);
  Until(*pool, [&](const ReplicaStats& stats) {
    if (stats.steps == before) clock.Advance(std::chrono::milliseconds(10));
    return stats.steps > before;
  });
  const auto little = Embed(*pool, {"little"}, 2);
  const base::MonoTime asked = clock.Mono();
  Until(*pool, [&](const ReplicaStats& stats) {
    const bool may_wait = stats.opened == 3 || clock.Mono() - asked < std::chrono::minutes(50);  // In the queue for an hour at most.
    if (may_wait) clock.Advance(std::chrono::milliseconds(10));
    return stats.sequences == 3;
  });
  const base::MonoTime of_little = HearAll(*little).end.ended_at, of_long = HearAll(*long_job).end.ended_at;
  CHECK(of_long - of_little > std::chrono::minutes(2));
}

TEST_CASE("A reranker gives one number a document, by its query") {
  const auto pool = MakePool(Embedder(Pooling::kRank));
  CHECK(pool->models()[0].reranks());
  EmbedJob job;
  job.model = "script";
  const std::vector<std::int32_t> query = *pool->Tokenize("script", "red green");
  for (const char* document : {"red green", "red", "blue"}) job.inputs.push_back(*pool->EmbedTokens("script", {document, query}));
  CHECK(HearAll(**pool->Embed(job)).end.vectors == std::vector<float>{1.0F, 0.5F, 0.0F});
}

TEST_CASE("Tokens of text are its text again; what is none is refused") {
  const auto pool = MakePool(Embedder());
  for (const std::string text : {"", "plain", "odd \xC3\xA9 \xF0\x9F\x98\x80", "tab\tand\nline"}) {
    CHECK(*pool->TextOf("script", *pool->EmbedTokens("script", {text, {}})) == text);
  }
  const std::vector<std::int32_t> control = {1 << 29 | 3};
  CHECK(absl::IsInvalidArgument(pool->TextOf("script", control).status()));
  const std::vector<std::int32_t> broken = {(1 << 28) | (1 << 24) | 0xFF};
  CHECK_THAT(base::Message(pool->TextOf("script", broken).status()), ContainsSubstring("not UTF-8"));
}

TEST_CASE("What is asked of a file is met or refused with the remedy") {
  GgufHeader chats, says_cls, encoder, reranker;
  for (GgufHeader* header : {&chats, &says_cls, &encoder, &reranker}) header->architecture = "x";
  says_cls.numbers["x.pooling_type"] = 2;
  encoder.numbers["x.attention.causal"] = 0;
  reranker.classifier = true;
  CHECK(*ResolvePooling(Pooling::kNone, chats) == Pooling::kNone);
  CHECK(*ResolvePooling(Pooling::kLast, chats) == Pooling::kLast);
  CHECK(*ResolvePooling(Pooling::kAsFile, says_cls) == Pooling::kCls);
  CHECK(*ResolvePooling(Pooling::kRank, reranker) == Pooling::kRank);
  CHECK_THAT(base::Message(ResolvePooling(Pooling::kAsFile, chats).status()), ContainsSubstring("set pooling to mean, cls or last"));
  CHECK_THAT(base::Message(ResolvePooling(Pooling::kRank, chats).status()), ContainsSubstring("no classifier"));
  CHECK_THAT(base::Message(ResolvePooling(Pooling::kNone, encoder).status()), ContainsSubstring("cannot chat"));
  for (const Pooling pooling : {Pooling::kNone, Pooling::kAsFile, Pooling::kMean, Pooling::kCls, Pooling::kLast, Pooling::kRank})
    CHECK(PoolingOf(Name(pooling)) == pooling);
  CHECK(PoolingOf("") == Pooling::kNone);
  CHECK_FALSE(PoolingOf("max").has_value());
}

TEST_CASE("An embedder's memory is that of one step, with the logits that libllama keeps of it, and no cache where it is an encoder") {
  GgufHeader header;
  header.architecture = "x";
  header.layers = 2;
  header.vocab_tokens = 1000;
  header.numbers = {{"x.embedding_length", 64}, {"x.attention.head_count", 4}, {"x.feed_forward_length", 128}};
  ModelOptions model = Embedder();
  model.context_tokens = 1024;
  model.slots = 8;
  const MemoryNeed causal = EstimateMemory(header, 5000, model);
  CHECK(causal.context == std::int64_t{2} * 4 * (16 + 16) * 1024 * 2);
  CHECK(causal.prefix_cache == 0);
  CHECK(causal.computing >= std::int64_t{4} * 1024 * 2 * 1000);
  header.numbers["x.attention.causal"] = 0;
  const MemoryNeed encoder = EstimateMemory(header, 5000, model);
  CHECK(encoder.context == 0);
  CHECK(encoder.computing < causal.computing);
  model.pooling = Pooling::kNone;
  CHECK(EstimateMemory(header, 5000, model).context == causal.context * 8);
}

}  // namespace
}  // namespace tollgate::inference
