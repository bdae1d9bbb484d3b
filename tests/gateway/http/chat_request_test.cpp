#include "gateway/http/chat_request.h"

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <string>

#include <fmt/format.h>

#include "base/error_detail.h"

using tollgate::http_front::ParseChatCompletion;
namespace base = tollgate::base;
namespace v1 = tollgate::v1;

namespace {

// A valid request with `more` fields after the two required ones.
std::string With(const std::string& more) {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" + (more.empty() ? "" : "," + more) + "}";
}

std::string WithMessages(const std::string& messages) { return R"({"model":"m","messages":)" + messages + "}"; }

}  // namespace

TEST_CASE("Every supported field arrives in the ChatRequest") {
  const auto request = ParseChatCompletion(R"({
    "model":"smollm2","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false},
    "messages":[
      {"role":"system","content":"be kind"},
      {"role":"developer","content":[{"type":"text","text":"and"},{"type":"text","text":" brief"}]},
      {"role":"user","name":"ann","content":"hi"},
      {"role":"assistant","content":"ho","refusal":null,"tool_calls":null,"function_call":null,"audio":null,"annotations":[]}],
    "max_tokens":5,"max_completion_tokens":9,"temperature":0.5,"top_p":1,"top_k":40,"min_p":0.05,"repeat_penalty":1.1,
    "presence_penalty":-1,"frequency_penalty":0.25,"seed":-1,"stop":["a","b"],"n":1,"logprobs":false,"user":"u","safety_identifier":"s",
    "metadata":{"k":"v"},"store":false,"service_tier":"auto","prompt_cache_key":"x","response_format":{"type":"text"},"modalities":["text"],
    "tools":[],"logit_bias":{},"tool_choice":null,"reasoning_effort":null,"top_logprobs":null})");
  REQUIRE(request.ok());
  CHECK(request->stream);
  CHECK(request->include_usage);
  const v1::ChatRequest& chat = request->chat;
  CHECK(chat.model() == "smollm2");
  REQUIRE(chat.messages_size() == 4);
  CHECK(chat.messages(0).role() == v1::ROLE_SYSTEM);
  CHECK(chat.messages(1).role() == v1::ROLE_SYSTEM);
  REQUIRE(chat.messages(1).parts_size() == 2);
  CHECK(chat.messages(1).parts(1) == " brief");
  CHECK(chat.messages(2).name() == "ann");
  CHECK(chat.messages(3).role() == v1::ROLE_ASSISTANT);
  CHECK(chat.max_tokens() == 9);
  CHECK(chat.sampling().temperature() == 0.5);
  CHECK(chat.sampling().top_p() == 1.0);
  CHECK(chat.sampling().top_k() == 40);
  CHECK(chat.sampling().min_p() == 0.05);
  CHECK(chat.sampling().repeat_penalty() == 1.1);
  CHECK(chat.sampling().presence_penalty() == -1.0);
  CHECK(chat.sampling().frequency_penalty() == 0.25);
  CHECK(chat.sampling().seed() == ~0ull);
  REQUIRE(chat.stop_size() == 2);
  CHECK(chat.end_user() == "s");
}

TEST_CASE("Absent and null fields stay absent") {
  const auto request = ParseChatCompletion(With(R"("temperature":null,"stop":null,"stream":null,"max_tokens":null,"user":null)"));
  REQUIRE(request.ok());
  CHECK_FALSE(request->stream);
  CHECK_FALSE(request->chat.sampling().has_temperature());
  CHECK_FALSE(request->chat.has_sampling());
  CHECK(request->chat.max_tokens() == 0);
  CHECK(request->chat.stop_size() == 0);
  CHECK(request->chat.end_user().empty());
  const auto within =
      ParseChatCompletion(R"({"model":"m","stream":true,"stream_options":{"include_usage":null,"include_obfuscation":null},"messages":[)"
                          R"({"role":"user","content":"hi","name":null,"tool_calls":null,"tool_call_id":null}]})");
  REQUIRE(within.ok());
  CHECK_FALSE(within->include_usage);
  CHECK(within->chat.messages(0).tool_call_id().empty());
  CHECK_FALSE(ParseChatCompletion(R"({"model":"m","messages":[{"role":"tool","content":"hi","tool_call_id":null}]})").ok());
}

