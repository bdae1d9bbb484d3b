// What crosses to a model's process and back stays what it was.
#include <catch2/catch_test_macros.hpp>

#include <limits>

#include "base/error_detail.h"
#include "inference/worker/messages.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

TEST_CASE("A sequence crosses whole, published prompts and bytes that are no text included") {
  const std::vector<std::int32_t> prompt = {0, 1, 1 << 30};
  const std::vector<LogitBias> bias = {{3, -100}, {4, 0.5F}};
  const std::vector<int> adapters = {2, 5};
  const std::vector<std::int32_t> banned = {3, 8};
  const EngineSequence sequence{.prompt_tokens = prompt,
                                .sampling = {.temperature = 0.7,
                                             .top_p = 0.9,
                                             .top_k = 40,
                                             .min_p = 0.05,
                                             .presence_penalty = -1,
                                             .frequency_penalty = 1.5,
                                             .repeat_penalty = 1.1,
                                             .seed = std::numeric_limits<std::uint64_t>::max()},
                                .tenant = test::Team(7),
                                .published_tokens = 2,
                                .published_by = base::OrgId::New(),
                                .logit_bias = bias,
                                .grammar = std::string_view("root ::= \"\xFF\0\"", 14),
                                .banned_first = banned,
                                .logprobs = 20,
                                .band = 3,
                                .adapters = adapters};
  v1::WorkerOpen sent, came;
  ToMessage(sequence, sent);
  REQUIRE(came.ParseFromString(sent.SerializeAsString()));
  std::vector<LogitBias> biases;
  const auto got = FromMessage(came, biases);
  REQUIRE(got.ok());
  CHECK(std::equal(got->prompt_tokens.begin(), got->prompt_tokens.end(), prompt.begin(), prompt.end()));
  CHECK(got->sampling.temperature == 0.7);
  CHECK(got->sampling.top_p == 0.9);
  CHECK(got->sampling.top_k == 40);
  CHECK(got->sampling.min_p == 0.05);
  CHECK(got->sampling.presence_penalty == -1);
  CHECK(got->sampling.frequency_penalty == 1.5);
  CHECK(got->sampling.repeat_penalty == 1.1);
  CHECK(got->sampling.seed == std::numeric_limits<std::uint64_t>::max());
  CHECK(got->tenant == sequence.tenant);
  CHECK(got->published_tokens == 2);
  CHECK(got->published_by == sequence.published_by);
  REQUIRE(got->logit_bias.size() == 2);
  CHECK(got->logit_bias[1].token == 4);
  CHECK(got->logit_bias[1].bias == 0.5F);
  CHECK(got->grammar == sequence.grammar);
  CHECK(got->logprobs == 20);
  CHECK(got->band == 3);
  CHECK(std::equal(got->banned_first.begin(), got->banned_first.end(), banned.begin(), banned.end()));
  CHECK(std::equal(got->adapters.begin(), got->adapters.end(), adapters.begin(), adapters.end()));
  came.set_tenant("short");
  CHECK_FALSE(FromMessage(came, biases).ok());
}

TEST_CASE("An output crosses with its alternatives, or with its error") {
  const std::vector<EngineAlternative> top = {{5, "\xC3", -0.1F}, {6, "b", -2}};
  v1::WorkerOutput message;
  ToMessage(EngineOutput{.slot = 3, .token = 5, .bytes = "\xC3", .ends = true, .logprob = -0.1F, .top = top, .status = {}}, message);
  std::vector<EngineAlternative> kept;
  const EngineOutput output = FromMessage(message, kept);
  CHECK(output.slot == 3);
  CHECK(output.token == 5);
  CHECK(output.bytes == "\xC3");
  CHECK(output.ends);
  CHECK(output.logprob == -0.1F);
  REQUIRE(output.top.size() == 2);
  CHECK(output.top[1].bytes == "b");
  CHECK(output.status.ok());
  base::ErrorDetail detail;
  detail.reason = "WHY";
  detail.param = "which";
  detail.may_retry = false;
  const absl::Status failed = base::WithDetail(base::ResourceExhausted("17 of 5"), detail);
  v1::WorkerOutput other;
  ToMessage(EngineOutput{.slot = 1, .token = -1, .bytes = {}, .ends = false, .logprob = 0, .top = {}, .status = failed}, other);
  CHECK(FromMessage(other, kept).status == failed);
}

