#include "gateway/http/chat_reply.h"

#include <catch2/catch_test_macros.hpp>

#include "gateway/http/json_out.h"

using namespace tollgate::http_front;
namespace pipeline = tollgate::pipeline;
namespace v1 = tollgate::v1;

namespace {

pipeline::Reply SampleReply() {
  pipeline::Reply reply;
  reply.text = "Hello \"world\"\n\u00e9";
  reply.end.set_finish_reason(v1::FINISH_REASON_STOP);
  reply.end.mutable_usage()->set_input(12);
  reply.end.mutable_usage()->set_cached_input(4);
  reply.end.mutable_usage()->set_output(5);
  return reply;
}

const CompletionHead kHead{.id = "chatcmpl-1", .model = "smollm2", .created_s = 1790000000, .system_fingerprint = "fp_x"};

constexpr char kUsage[] =
    R"({"prompt_tokens":12,"completion_tokens":5,"total_tokens":17,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},)"
    R"("completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}})";

std::string Chunk(const std::string& choices, const std::string& tail) {
  return R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"smollm2",)"
         R"("system_fingerprint":"fp_x","choices":)" +
         choices + tail + "}\n\n";
}

}  // namespace

TEST_CASE("A completion is OpenAI's object to the byte") {
  CHECK(CompletionBody(kHead, SampleReply()) ==
        std::string(R"({"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"smollm2","choices":[{"index":0,)") +
            R"("message":{"role":"assistant","content":"Hello \"world\"\né","refusal":null,"annotations":[]},"logprobs":null,)"
            R"("finish_reason":"stop"}],"usage":)" +
            kUsage + R"(,"system_fingerprint":"fp_x"})");
}

TEST_CASE("Finish reasons have OpenAI's names") {
  pipeline::Reply reply = SampleReply();
  reply.end.set_finish_reason(v1::FINISH_REASON_LENGTH);
  CHECK(CompletionBody(kHead, reply).find(R"("finish_reason":"length")") != std::string::npos);
  reply.end.set_finish_reason(v1::FINISH_REASON_CONTENT_FILTER);
  CHECK(CompletionBody(kHead, reply).find(R"("finish_reason":"content_filter")") != std::string::npos);
}

TEST_CASE("Chunks are OpenAI's events to the byte") {
  const ChunkEvents plain(kHead, false);
  CHECK(plain.Role() ==
        Chunk(R"([{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}])", ""));
  CHECK(plain.Text("a\"b") == Chunk(R"([{"index":0,"delta":{"content":"a\"b"},"logprobs":null,"finish_reason":null}])", ""));
  pipeline::Reply full = SampleReply();
  full.end.set_finish_reason(v1::FINISH_REASON_LENGTH);
  CHECK(plain.Finish(full) == Chunk(R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}])", ""));
  CHECK(plain.Usage(SampleReply().end.usage()).empty());
}

TEST_CASE("With include_usage every chunk has a null usage and one more has the counts and no choices") {
  const ChunkEvents events(kHead, true);
  CHECK(events.Text("x") == Chunk(R"([{"index":0,"delta":{"content":"x"},"logprobs":null,"finish_reason":null}])", R"(,"usage":null)"));
  CHECK(events.Usage(SampleReply().end.usage()) == Chunk("[]", std::string(R"(,"usage":)") + kUsage));
}