TEST_CASE("Bias, log-probabilities and JSON mode arrive, nothing of them by default") {
  const auto request = ParseChatCompletion(
      With(R"("logprobs":true,"top_logprobs":5,"logit_bias":{"0":1.5,"50256":-100},"response_format":{"type":"json_object"})"));
  REQUIRE(request.ok());
  CHECK(request->chat.logprobs());
  CHECK(request->chat.top_logprobs() == 5);
  REQUIRE(request->chat.logit_bias_size() == 2);
  CHECK(request->chat.logit_bias(0).token() == 0);
  CHECK(request->chat.logit_bias(0).bias() == 1.5F);
  CHECK(request->chat.logit_bias(1).token() == 50256);
  CHECK(request->chat.output_form().json_object());
  const auto schema = ParseChatCompletion(With(
      R"("response_format":{"type":"json_schema","json_schema":{"name":"n","description":null,"strict":true,"schema":{"type":"object","b":1,"a":2}}})"));
  REQUIRE(schema.ok());
  CHECK(schema->chat.output_form().json_schema() == R"({"type":"object","b":1,"a":2})");
  CHECK(schema->chat.output_form().strict());
  for (const char* strict : {"", R"("strict":false,)", R"("strict":null,)"}) {
    const auto loose = ParseChatCompletion(
        With(fmt::format(R"("response_format":{{"type":"json_schema","json_schema":{{{}"name":"n","schema":{{}}}}}})", strict)));
    REQUIRE(loose.ok());
    CHECK_FALSE(loose->chat.output_form().strict());
  }
  const auto plain = ParseChatCompletion(With(R"("response_format":{"type":"text"},"logit_bias":{},"logprobs":false)"));
  REQUIRE(plain.ok());
  CHECK_FALSE(plain->chat.logprobs());
  CHECK(plain->chat.logit_bias().empty());
  CHECK_FALSE(plain->chat.has_output_form());
  CHECK(plain->chat.replay() == v1::REPLAY_UNSPECIFIED);
  const auto strict = ParseChatCompletion(With(R"("replay":"strict")"));
  REQUIRE(strict.ok());
  CHECK(strict->chat.replay() == v1::REPLAY_STRICT);
  CHECK_FALSE(ParseChatCompletion(With(R"("replay":"loose")")).ok());
  const auto demanded = ParseChatCompletion(With(R"("justification":"Pr\u00fcfung","accept_terms":"ai@3")"));
  REQUIRE(demanded.ok());
  CHECK(demanded->chat.justification() == "Prüfung");
  CHECK(demanded->chat.accept_terms() == "ai@3");
}

TEST_CASE("The larger of max_tokens and max_completion_tokens counts, in whatever order they come") {
  CHECK(ParseChatCompletion(With(R"("max_completion_tokens":10000,"max_tokens":1)"))->chat.max_tokens() == 10000);
  CHECK(ParseChatCompletion(With(R"("max_tokens":7,"max_completion_tokens":3)"))->chat.max_tokens() == 7);
}

TEST_CASE("A stop string may come alone") {
  const auto request = ParseChatCompletion(With(R"("stop":"END")"));
  REQUIRE(request.ok());
  REQUIRE(request->chat.stop_size() == 1);
  CHECK(request->chat.stop(0) == "END");
}