TEST_CASE("A status whose code is none of ours is UNKNOWN") {
  for (const int code : {-1, 17, 1'000'000}) {
    v1::WorkerStatus message;
    message.set_code(code);
    message.set_message("odd");
    CHECK(FromMessage(message).code() == absl::StatusCode::kUnknown);
  }
}

TEST_CASE("What a process needs of a model's options crosses, and what it says of the model comes back") {
  ModelOptions model = test::Scripted(3);
  model.name = "a";
  model.file = "/b";
  model.sha256 = base::Sha256("c");
  model.chat_template = "d";
  model.licence = "e";
  model.context_tokens = 99;
  model.threads = 5;
  model.step_tokens_max = 77;
  model.kv = KvType::kQ8;
  model.kv_tokens = 150;
  model.prefix_cache_bytes = 1LL << 33;
  model.pooling = Pooling::kAsFile;
  model.strict = true;
  model.device_sampling = DeviceSampling::kOn;
  v1::WorkerStart start;
  ToMessage(model, start);
  const ModelOptions got = FromMessage(start);
  CHECK(got.name == "a");
  CHECK(got.engine == EngineKind::kScripted);
  CHECK(got.file == "/b");
  CHECK(got.sha256 == model.sha256);
  CHECK(got.chat_template == "d");
  CHECK(got.licence == "e");
  CHECK(got.slots == 3);
  CHECK(got.context_tokens == 99);
  CHECK(got.threads == 5);
  CHECK(got.step_tokens_max == 77);
  CHECK(got.kv == KvType::kQ8);
  CHECK(got.kv_tokens == 150);
  CHECK(got.prefix_cache_bytes == 1LL << 33);
  CHECK(got.pooling == Pooling::kAsFile);
  CHECK(got.strict);
  CHECK(got.device_sampling == DeviceSampling::kOn);

  ModelInfo info;
  info.engine = "llama";
  info.sha256 = *model.sha256;
  info.architecture = "deepseek2";
  info.chat_template = "chatml";
  info.engine_build = "llama 1";
  info.context_tokens = 99;
  info.vocab_tokens = 1000;
  info.size_bytes = 11;
  info.memory_bytes = 12;
  info.device_memory_bytes = 13;
  info.slots = 3;
  info.kv_tokens = 150;
  info.grammars = info.logprobs = info.thinks = info.opens_thinking = true;
  info.resumes = false;
  info.tools = ToolStyle::kDeepSeek;
  info.pooling = Pooling::kRank;
  info.dimensions = 1;
  info.rewinds = true;
  info.strict = StrictSetup{"llama 1", "a processor", 2, 128, 99, "f32"};
  v1::WorkerStarted started;
  ToMessage(info, started);
  const ModelInfo back = FromMessage(started, model);
  CHECK(back.name == "a");
  CHECK(back.licence == "e");
  CHECK(back.engine == "llama");
  CHECK(back.sha256 == info.sha256);
  CHECK(back.architecture == "deepseek2");
  CHECK(back.chat_template == "chatml");
  CHECK(back.engine_build == "llama 1");
  CHECK(back.context_tokens == 99);
  CHECK(back.vocab_tokens == 1000);
  CHECK(back.size_bytes == 11);
  CHECK(back.memory_bytes == 12);
  CHECK(back.device_memory_bytes == 13);
  CHECK(back.slots == 3);
  CHECK(back.kv_tokens == 150);
  CHECK(back.grammars);
  CHECK(back.logprobs);
  CHECK(back.thinks);
  CHECK(back.opens_thinking);
  CHECK_FALSE(back.resumes);
  CHECK(back.tools == ToolStyle::kDeepSeek);
  CHECK(back.pooling == Pooling::kRank);
  CHECK(back.dimensions == 1);
  CHECK(back.rewinds);
  CHECK(back.strict == info.strict);
}

TEST_CASE("An adapter's options cross whole") {
  const AdapterOptions adapter{.name = "a:b", .base = "a", .file = "/c", .sha256 = base::Sha256("d"), .scale = 0.25};
  v1::WorkerAddAdapter message;
  ToMessage(adapter, message);
  const AdapterOptions got = FromMessage(message);
  CHECK(got.name == "a:b");
  CHECK(got.base == "a");
  CHECK(got.file == "/c");
  CHECK(got.sha256 == adapter.sha256);
  CHECK(got.scale == 0.25);
}

}  // namespace
}  // namespace tollgate::inference
