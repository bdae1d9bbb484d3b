#include "inference/engines/upstream_wire.h"

#include <fmt/format.h>
#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>

#include "inference/engines/upstream_answer.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;

json::object BodyOf(UpstreamKind kind, const UpstreamAsk& ask, bool priority = true) {
  UpstreamOptions options;
  options.kind = kind;
  options.model = "a \"model\"";
  options.priority = priority;
  return json::parse(UpstreamBody(options, ask)).as_object();
}

TEST_CASE("A request carries token ids, the salt and the priority that are ours, and each kind only what it knows") {
  const std::vector<std::int32_t> prompt = {1, 22, 333};
  UpstreamAsk ask{.prompt = prompt, .max_tokens = 9, .cache_salt = "salt", .priority = 2};
  ask.sampling.temperature = 0.5;
  ask.sampling.top_k = 7;
  ask.sampling.repeat_penalty = 1.25;
  ask.sampling.seed = ~0ULL;
  ask.grammar = "root ::= \"a\\n\"";
  const json::object vllm = BodyOf(UpstreamKind::kVllm, ask);
  CHECK(vllm.at("model") == "a \"model\"");
  CHECK(vllm.at("prompt") == json::array({1, 22, 333}));
  CHECK(vllm.at("max_tokens") == 9);
  CHECK(vllm.at("stream") == true);
  CHECK(vllm.at("stream_options").at("include_usage") == true);
  CHECK(vllm.at("temperature") == 0.5);
  CHECK(vllm.at("top_k") == 7);
  CHECK(vllm.at("repetition_penalty") == 1.25);
  CHECK(vllm.at("seed").as_int64() > 0);
  CHECK(vllm.at("cache_salt") == "salt");
  CHECK(vllm.at("priority") == 2);
  CHECK(vllm.at("return_token_ids") == true);
  CHECK(vllm.at("structured_outputs") == json::object{{"grammar", ask.grammar}});
  CHECK_FALSE(BodyOf(UpstreamKind::kVllm, {}).contains("structured_outputs"));
  CHECK_FALSE(vllm.contains("stop"));
  CHECK_FALSE(vllm.contains("user"));

  const json::object sglang = BodyOf(UpstreamKind::kSglang, ask);
  CHECK(sglang.at("cache_salt") == "salt");
  CHECK(sglang.at("ebnf") == json::string(ask.grammar));
  CHECK_FALSE(sglang.contains("return_token_ids"));
  const json::object tensorrt = BodyOf(UpstreamKind::kTensorRtLlm, ask);
  for (const char* unknown : {"cache_salt", "priority", "return_token_ids", "cache_prompt"}) CHECK_FALSE(tensorrt.contains(unknown));
  const json::object llama = BodyOf(UpstreamKind::kLlamaServer, ask);
  CHECK(llama.at("cache_prompt") == false);
  CHECK(llama.at("grammar") == json::string(ask.grammar));
  CHECK(llama.at("repeat_penalty") == 1.25);
  CHECK_FALSE(llama.contains("cache_salt"));
  CHECK_FALSE(BodyOf(UpstreamKind::kVllm, ask, false).contains("priority"));

  const std::vector<std::string> shown = {"[CALL]", "\"quoted\""};
  ask.shown = shown;
  CHECK(BodyOf(UpstreamKind::kLlamaServer, ask).at("preserved_tokens") == json::array{"[CALL]", "\"quoted\""});
  for (const UpstreamKind other : {UpstreamKind::kVllm, UpstreamKind::kSglang, UpstreamKind::kTensorRtLlm})
    CHECK_FALSE(BodyOf(other, ask).contains("preserved_tokens"));
  CHECK_FALSE(llama.contains("preserved_tokens"));
}

TEST_CASE("Sampling that changes nothing is sent to each kind too: none of a server's own defaults acts") {
  struct Row {
    UpstreamKind kind;
    int all_tokens;  // Its top_k.
    const char* repeat;
  };
  for (const Row& row : {Row{UpstreamKind::kVllm, -1, "repetition_penalty"}, Row{UpstreamKind::kSglang, -1, "repetition_penalty"},
                         Row{UpstreamKind::kTensorRtLlm, 0, "repetition_penalty"}, Row{UpstreamKind::kLlamaServer, 0, "repeat_penalty"}}) {
    const json::object body = BodyOf(row.kind, {});
    INFO(json::serialize(body));
    const auto sent = [&](const char* name, double value) {
      const json::value* field = body.if_contains(name);
      return field != nullptr && field->to_number<double>() == value;
    };
    CHECK(sent("top_k", row.all_tokens));
    CHECK(sent(row.repeat, 1));
    for (const char* name : {"temperature", "top_p"}) CHECK(sent(name, 1));
    for (const char* name : {"min_p", "presence_penalty", "frequency_penalty"}) CHECK(sent(name, 0));
    // Samplers that have no field here: a command line, or the model's file, may set them.
    const bool llama = row.kind == UpstreamKind::kLlamaServer;
    CHECK(body.contains("samplers") == llama);
    if (llama) CHECK(body.at("samplers") == json::array({"penalties", "top_k", "top_p", "min_p", "temperature"}));
    for (const char* name : {"mirostat", "dynatemp_range"}) CHECK(sent(name, 0) == llama);
  }
}