TEST_CASE("Tools, calls and their results arrive") {
  const auto request = ParseChatCompletion(R"({"model":"m","n":3,"max_reasoning_tokens":7,"parallel_tool_calls":false,
    "tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":{"type":"object"}}},
      {"type":"function","function":{"name":"g","strict":false}},{"type":"function","function":{"name":"h"}}],
    "tool_choice":{"type":"function","function":{"name":"f"}},
    "messages":[{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[
      {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
      {"role":"tool","tool_call_id":"call_1","content":"done"}]})");
  INFO(base::Message(request.status()));
  REQUIRE(request.ok());
  const v1::ChatRequest& chat = request->chat;
  CHECK(chat.choices() == 3);
  CHECK(chat.max_reasoning_tokens() == 7);
  CHECK_FALSE(chat.parallel_tool_calls());
  CHECK(chat.tools(0).name() == "f");
  CHECK(chat.tools(0).description() == "d");
  CHECK(chat.tools(0).parameters() == R"({"type":"object"})");
  CHECK(chat.tools(0).strict());
  CHECK_FALSE(chat.tools(1).strict());
  CHECK_FALSE(chat.tools(2).strict());
  CHECK(chat.tool_choice().function() == "f");
  CHECK(chat.messages(0).tool_calls(0).id() == "call_1");
  CHECK(chat.messages(0).tool_calls(0).arguments() == R"({"a":1})");
  CHECK(chat.messages(0).parts_size() == 0);
  CHECK(chat.messages(1).role() == v1::ROLE_TOOL);
  CHECK(chat.messages(1).tool_call_id() == "call_1");
  CHECK(ParseChatCompletion(With(R"("tool_choice":"none")"))->chat.tool_choice().none());
  CHECK(ParseChatCompletion(With(R"("tool_choice":"required")"))->chat.tool_choice().required());
  CHECK_FALSE(ParseChatCompletion(With(R"("tool_choice":"auto")"))->chat.has_tool_choice());
  CHECK(ParseChatCompletion(With(R"("grammar":"root ::= \"a\"")"))->chat.output_form().grammar() == "root ::= \"a\"");
}

TEST_CASE("Numbers of tools' parameters and of a schema are those that were sent, digit by digit, and nothing else of them is") {
  const std::string spelt =
      R"({"default":0.7,"maximum":99.5,"enum":[1.50,1e3,-2.5E-07,0.30000000000000004],"const":12345678901234567890123,"é":[1,[],{}]})";
  const std::string sent = R"({ "default" : 0.7, "maximum":99.5,"enum":[1.50, 1e3,-2.5E-07,0.30000000000000004],
    "const":12345678901234567890123,"\u00e9":[1,[ ],{ }]})";
  const auto request =
      ParseChatCompletion(With(R"("temperature":0.25,"tools":[{"type":"function","function":{"name":"f","parameters":)" + sent +
                               R"(}}],"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":)" + sent + "}}"));
  INFO(base::Message(request.status()));
  REQUIRE(request.ok());
  CHECK(request->chat.sampling().temperature() == 0.25);
  CHECK(request->chat.tools(0).parameters() == spelt);
  CHECK(request->chat.output_form().json_schema() == spelt);
}

TEST_CASE("What the SDKs made of a reply comes back with it, and changes nothing") {
  const std::string plain = R"([{"role":"assistant","content":"{\"a\":1}","tool_calls":[
      {"id":"c","type":"function","function":{"name":"f","arguments":"{\"q\":\"a\"}"}}]},{"role":"tool","tool_call_id":"c","content":"x"}])";
  const std::string parsed = GENERATE("null", R"({"a":1})", "[1]", R"("x")");
  const std::string echoed = R"([{"role":"assistant","content":"{\"a\":1}","refusal":null,"annotations":[],"parsed":)" + parsed +
                             R"(,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"q\":\"a\"}",)"
                             R"("parsed_arguments":)" +
                             parsed + R"(}}]},{"role":"tool","tool_call_id":"c","content":"x"}])";
  const auto as_it_was = ParseChatCompletion(WithMessages(plain));
  const auto back = ParseChatCompletion(WithMessages(echoed));
  REQUIRE(as_it_was.ok());
  INFO(base::Message(back.status()));
  REQUIRE(back.ok());
  CHECK(back->chat.SerializeAsString() == as_it_was->chat.SerializeAsString());
}

