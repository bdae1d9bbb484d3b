// Models on servers, which are scripted, through the whole pipeline: what a server's way of telling tokens means for calls and thoughts.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "tests/gateway/pipeline/world.h"
#include "tests/inference/tiny_model.h"
#include "tests/support/scripted_upstream.h"

using namespace tollgate;
namespace json = boost::json;
namespace v1 = tollgate::v1;
using inference::test::TinyModel;
using inference::test::TinyVocabulary;
using test::ReplyOf;
using test::ScriptedUpstream;

namespace {

std::string Event(const std::string& text, const json::array& tokens = {}, const std::string& finish = "") {
  json::object choice{{"index", 0}, {"text", text}, {"finish_reason", nullptr}};
  if (!tokens.empty()) choice["token_ids"] = tokens;
  if (!finish.empty()) choice["finish_reason"] = finish;
  return "data: " + json::serialize(json::object{{"choices", json::array{choice}}}) + "\n\n";
}

std::string Usage(std::int64_t output) {
  return fmt::format("data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":{}}}}}\n\ndata: [DONE]\n\n", output);
}

// A world with a model of this vocabulary, "fleet", on one server.
struct Served {
  Served(const TinyVocabulary& vocabulary, inference::UpstreamKind kind, ScriptedUpstream::Handler handler) : server(std::move(handler)) {
    inference::ModelOptions model = TinyModel("llama", 1, 0.1F, vocabulary).WriteTo(folder, 4, 2048);
    model.name = "fleet";
    model.engine = inference::EngineKind::kOpenAi;
    model.upstream.kind = kind;
    model.upstream.model = "tiny";
    model.upstream.endpoints = {server.url()};
    const absl::Status loaded = world.pool().Load(model);
    INFO(base::Message(loaded));
    REQUIRE(loaded.ok());
    world.Price("fleet");
  }
  std::vector<std::int64_t> Prompt(std::size_t request) const {
    const json::value body = json::parse(server.requests().at(request).body);
    std::vector<std::int64_t> ids;
    for (const json::value& id : body.at("prompt").as_array()) ids.push_back(id.as_int64());
    return ids;
  }

  test::TempDir folder;
  ScriptedUpstream server;
  test::World world;
};

TinyVocabulary Thinking() {
  TinyVocabulary vocabulary;
  vocabulary.chat_template =
      "{%- if tools %}{{- '<|im_start|>system\\n' }}{{- '<tool_call>' }}{%- endif %}{% for message in messages %}{{- '<|im_start|>' + "
      "message.role + '\\n' + content + '<|im_end|>\\n<tool_response></think>' }}{% endfor %}{% if add_generation_prompt %}{{ "
      "'<|im_start|>assistant\\n' }}{% endif %}";
  return vocabulary;
}

}  // namespace

TEST_CASE("A token that a server counted and nobody saw stands in no prompt that goes on behind a bounded thought, and is billed") {
  Served served(Thinking(), inference::UpstreamKind::kLlamaServer, [](ScriptedUpstream::Exchange& e) {
    const bool first = json::parse(e.request().body).at("max_tokens").as_int64() == 5;
    e.Begin();
    e.Write(first ? Event("<think>") + Event("abc") + Event("", {}, "length") + Usage(5) : Event("four", {}, "stop") + Usage(5));
    e.End();
  });
  v1::ChatRequest request = served.world.Ask("2 + 2?", "fleet");
  request.set_max_reasoning_tokens(5);
  request.set_max_tokens(50);
  const auto outcome = served.world.Chat(request);
  const pipeline::Reply& reply = ReplyOf(outcome);
  CHECK(reply.thought == "abc");
  CHECK(reply.text == "four");
  CHECK(reply.end.usage().output() == 10);
  REQUIRE(served.server.requests().size() == 2);
  const std::vector<std::int64_t> asked = served.Prompt(0), behind = served.Prompt(1);
  REQUIRE(behind.size() > asked.size());
  const std::vector<std::int64_t> added(behind.begin() + static_cast<std::ptrdiff_t>(asked.size()) + 1, behind.end());  // Behind <think>.
  const auto letter = [](char c) { return std::int64_t{inference::test::TinyToken(c)}; };
  const std::int64_t line = inference::test::TinyByte('\n');
  CHECK(added == std::vector<std::int64_t>{letter('a'), letter('b'), letter('c'), line, inference::test::kTinyThought, line, line});
  served.world.CheckBooks();
}

TEST_CASE("A call of a model whose calls begin with a control token is read from servers that show it, and refused of others by name") {
  using Kind = inference::UpstreamKind;
  const std::string list = R"( [{"name": "find", "arguments": {"q": "x"}}])";
  for (const Kind kind : {Kind::kVllm, Kind::kLlamaServer, Kind::kSglang, Kind::kTensorRtLlm}) {
    CAPTURE(static_cast<int>(kind));
    Served served(inference::test::TinyMistral(), kind, [&](ScriptedUpstream::Exchange& e) {
      json::array ids;
      for (const char c : list) ids.push_back(c == ' ' ? inference::test::kTinySpace : inference::test::TinyToken(c));
      e.Begin();
      if (kind == Kind::kVllm) {  // Which gives no text for it.
        e.Write(Event("", {inference::test::kTinyCalls}) + Event(list, ids) + Event("", {2}, "stop"));
      } else {
        e.Write(Event("[TOOL_CALLS]") + Event(list) + Event("", {}, "stop"));
      }
      e.Write(Usage(static_cast<std::int64_t>(list.size()) + 2));
      e.End();
    });
    v1::ChatRequest request = served.world.Ask("find x", "fleet");
    v1::Tool* tool = request.add_tools();
    tool->set_name("find");
    tool->set_parameters(R"({"type":"object"})");
    const auto outcome = served.world.Chat(request);
    if (kind == Kind::kSglang || kind == Kind::kTensorRtLlm) {
      CHECK(test::ReasonOf(outcome) != "answered");
      CHECK(served.server.requests().empty());
      request.mutable_tool_choice()->set_none(true);
      CHECK(test::ReasonOf(served.world.Chat(request)) == "answered");
      continue;
    }
    const pipeline::Reply& reply = ReplyOf(outcome);
    CHECK(reply.text.empty());
    REQUIRE(reply.calls.size() == 1);
    CHECK(reply.calls[0].name() == "find");
    CHECK(reply.end.finish_reason() == v1::FINISH_REASON_TOOL_CALLS);
    CHECK(reply.end.usage().output() == static_cast<std::int64_t>(list.size()) + 2);
    served.world.CheckBooks();
  }
}
