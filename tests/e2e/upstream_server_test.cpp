// The upstream engine before a real server: llama-server, on the very libllama that the pool computes with, so that both must say the same.
// Where scripts/setup-llama-server has not built it, the cases are skipped, aloud.
#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <regex>

#include <fmt/format.h>

#include "inference/tool_grammar.h"
#include "tests/e2e/support/http_client.h"
#include "tests/e2e/support/process.h"
#include "tests/inference/support.h"

namespace tollgate::e2e {
namespace {

using inference::EndReason;
using inference::ModelOptions;
using inference::Pool;
using inference::SequenceRequest;
using inference::test::HearAll;
using inference::test::Heard;
using inference::test::Submit;

constexpr char kProgram[] = TOLLGATE_SOURCE_DIR "/build/llama-server/bin/llama-server";
constexpr char kModel[] = TOLLGATE_SOURCE_DIR "/build/setup/models/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr milliseconds kPatience{180'000};
constexpr int kContext = 512;

// As docs/upstream.md says that it is to be started.
class LlamaServer {
 public:
  LlamaServer()
      : process_({kProgram, "--model", kModel, "--parallel", "2", "--ctx-size", std::to_string(2 * kContext), "--threads", "1", "--host",
                  "127.0.0.1", "--threads-batch", "1", "--cache-ram", "0", "--metrics", "--port", "0"}) {
    REQUIRE(process_.WaitForErr("listening on http://", kPatience));
    const std::string said = process_.Err();
    std::smatch port;
    REQUIRE(std::regex_search(said, port, std::regex(R"(listening on http://127\.0\.0\.1:(\d+))")));
    port_ = std::stoi(port[1]);
    REQUIRE(Eventually([this] { return Get(port_, "/health").status == 200; }, kPatience));
  }

  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  // What it says of itself; -1: nothing.
  std::int64_t Metric(const std::string& name) const {
    const std::string body = Get(port_, "/metrics").body;
    const std::size_t at = body.find("\nllamacpp:" + name + " ");
    return at == std::string::npos ? -1 : std::atoll(body.c_str() + body.find(' ', at + 1));
  }