TEST_CASE("Log-probabilities are OpenAI's object where they were asked for, also when all were withheld") {
  pipeline::Reply reply = SampleReply();
  v1::TokenLogprob token;
  token.set_token("\u00e9\"");
  token.set_logprob(-0.25);
  v1::TokenLogprob* top = token.add_top();
  top->set_token("\xC3");  // Half of a code point: the bytes are true, the text cannot be.
  top->set_logprob(-1e-6);
  token.add_top()->set_logprob(-9999);
  reply.logprobs = {token, v1::TokenLogprob()};
  const std::string json =
      R"({"content":[{"token":"é\"","logprob":-0.25,"bytes":[195,169,34],"top_logprobs":[{"token":")"
      "\xEF\xBF\xBD"
      R"(","logprob":-1e-06,"bytes":[195]},{"token":"","logprob":-9999,"bytes":[]}]},{"token":"","logprob":0,"bytes":[],"top_logprobs":[]}],"refusal":null})";
  CHECK(CompletionBody(kHead, reply, true).find(R"("logprobs":)" + json + R"(,"finish_reason":"stop")") != std::string::npos);
  CHECK(CompletionBody(kHead, SampleReply(), true).find(R"("logprobs":{"content":[],"refusal":null})") != std::string::npos);
  CHECK(CompletionBody(kHead, reply, false).find(R"("logprobs":null)") != std::string::npos);
  const ChunkEvents events(kHead, false, true);
  CHECK(events.Text("é\"", reply.logprobs) ==
        Chunk(R"([{"index":0,"delta":{"content":"é\""},"logprobs":)" + json + R"(,"finish_reason":null}])", ""));
  CHECK(events.Finish(reply).find(R"("logprobs":null)") != std::string::npos);
  CHECK(events.Role().find(R"("logprobs":null)") != std::string::npos);
}

TEST_CASE("Calls and thoughts are OpenAI's and DeepSeek's objects to the byte") {
  pipeline::Reply reply = SampleReply();
  reply.text.clear();
  reply.thought = "hm";
  v1::ToolCall call;
  call.set_id("call_1");
  call.set_name("f");
  call.set_arguments("{\"a\":1}");
  reply.calls = {call};
  call.set_index(1);
  reply.calls.push_back(call);
  reply.end.set_finish_reason(v1::FINISH_REASON_TOOL_CALLS);
  reply.end.mutable_usage()->set_reasoning(3);
  const std::string json = R"("id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}})";
  const std::string body = CompletionBody(kHead, reply);
  CHECK(body.find(R"("message":{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{)" + json + ",{" + json +
                  R"(],"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"tool_calls"}])") != std::string::npos);
  CHECK(body.find(R"("reasoning_tokens":3)") != std::string::npos);
  const ChunkEvents events(kHead, false);
  const std::string tail = R"(,"logprobs":null,"finish_reason":null}])";
  CHECK(
      events.Piece(FirstOf(reply))
          .starts_with(
              Chunk(R"([{"index":0,"delta":{"reasoning_content":"hm"})" + tail, "") +
              Chunk(
                  R"([{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]})" +
                      tail,
                  "") +
              Chunk(R"([{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]})" + tail, "") +
              Chunk(
                  R"([{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]})" +
                      tail,
                  "")));
}

TEST_CASE("Several choices stand beside each other, each with its end") {
  pipeline::Reply reply = SampleReply();
  reply.more.push_back({.text = "other", .choice = 1});
  reply.end.add_choices()->set_finish_reason(v1::FINISH_REASON_STOP);
  reply.end.add_choices()->set_finish_reason(v1::FINISH_REASON_LENGTH);
  CHECK(CompletionBody(kHead, reply)
            .find(R"("finish_reason":"stop"},{"index":1,"message":{"role":"assistant","content":"other","refusal":null,)"
                  R"("annotations":[]},"logprobs":null,"finish_reason":"length"}],"usage":)") != std::string::npos);
  const ChunkEvents events(kHead, false);
  CHECK(events.Piece(reply.more[0]) == Chunk(R"([{"index":1,"delta":{"content":"other"},"logprobs":null,"finish_reason":null}])", ""));
  CHECK(events.Finish(reply) == Chunk(R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}])", "") +
                                    Chunk(R"([{"index":1,"delta":{},"logprobs":null,"finish_reason":"length"}])", ""));
}