TEST_CASE("Hints about caches are taken wherever clients put them, and change nothing") {
  const auto body = [](const std::string& hint) {
    const std::string more = hint.empty() ? "" : "," + hint;
    return R"({"model":"m","tools":[{"type":"function","function":{"name":"f")" + more + "}" + more +
           R"(}],"messages":[{"role":"user","content":[{"type":"text","text":"hi")" + more + "}]" + more + "}]}";
  };
  const auto plain = ParseChatCompletion(body(""));
  const std::string key = GENERATE("cache_control", "copilot_cache_control");
  const auto hinted = ParseChatCompletion(body(fmt::format(R"("{}":{{"type":"ephemeral"}})", key)));
  REQUIRE(plain.ok());
  INFO(base::Message(hinted.status()));
  REQUIRE(hinted.ok());
  CHECK(hinted->chat.SerializeAsString() == plain->chat.SerializeAsString());
}

TEST_CASE("Other servers' spellings mean what Tollgate's own do") {
  const auto chat = [](const std::string& fields) {
    const auto read = ParseChatCompletion(With(fields));
    REQUIRE(read.ok());
    return read->chat.SerializeAsString();
  };
  CHECK(chat(R"("repetition_penalty":1.05)") == chat(R"("repeat_penalty":1.05)"));
  CHECK(chat(R"("repetition_penalty":1.05,"repeat_penalty":1.05)") == chat(R"("repeat_penalty":1.05)"));
  CHECK(chat(R"("top_k":-1)") == chat(R"("top_k":0)"));
  const auto arguments = [](const std::string& its) {
    const auto read = ParseChatCompletion(
        WithMessages(R"([{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":)" + its +
                     "}}]}," + R"({"role":"tool","tool_call_id":"c","content":"x"}])"));
    REQUIRE(read.ok());
    return read->chat.messages(0).tool_calls(0).arguments();
  };
  CHECK(arguments("{}") == "{}");
  CHECK(arguments(R"({"q":"a","n":[12345678901234567890,-1]})") == R"({"q":"a","n":[12345678901234567890,-1]})");
}