 private:
  Process process_;
  int port_ = 0;
};

// The same file twice: "here" computes, "there" asks the server.
std::unique_ptr<Pool> PoolBefore(const LlamaServer& server) {
  ModelOptions here;
  here.name = "here";
  here.file = kModel;
  here.sha256 = *inference::DigestOfFile(kModel);
  here.slots = 2;
  here.context_tokens = kContext;
  ModelOptions there = here;
  here.threads = 1;
  here.prefix_cache_bytes = 0;
  there.name = "there";
  there.engine = inference::EngineKind::kOpenAi;
  there.upstream.kind = inference::UpstreamKind::kLlamaServer;
  there.upstream.model = "smollm2";
  there.upstream.endpoints = {server.url()};
  inference::PoolOptions options;
  options.models = {here, there};
  auto pool = Pool::Create(std::move(options));
  INFO(pool.status().ToString());
  REQUIRE(pool.ok());
  return *std::move(pool);
}

SequenceRequest Greedy(const Pool& pool, const std::string& model, const std::string& text, std::int64_t max_tokens, int team = 1) {
  SequenceRequest request = inference::test::Ask(pool, text);
  request.model = model;
  request.tenant = inference::test::Team(team);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

bool Missing() { return !std::filesystem::exists(kProgram); }
constexpr char kMissing[] = "there is no llama-server (scripts/setup-llama-server builds it): no real server was asked";

TEST_CASE("A real server says what the pool itself says, both count alike, and no team's prompt saves another's work") {
  if (Missing()) SKIP(kMissing);
  const LlamaServer server;
  const auto pool = PoolBefore(server);
  std::int64_t input = 0, output = 0;
  // Eight tokens of what has no end: what is computed together moves the last digit, and some token with it.
  for (const auto& [text, max_tokens, reason] : {std::tuple("What is the capital of France? Answer in one sentence.", 24, EndReason::kStop),
                                                 std::tuple("Tell me a long story.", 8, EndReason::kLength)}) {
    const Heard here = HearAll(*Submit(*pool, Greedy(*pool, "here", text, max_tokens)));
    REQUIRE(here.end.reason == reason);
    for (const int team : {1, 2}) {
      const Heard there = HearAll(*Submit(*pool, Greedy(*pool, "there", text, max_tokens, team)));
      INFO(there.end.status.ToString());
      CHECK(there.text == here.text);
      CHECK(there.end.reason == here.end.reason);
      CHECK(there.end.tokens_decoded == here.end.tokens_decoded);
      CHECK(there.end.reported.input_tokens == here.end.input_tokens);
      CHECK(there.end.reported.output_tokens == here.end.tokens_decoded);
      CHECK_FALSE(there.end.reported.differs);
      input += there.end.input_tokens;
      output += there.end.tokens_decoded;
    }
  }
  CHECK(server.Metric("prompt_tokens_total") == input);
  CHECK(server.Metric("tokens_predicted_total") == output);
  CHECK(pool->stats()[1].upstream.usage_differences == 0);
  CHECK(pool->stats()[1].upstream.failures == 0);
}

TEST_CASE("Control tokens of a real server use up what was asked for, and no more is computed") {
  if (Missing()) SKIP(kMissing);
  const LlamaServer server;
  const auto pool = PoolBefore(server);
  for (const std::string model : {"here", "there"}) {
    SequenceRequest request = Greedy(*pool, model, "Say nothing.", 0);
    request.logit_bias = {{.token = 5, .bias = 100}};  // Of control, and no end.
    request.allowance = 3;
    request.allowance_final = true;
    const Heard heard = HearAll(*Submit(*pool, request));
    INFO(model << ": " << heard.end.status.ToString());
    CHECK(heard.end.reason == EndReason::kAllowance);
    CHECK(heard.text.empty());
    CHECK(heard.end.tokens_decoded == 3);
    CHECK(heard.end.reported.output_tokens == (model == "there" ? 3 : -1));
    CHECK(heard.end.reported.came_tokens == 0);
  }
  CHECK(server.Metric("tokens_predicted_total") == 3);
}

TEST_CASE("A real server holds its answer to our grammars, as the pool does") {
  if (Missing()) SKIP(kMissing);
  const LlamaServer server;
  const auto pool = PoolBefore(server);
  const auto hear = [&](const std::string& model, const std::string& grammar, bool ours = false) {
    SequenceRequest request = Greedy(*pool, model, "Hello!", 12);
    request.json = grammar.empty();
    request.grammar = grammar;
    request.grammar_is_ours = ours;
    return HearAll(*Submit(*pool, request));
  };
  for (const std::string grammar : {"", R"(root ::= "yes" | "no")"}) {
    const Heard here = hear("here", grammar), there = hear("there", grammar);
    INFO(there.end.status.ToString());
    CHECK(there.end.reason == (grammar.empty() ? EndReason::kLength : EndReason::kStop));  // Its JSON is longer.
    CHECK((grammar.empty() ? there.text.starts_with("{") : there.text == "yes" || there.text == "no"));
    CHECK(there.text == here.text);
  }
  const std::vector<inference::ForcedTool> tools = {{"find", R"({"type":"object","properties":{"n":{"enum":[1]}},"required":["n"]})"}};
  const auto form = inference::HoldToSchema(R"({"type":"object","properties":{"a":{"enum":["yes","no"]}},"required":["a"]})", true);
  const Heard either =
      hear("there", inference::CallsOrForm(*inference::ToolGrammar(inference::ToolStyle::kHermes, tools, false, false), *form).gbnf, true);
  INFO(either.end.status.ToString() << either.text);
  CHECK((either.text.starts_with("{") || either.text.starts_with("<tool_call>")));
}

TEST_CASE("Cancelling ends the work of a real server, which serves on") {
  if (Missing()) SKIP(kMissing);
  const LlamaServer server;
  const auto pool = PoolBefore(server);
  constexpr std::int64_t kAsked = 400;
  SequenceRequest request = Greedy(*pool, "there", "Tell me a long story.", kAsked);
  request.logit_bias = {{.token = 0, .bias = -100}, {.token = 2, .bias = -100}};  // It never ends.
  const auto stream = Submit(*pool, request);
  while (stream->tokens_decoded() < 2) std::this_thread::yield();
  CHECK(server.Metric("requests_processing") == 1);
  stream->Cancel();
  CHECK(HearAll(*stream).end.reason == EndReason::kCancelled);
  CHECK(Eventually([&] { return server.Metric("requests_processing") == 0; }, kPatience));
  const std::int64_t computed = server.Metric("tokens_predicted_total");
  CHECK(computed >= 2);
  CHECK(computed < kAsked);
  CHECK(HearAll(*Submit(*pool, Greedy(*pool, "there", "Hello.", 4))).end.tokens_decoded > 0);
}

}  // namespace
}  // namespace tollgate::e2e