TEST_CASE("Which rules changed or ended a choice stands beside its end, and which changed the prompt beside all choices") {
  pipeline::Reply reply = SampleReply();
  reply.end.set_finish_reason(v1::FINISH_REASON_CONTENT_FILTER);
  reply.end.mutable_input_policy()->set_action("flag");  // Nothing changed: nothing to tell.
  reply.end.mutable_input_policy()->add_rule_ids("watch");
  v1::PolicyOutcome& outcome = *reply.end.mutable_output_policy();
  outcome.set_action("block");
  const auto add = [](v1::PolicyOutcome& to, const char* id, const char* action, const char* because) {
    v1::ActingRule& rule = *to.add_rules();
    rule.set_id(id);
    rule.set_action(action);
    rule.set_because(because);
  };
  add(outcome, "pii.card", "block", "No \"cards\".");
  add(outcome, "mail", "redact", "Hidden.");
  const std::string told =
      R"(,"tollgate":{"output_policy":{"action":"block","rules":[{"id":"pii.card","action":"block","because":"No \"cards\"."},)"
      R"({"id":"mail","action":"redact","because":"Hidden."}]}})";
  const std::string finish = R"("finish_reason":"content_filter")";
  const ChunkEvents events(kHead, true);
  CHECK(CompletionBody(kHead, reply).find(finish + told + R"(}],"usage":)") != std::string::npos);
  CHECK(CompletionBody(kHead, reply).ends_with(R"(,"system_fingerprint":"fp_x"})"));
  CHECK(events.Finish(reply) == Chunk(R"([{"index":0,"delta":{},"logprobs":null,)" + finish + told + "}]", R"(,"usage":null)"));

  v1::PolicyOutcome& input = *reply.end.mutable_input_policy();
  input.set_action("redact");
  add(input, "mail", "redact", "Hidden.");
  const std::string prompt =
      R"(,"tollgate":{"input_policy":{"action":"redact","rules":[{"id":"mail","action":"redact","because":"Hidden."}]}})";
  CHECK(CompletionBody(kHead, reply).ends_with(R"("fp_x")" + prompt + "}"));
  reply.more.push_back({.text = "other", .choice = 1});
  reply.end.add_choices()->set_finish_reason(v1::FINISH_REASON_STOP);
  reply.end.add_choices()->set_finish_reason(v1::FINISH_REASON_CONTENT_FILTER);
  *reply.end.mutable_choices(1)->mutable_output_policy() = outcome;  // The first came to its own end.
  const std::string body = CompletionBody(kHead, reply);
  CHECK(body.find(R"("finish_reason":"stop"},{"index":1)") != std::string::npos);
  CHECK(body.find(finish + told + "}]") != std::string::npos);
  CHECK(events.Finish(reply) ==
        Chunk(R"([{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}])", R"(,"usage":null)") +
            Chunk(R"([{"index":1,"delta":{},"logprobs":null,)" + finish + told + "}]", prompt + R"(,"usage":null)"));
}

TEST_CASE("Models are OpenAI's objects") {
  v1::ListModelsReply models;
  models.add_models()->set_name("a/b");
  models.mutable_models(0)->set_created(7);
  models.add_models()->set_name("c");
  CHECK(ModelBody(models.models(0)) == R"({"id":"a/b","object":"model","created":7,"owned_by":"tollgate"})");
  CHECK(ModelListBody(models) ==
        R"({"object":"list","data":[{"id":"a/b","object":"model","created":7,"owned_by":"tollgate"},{"id":"c","object":"model",)"
        R"("created":0,"owned_by":"tollgate"}]})");
  CHECK(ModelListBody({}) == R"({"object":"list","data":[]})");
}

TEST_CASE("JSON strings escape what must be escaped and repair what is not UTF-8") {
  struct Row {
    std::string text;
    std::string json;
  };
  const Row rows[] = {
      {"", R"("")"},
      {"plain", R"("plain")"},
      {std::string("\0\x01\x1f\x7f", 4), "\"\\u0000\\u0001\\u001f\x7f\""},
      {"\b\f\n\r\t\"\\/", R"("\b\f\n\r\t\"\\/")"},
      {"\u20ac\U0001F600", "\"\u20ac\U0001F600\""},
      {"a\xff\xe2\x82z", "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\""},
  };
  for (const Row& row : rows) {
    std::string out;
    AppendJsonString(out, row.text);
    CHECK(out == row.json);
  }
}