TEST_CASE("What cannot be honoured is refused by name") {
  struct Row {
    std::string body;
    std::string reason;
    std::string param;
  };
  const Row rows[] = {
      {"[]", "INVALID_TYPE", ""},
      {"{", "INVALID_JSON", ""},
      {R"({"messages":[{"role":"user","content":"hi"}]})", "MISSING_REQUIRED_PARAMETER", "model"},
      {R"({"model":null,"messages":[{"role":"user","content":"hi"}]})", "MISSING_REQUIRED_PARAMETER", "model"},
      {R"({"model":"m"})", "MISSING_REQUIRED_PARAMETER", "messages"},
      {R"({"model":5,"messages":[]})", "INVALID_TYPE", "model"},
      {WithMessages("[]"), "INVALID_VALUE", "messages"},
      {WithMessages("{}"), "INVALID_TYPE", "messages"},
      {WithMessages("[1]"), "INVALID_TYPE", "messages[0]"},
      {WithMessages(R"([{"content":"x"}])"), "MISSING_REQUIRED_PARAMETER", "messages[0].role"},
      {WithMessages(R"([{"role":"user"}])"), "MISSING_REQUIRED_PARAMETER", "messages[0].content"},
      {WithMessages(R"([{"role":"assistant","content":null}])"), "MISSING_REQUIRED_PARAMETER", "messages[0].content"},
      {WithMessages(R"([{"role":"god","content":"x"}])"), "INVALID_VALUE", "messages[0].role"},
      {WithMessages(R"([{"role":"function","content":"x","name":"f"}])"), "UNSUPPORTED_VALUE", "messages[0].role"},
      {WithMessages(R"([{"role":"tool","content":"x"}])"), "MISSING_REQUIRED_PARAMETER", "messages[0].tool_call_id"},
      {WithMessages(R"([{"role":"user","content":"x"},{"role":"user","content":7}])"), "INVALID_TYPE", "messages[1].content"},
      {WithMessages(R"([{"role":"user","content":[]}])"), "INVALID_VALUE", "messages[0].content"},
      {WithMessages(R"([{"role":"user","content":["x"]}])"), "INVALID_TYPE", "messages[0].content[0]"},
      {WithMessages(R"([{"role":"user","content":[{"text":"x"}]}])"), "MISSING_REQUIRED_PARAMETER", "messages[0].content[0].type"},
      {WithMessages(R"([{"role":"user","content":[{"type":"text"}]}])"), "MISSING_REQUIRED_PARAMETER", "messages[0].content[0].text"},
      {WithMessages(R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])"), "UNSUPPORTED_VALUE",
       "messages[0].content[0].type"},
      {WithMessages(R"([{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}])"), "UNSUPPORTED_VALUE",
       "messages[0].content[0].type"},
      {WithMessages(R"([{"role":"user","content":[{"type":"file","file":{}}]}])"), "UNSUPPORTED_VALUE", "messages[0].content[0].type"},
      {WithMessages(R"([{"role":"user","content":[{"type":"text","text":"x","video":{}}]}])"), "UNKNOWN_PARAMETER",
       "messages[0].content[0].video"},
      {WithMessages(R"([{"role":"user","content":"x","weight":1}])"), "UNKNOWN_PARAMETER", "messages[0].weight"},
      {WithMessages(R"([{"role":"assistant","tool_calls":{}}])"), "INVALID_TYPE", "messages[0].tool_calls"},
      {WithMessages(R"([{"role":"assistant","tool_calls":[{}]}])"), "MISSING_REQUIRED_PARAMETER", "messages[0].tool_calls[0].type"},
      {WithMessages(R"([{"role":"assistant","tool_calls":[{"type":"custom","function":{}}]}])"), "UNSUPPORTED_VALUE",
       "messages[0].tool_calls[0].type"},
      {WithMessages(R"([{"role":"assistant","tool_calls":[{"type":"function","function":{"x":1}}]}])"), "UNKNOWN_PARAMETER",
       "messages[0].tool_calls[0].function.x"},
      {WithMessages(R"([{"role":"assistant","tool_calls":[{"type":"function","function":{"arguments":[]}}]}])"), "INVALID_TYPE",
       "messages[0].tool_calls[0].function.arguments"},
      {WithMessages(R"([{"role":"assistant","content":"x","function_call":{}}])"), "UNSUPPORTED_PARAMETER", "messages[0].function_call"},
      {WithMessages(R"([{"role":"assistant","content":"x","reasoning_content":1}])"), "INVALID_TYPE", "messages[0].reasoning_content"},
      {WithMessages(R"([{"role":"assistant","content":"x","refusal":"no"}])"), "UNSUPPORTED_PARAMETER", "messages[0].refusal"},
      {With(R"("stream":"yes")"), "INVALID_TYPE", "stream"},
      {With(R"("stream_options":{"include_usage":true})"), "INVALID_VALUE", "stream_options"},
      {With(R"("stream":true,"stream_options":{"x":true})"), "UNKNOWN_PARAMETER", "stream_options.x"},
      {With(R"("max_tokens":0)"), "INVALID_VALUE", "max_tokens"},
      {With(R"("max_tokens":1.5)"), "INVALID_TYPE", "max_tokens"},
      {With(R"("max_completion_tokens":99999999999)"), "INVALID_VALUE", "max_completion_tokens"},
      {With(R"("max_completion_tokens":18446744073709551615)"), "INVALID_VALUE", "max_completion_tokens"},
      {With(R"("temperature":"hot")"), "INVALID_TYPE", "temperature"},
      {With(R"("top_k":-2)"), "INVALID_VALUE", "top_k"},
      {With(R"("repeat_penalty":1.1,"repetition_penalty":1.2)"), "INVALID_VALUE", "repetition_penalty"},
      {WithMessages(R"([{"role":"user","content":"hi","cache_control":1}])"), "INVALID_TYPE", "messages[0].cache_control"},
      {WithMessages(R"([{"role":"user","content":[{"type":"text","text":"hi","cache_control":"x"}]}])"), "INVALID_TYPE",
       "messages[0].content[0].cache_control"},
      {WithMessages(R"([{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":1}}]}])"),
       "INVALID_TYPE", "messages[0].tool_calls[0].function.arguments"},
      {WithMessages(
           R"([{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":{"a":[{"b":1.5}]}}}]}])"),
       "INVALID_TYPE", "messages[0].tool_calls[0].function.arguments"},
      {WithMessages(R"([{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":)"
                    R"({"id":12345678901234567890123}}}]}])"),
       "INVALID_TYPE", "messages[0].tool_calls[0].function.arguments"},
      {With(R"("seed":1.5)"), "INVALID_TYPE", "seed"},
      {With(R"("stop":[1])"), "INVALID_TYPE", "stop[0]"},
      {With(R"("stop":{})"), "INVALID_TYPE", "stop"},
      {With(R"("n":129)"), "INVALID_VALUE", "n"},
      {With(R"("n":0)"), "INVALID_VALUE", "n"},
      {With(R"("logprobs":1)"), "INVALID_TYPE", "logprobs"},
      {With(R"("top_logprobs":21)"), "INVALID_VALUE", "top_logprobs"},
      {With(R"("top_logprobs":true)"), "INVALID_TYPE", "top_logprobs"},
      {With(R"("logit_bias":[])"), "INVALID_TYPE", "logit_bias"},
      {With(R"("logit_bias":{"hello":1})"), "INVALID_VALUE", "logit_bias"},
      {With(R"("logit_bias":{"-1":1})"), "INVALID_VALUE", "logit_bias"},
      {With(R"("logit_bias":{"007":1})"), "INVALID_VALUE", "logit_bias"},
      {With(R"("logit_bias":{"99999999999":1})"), "INVALID_VALUE", "logit_bias"},
      {With(R"("logit_bias":{"5":"much"})"), "INVALID_TYPE", "logit_bias"},
      {With(R"("tools":{})"), "INVALID_TYPE", "tools"},
      {With(R"("tools":[{"type":"function"}])"), "MISSING_REQUIRED_PARAMETER", "tools[0].function"},
      {With(R"("tools":[{"type":"custom","function":{"name":"f"}}])"), "UNSUPPORTED_VALUE", "tools[0].type"},
      {With(R"("tools":[{"type":"function","function":{}}])"), "MISSING_REQUIRED_PARAMETER", "tools[0].function.name"},
      {With(R"("tools":[{"type":"function","function":{"name":"f","parameters":"{}"}}])"), "INVALID_TYPE", "tools[0].function.parameters"},
      {With(R"("tools":[{"type":"function","function":{"name":"f","x":1}}])"), "UNKNOWN_PARAMETER", "tools[0].function.x"},
      {With(R"("tools":[{"type":"function","function":{"name":"f"},"x":1}])"), "UNKNOWN_PARAMETER", "tools[0].x"},
      {With(R"("tool_choice":"always")"), "INVALID_VALUE", "tool_choice"},
      {With(R"("tool_choice":{"type":"function"})"), "MISSING_REQUIRED_PARAMETER", "tool_choice.function"},
      {With(R"("max_reasoning_tokens":0)"), "INVALID_VALUE", "max_reasoning_tokens"},
      {With(R"("grammar":"root ::= \"a\"","response_format":{"type":"json_object"})"), "INVALID_VALUE", "grammar"},
      {With(R"("functions":[{}])"), "UNSUPPORTED_PARAMETER", "functions"},
      {With(R"("function_call":"auto")"), "UNSUPPORTED_PARAMETER", "function_call"},
      {With(R"("parallel_tool_calls":1)"), "INVALID_TYPE", "parallel_tool_calls"},
      {With(R"("response_format":{"type":"json_object","x":1})"), "UNKNOWN_PARAMETER", "response_format.x"},
      {With(R"("response_format":{"type":"json_schema"})"), "MISSING_REQUIRED_PARAMETER", "response_format.json_schema"},
      {With(R"("response_format":{"type":"json_schema","json_schema":{}})"), "MISSING_REQUIRED_PARAMETER",
       "response_format.json_schema.name"},
      {With(R"("response_format":{"type":"json_schema","json_schema":{"name":"n"}})"), "MISSING_REQUIRED_PARAMETER",
       "response_format.json_schema.schema"},
      {With(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":[]}})"), "INVALID_TYPE",
       "response_format.json_schema.schema"},
      {With(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{},"x":1}})"), "UNKNOWN_PARAMETER",
       "response_format.json_schema.x"},
      {With(R"("response_format":{"type":"grammar"})"), "UNSUPPORTED_VALUE", "response_format.type"},
      {With(R"("response_format":{"type":"text","x":1})"), "UNKNOWN_PARAMETER", "response_format.x"},
      {With(R"("modalities":["text","audio"])"), "UNSUPPORTED_VALUE", "modalities"},
      {With(R"("audio":{"voice":"x"})"), "UNSUPPORTED_PARAMETER", "audio"},
      {With(R"("prediction":{})"), "UNSUPPORTED_PARAMETER", "prediction"},
      {With(R"("web_search_options":{})"), "UNSUPPORTED_PARAMETER", "web_search_options"},
      {With(R"("reasoning_effort":"low")"), "UNSUPPORTED_PARAMETER", "reasoning_effort"},
      {With(R"("verbosity":"low")"), "UNSUPPORTED_PARAMETER", "verbosity"},
      {With(R"("moderation":{})"), "UNSUPPORTED_PARAMETER", "moderation"},
      {With(R"("store":true)"), "UNSUPPORTED_VALUE", "store"},
      {With(R"("service_tier":"priority")"), "UNSUPPORTED_VALUE", "service_tier"},
      {With(R"("metadata":{"a":1})"), "INVALID_TYPE", "metadata"},
      {With(R"("metadata":[])"), "INVALID_TYPE", "metadata"},
      {With(R"("user":1)"), "INVALID_TYPE", "user"},
      {With(R"("cache_salt":"x")"), "UNKNOWN_PARAMETER", "cache_salt"},
      {With(R"("priority":1)"), "UNKNOWN_PARAMETER", "priority"},
      {With(R"("lora":null)"), "UNKNOWN_PARAMETER", "lora"},
      {With(R"("Model":"m")"), "UNKNOWN_PARAMETER", "Model"},
      {With(R"("temperature":1,"temperature":2)"), "INVALID_JSON", ""},
  };
  for (const Row& row : rows) {
    INFO(row.body);
    const auto request = ParseChatCompletion(row.body);
    REQUIRE_FALSE(request.ok());
    INFO(base::Message(request.status()));
    CHECK(request.status().code() == absl::StatusCode::kInvalidArgument);
    const auto detail = base::DetailOf(request.status());
    REQUIRE(detail.has_value());
    CHECK(detail->reason == row.reason);
    CHECK(detail->param == row.param);
    CHECK_FALSE(detail->may_retry);
    if (!row.param.empty()) CHECK(base::Message(request.status()).find(row.param.substr(0, row.param.find('['))) != std::string::npos);
  }
}

TEST_CASE("An unknown field's name is cut before it is repeated") {
  const auto request = ParseChatCompletion(With("\"" + std::string(5000, 'x') + "\":1"));
  REQUIRE_FALSE(request.ok());
  CHECK(base::Message(request.status()).size() < 200);
}