TEST_CASE("Banned tokens go as a bias, before the caller's own") {
  const std::vector<std::int32_t> prompt = {1};
  const std::vector<std::int32_t> banned = {5, 6};
  const std::vector<LogitBias> bias = {{5, 50}, {7, -1.5F}};
  const json::object body = BodyOf(UpstreamKind::kVllm, {.prompt = prompt, .logit_bias = bias, .banned = banned});
  const json::object& sent = body.at("logit_bias").as_object();
  CHECK(sent.size() == 3);
  CHECK(sent.at("5").to_number<double>() == -100);
  CHECK(sent.at("6").to_number<double>() == -100);
  CHECK(sent.at("7").to_number<double>() == -1.5);
}

TEST_CASE("Events are read; what has the wrong shape is refused, without its content") {
  const auto text =
      ReadUpstreamEvent(R"({"id":"x","choices":[{"index":0,"text":"hi","token_ids":[3,4],"finish_reason":null}],"usage":null})");
  REQUIRE(text.ok());
  CHECK(text->text == "hi");
  CHECK(text->tokens == std::vector<std::int32_t>{3, 4});
  CHECK(text->finish.empty());
  const auto usage = ReadUpstreamEvent(R"({"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}})");
  REQUIRE(usage.ok());
  CHECK(usage->input_tokens == 12);
  CHECK(usage->output_tokens == 3);
  CHECK(ReadUpstreamEvent("[DONE]")->done);
  CHECK(ReadUpstreamEvent("{}").ok());
  CHECK(ReadUpstreamEvent(R"({"choices":[{"text":"","finish_reason":"stop"}]})")->finish == "stop");

  // The prompt's ids, which vLLM repeats, are not even read.
  for (const char* echo : {R"("prompt_token_ids":[1,22,333],)", R"("prompt_token_ids": [1, 22, , 333],)", R"("prompt_token_ids":[],)",
                           R"("prompt_token_ids":null,)", R"("prompt_token_ids":["a"],)"}) {
    INFO(echo);
    const auto first = ReadUpstreamEvent(fmt::format(R"({{"choices":[{{{}"text":"\"prompt_token_ids\":[1]","token_ids":[3]}}]}})", echo));
    REQUIRE(first.ok());
    CHECK(first->text == R"("prompt_token_ids":[1])");
    CHECK(first->tokens == std::vector<std::int32_t>{3});
  }
  CHECK(ReadUpstreamEvent(R"({"error":{"message":"SECRET","code":400}})")->error == 400);
  CHECK(ReadUpstreamEvent(R"({"choices":[{"text":"","finish_reason":"abort"}]})")->error == kGivenUp);
  CHECK_FALSE(text->error);

  const char* strange[] = {"",
                           "SECRET",
                           "[]",
                           "{\"choices\":3}",
                           R"({"choices":["SECRET"]})",
                           R"({"choices":[{"text":7}]})",
                           R"({"choices":[{"text":null}]})",
                           R"({"choices":[{"text":"SECRET"},{"text":"b"}]})",
                           R"({"choices":[{"text":"a","token_ids":"SECRET"}]})",
                           R"({"choices":[{"text":"a","token_ids":[1.5]}]})",
                           R"({"choices":[{"text":"a","token_ids":[-1]}]})",
                           R"({"choices":[{"text":"a","token_ids":[4294967296]}]})",
                           R"({"choices":[{"text":"","finish_reason":"SECRET"}]})",
                           R"({"choices":[{"text":"","finish_reason":true}]})",
                           R"({"choices":[],"usage":{"prompt_tokens":1.5}})",
                           R"({"choices":[],"usage":{"completion_tokens":1e300}})",
                           R"({"choices":[],"usage":{"completion_tokens":"SECRET"}})",
                           R"({"choices":[],"usage":[]})",
                           R"({"error":{"message":"SECRET"}})",
                           R"({"error":"SECRET"})",
                           R"({"error":{"code":"SECRET"}})",
                           R"({"error":{"code":200}})",
                           R"({"error":{"code":4000000000000}})",
                           "{\"choices\":[{\"text\":\"\xFF\"}]}",
                           "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"};
  for (const char* data : strange) {
    INFO(data);
    const auto event = ReadUpstreamEvent(data);
    REQUIRE_FALSE(event.ok());
    CHECK(event.status().code() == absl::StatusCode::kUnavailable);
    CHECK(base::Message(event.status()).find("SECRET") == std::string::npos);
  }
}

TEST_CASE("Counts that cannot be are given as the nearest that can, and said to be absurd") {
  const auto read = [](const char* count) {
    const auto event = ReadUpstreamEvent(fmt::format(R"({{"choices":[],"usage":{{"prompt_tokens":7,"completion_tokens":{}}}}})", count));
    REQUIRE(event.ok());
    CHECK(event->input_tokens == 7);
    return *event;
  };
  CHECK_FALSE(read("0").absurd_usage);
  CHECK_FALSE(read("1099511627776").absurd_usage);
  for (const char* more : {"1099511627777", "9223372036854775807", "18446744073709551615"}) {
    CHECK(read(more).absurd_usage);
    CHECK(read(more).output_tokens == kUpstreamCountMax);
  }
  CHECK(read("-1").absurd_usage);
  CHECK(read("-1").output_tokens == 0);
  CHECK_FALSE(read("null").output_tokens);
}

TEST_CASE("A cache salt is the same for a tenant, another for others and under other keys, and tells neither") {
  const std::string salt = CacheSalt("key", "tenant");
  CHECK(salt.size() == 43);
  CHECK(salt.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == std::string::npos);
  CHECK(CacheSalt("key", "tenant") == salt);
  CHECK(CacheSalt("key", "other") != salt);
  CHECK(CacheSalt("other", "tenant") != salt);
}

}  // namespace
}  // namespace tollgate::inference
