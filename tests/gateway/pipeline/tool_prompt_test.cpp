// Tools on their way in: refused by name, laid before policy, given to the model as policy left them.
#include "gateway/pipeline/tool_prompt.h"

#include <catch2/catch_test_macros.hpp>

#include <functional>

#include "base/error_detail.h"
#include "policy/policy_set.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using inference::ToolStyle;

namespace {

v1::ChatRequest Sound() {
  v1::ChatRequest request;
  request.set_model("m");
  v1::ChatMessage* user = request.add_messages();
  user->set_role(v1::ROLE_USER);
  user->add_parts("hello");
  v1::ChatMessage* assistant = request.add_messages();
  assistant->set_role(v1::ROLE_ASSISTANT);
  v1::ToolCall* call = assistant->add_tool_calls();
  call->set_id("call_1");
  call->set_name("find");
  call->set_arguments(R"({"q":"a\u0062"})");
  v1::ChatMessage* result = request.add_messages();
  result->set_role(v1::ROLE_TOOL);
  result->set_tool_call_id("call_1");
  result->add_parts("found");
  v1::Tool* tool = request.add_tools();
  tool->set_name("find");
  tool->set_description("Finds it.");
  tool->set_parameters(R"({"type":"object","properties":{"q":{"type":"string"}}})");
  return request;
}

inference::ModelInfo Model(ToolStyle tools, bool grammars = true, bool thinks = false) {
  inference::ModelInfo model;
  model.name = "m";
  model.chat_template = "gemma";
  model.tools = tools;
  model.grammars = grammars;
  model.thinks = thinks;
  return model;
}

std::string ParamOf(const absl::Status& status) {
  const auto detail = base::DetailOf(status);
  return status.ok() ? "" : detail ? detail->param : "?";
}

// A prompt as a policy of one rule leaves it.
std::vector<policy::Message> Judged(const std::string& detect, const std::string& action, const std::vector<policy::Message>& prompt) {
  const policy::PolicySource source{"t.yaml", "version: 1\nname: t\nrules:\n  - {id: r, detect: " + detect + ", do: " + action + "}\n"};
  const auto policies = policy::PolicySet::Compile({&source, 1});
  REQUIRE(policies.ok());
  const auto inspection = (*policies)->Inspect({}, prompt);
  REQUIRE(inspection.ok());
  return inspection->prompt;
}

// The grammar of forced calls, of tools that policy let be.
std::string Calls(const v1::ChatRequest& request, const inference::ModelInfo& model) {
  const auto calls = pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), model);
  REQUIRE(calls.ok());
  return calls->gbnf;
}

}  // namespace

TEST_CASE("What is wrong with tools is refused by name") {
  CHECK(pipeline::ValidateTools(Sound()).ok());
  const std::pair<std::function<void(v1::ChatRequest&)>, const char*> rows[] = {
      {[](auto& r) { r.mutable_tools(0)->set_name("a b"); }, "tools[0].function.name"},
      {[](auto& r) { *r.add_tools() = r.tools(0); }, "tools[1].function.name"},
      {[](auto& r) { r.mutable_tools(0)->set_description("\xFF"); }, "tools[0].function.description"},
      {[](auto& r) { r.mutable_tools(0)->set_parameters("[]"); }, "tools[0].function.parameters"},
      {[](auto& r) { r.mutable_tools(0)->set_parameters("{"); }, "tools[0].function.parameters"},
      {[](auto& r) { r.mutable_tools(0)->set_parameters("{\"a\":\"" + std::string(40'000, 'x') + "\"}"); }, "tools[0].function.parameters"},
      {[](auto& r) { r.mutable_messages(1)->mutable_tool_calls(0)->set_name(""); }, "messages[1].tool_calls[0].function.name"},
      {[](auto& r) { r.mutable_messages(1)->mutable_tool_calls(0)->set_id("a\n"); }, "messages[1].tool_calls[0].id"},
      {[](auto& r) { *r.mutable_messages(1)->add_tool_calls() = r.messages(1).tool_calls(0); }, "messages[1].tool_calls[1].id"},
      {[](auto& r) { r.mutable_messages(1)->set_role(v1::ROLE_USER); }, "messages[1].tool_calls"},
      {[](auto& r) { r.mutable_messages(0)->set_tool_call_id("x"); }, "messages[0].tool_call_id"},
      {[](auto& r) { r.mutable_tool_choice()->set_function("other"); }, "tool_choice"},
      {[](auto& r) { r.clear_tools(), r.mutable_tool_choice()->set_required(true); }, "tool_choice"},
      {[](auto& r) { r.clear_tools(), r.set_parallel_tool_calls(false); }, "parallel_tool_calls"},
      {[](auto& r) { r.mutable_output_form()->set_grammar("root ::= [a]"); }, "grammar"},
  };
  for (const auto& [spoil, param] : rows) {
    v1::ChatRequest request = Sound();
    spoil(request);
    CHECK(ParamOf(pipeline::ValidateTools(request)) == param);
  }
  v1::ChatRequest none = Sound();
  none.mutable_tool_choice()->set_none(true);
  none.mutable_output_form()->set_grammar("root ::= [a]");
  CHECK(pipeline::ValidateTools(none).ok());
}

TEST_CASE("Tools are refused where no call could be read, and past calls are not") {
  inference::ModelInfo model = Model(ToolStyle::kMistral);
  model.hides_calls = true;
  v1::ChatRequest request = Sound();
  CHECK(ParamOf(pipeline::ValidateToolsFor(request, model)) == "tools");
  request.mutable_tool_choice()->set_none(true);
  CHECK(pipeline::ValidateToolsFor(request, model).ok());
  request.clear_tool_choice();
  request.clear_tools();
  CHECK(pipeline::ValidateToolsFor(request, model).ok());
}

TEST_CASE("The output's schema is judged decoded, as the system's, and the output is held to what policy leaves of it") {
  v1::ChatRequest request = Sound();
  request.mutable_output_form()->set_json_schema(R"({"properties":{"to":{"const":"\u0061nn@acme.example"}}})");
  const std::vector<policy::Message> prompt = pipeline::PolicyPrompt(request);
  CHECK(prompt.back().role == policy::Role::kSystem);
  CHECK(prompt.back().aside);
  CHECK(prompt.back().channel == policy::Channel{});
  const auto form_of = [&](const char* detect, const char* action) { return pipeline::FormUsed(request, Judged(detect, action, prompt)); };
  CHECK(form_of("{personal_data: email}", "redact")->json_schema() == R"({"properties":{"to":{"const":"[EMAIL]"}}})");
  CHECK(form_of("{keywords: nothing}", "redact")->json_schema() == request.output_form().json_schema());
  // The messages, calls and tools stand where they stood.
  CHECK(pipeline::TurnsOf(request, prompt).size() == static_cast<std::size_t>(request.messages_size()));
  CHECK(pipeline::TurnsOf(request, prompt).front().tools.front().name == "find");

  request.mutable_output_form()->set_json_schema(R"({"type":"object","properties":{"a":{"type":"string"}}})");
  request.mutable_output_form()->set_strict(true);
  const auto spoilt = pipeline::FormUsed(request, Judged("{keywords: string}", "redact", pipeline::PolicyPrompt(request)));
  CHECK(ParamOf(spoilt.status()) == "response_format");
  CHECK(base::DetailOf(spoilt.status())->reason == "POLICY_NOT_APPLICABLE");
}

TEST_CASE("Beside a form the output is calls or the form, where the model can be held to either") {
  v1::ChatRequest request = Sound();
  request.mutable_output_form()->set_json_schema(R"({"type":"object","properties":{"a":{"type":"string","pattern":"x"}}})");
  CHECK(pipeline::ValidateTools(request).ok());
  CHECK(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes)).ok());
  CHECK(ParamOf(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes, false))) == "response_format");
  CHECK(ParamOf(pipeline::ValidateToolsFor(request, Model(ToolStyle::kDeepSeek))) == "response_format");
  const auto held = pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), Model(ToolStyle::kHermes));
  REQUIRE(held.ok());
  CHECK_FALSE(held->whole);
  CHECK(held->gbnf.find("<tool_call>") != std::string::npos);
  CHECK(held->gbnf.find("| form-root") != std::string::npos);
  const inference::OutputSyntax syntax = pipeline::SyntaxOf(request, Model(ToolStyle::kHermes, true, true));
  CHECK(syntax.tools == ToolStyle::kHermes);
  CHECK_FALSE(syntax.thinks);

  request.mutable_output_form()->set_strict(true);
  CHECK_FALSE(pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), Model(ToolStyle::kHermes)).ok());
  request.mutable_output_form()->set_json_object(true);
  CHECK(pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), Model(ToolStyle::kHermes))->whole);

  // Who must call gives no form.
  request.mutable_tool_choice()->set_required(true);
  CHECK(pipeline::ValidateToolsFor(request, Model(ToolStyle::kDeepSeek)).ok());
  CHECK(pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), Model(ToolStyle::kHermes))
            ->gbnf.find("form") == std::string::npos);
  CHECK(pipeline::SyntaxOf(request, Model(ToolStyle::kHermes, true, true)).thinks);
  request.mutable_tool_choice()->set_none(true);
  CHECK(pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), Model(ToolStyle::kHermes))->gbnf.empty());
  CHECK(pipeline::SyntaxOf(request, Model(ToolStyle::kHermes, true, true)).plain());
}

TEST_CASE("What the model has no place for, or cannot be held to, is refused by name") {
  v1::ChatRequest request = Sound();
  CHECK(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes, false)).ok());
  CHECK(ParamOf(pipeline::ValidateToolsFor(request, Model(ToolStyle::kNone))) == "tools");
  request.mutable_tool_choice()->set_required(true);
  CHECK(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes)).ok());
  CHECK(ParamOf(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes, false))) == "tool_choice");
  request.mutable_tools(0)->set_parameters(R"({"type":"object","properties":{"q":{"type":"string","pattern":"a"}}})");
  CHECK(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes)).ok());
  CHECK_FALSE(pipeline::OutputGrammar(request, pipeline::PolicyPrompt(request), request.output_form(), Model(ToolStyle::kHermes))->whole);
  CHECK(pipeline::GrammarAsked(request, Model(ToolStyle::kHermes)).ok());
  request.mutable_tools(0)->set_strict(true);
  CHECK(ParamOf(pipeline::GrammarAsked(request, Model(ToolStyle::kHermes)).status()) == "tools");
  request.clear_tool_choice();
  CHECK(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes)).ok());
  request.set_max_reasoning_tokens(5);
  CHECK(ParamOf(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes))) == "max_reasoning_tokens");
  CHECK(pipeline::ValidateToolsFor(request, Model(ToolStyle::kHermes, true, true)).ok());
}

TEST_CASE("Policy judges calls and tools with escapes decoded, and the model gets what it left") {
  v1::ChatRequest request = Sound();
  request.mutable_tools(0)->set_strict(true);
  std::vector<policy::Message> prompt = pipeline::PolicyPrompt(request);
  REQUIRE(prompt.size() == 5);
  CHECK(prompt[2].role == policy::Role::kTool);
  CHECK(prompt[3].name == "find");
  CHECK(prompt[3].role == policy::Role::kAssistant);
  CHECK(prompt[3].parts == std::vector<std::string>{"{\"", "q", "\":\"", "ab", "\"}"});
  CHECK(prompt[4].role == policy::Role::kSystem);
  CHECK(prompt[4].parts[0] == "Finds it.");
  CHECK(prompt[2].channel == policy::Channel{policy::Part::kToolResult, "find"});  // Known by the call that it answers.
  CHECK(prompt[3].channel == policy::Channel{policy::Part::kToolCall, "find"});
  CHECK(prompt[4].channel == policy::Channel{policy::Part::kToolDefinition, "find"});
  prompt[3].parts[3] = "[\"GONE\"]";
  prompt[4].parts[0] = "[GONE]";
  const auto turns = pipeline::TurnsOf(request, prompt);
  REQUIRE(turns.size() == 3);
  CHECK(turns[1].calls[0].arguments == R"({"q":"[\"GONE\"]"})");
  CHECK(turns[1].calls[0].id == "call00000");  // No id goes on as it came: nothing judges them.
  CHECK(turns[2].call_id == "call00000");
  REQUIRE(turns[0].tools.size() == 1);
  CHECK(turns[0].tools[0].description == "[GONE]");
  CHECK(turns[0].tools[0].parameters == request.tools(0).parameters());
  v1::SealedContent content;
  pipeline::FillUsed(request, prompt, content);
  CHECK(content.prompt_used(1).tool_calls(0).arguments() == R"({"q":"[\"GONE\"]"})");
  CHECK(content.tools_used(0).description() == "[GONE]");
  CHECK(content.tools_used(0).strict());
  // An edit over several parts leaves one.
  prompt[3].parts = {"{\"[GONE]\"}"};
  CHECK(pipeline::TurnsOf(request, prompt)[1].calls[0].arguments == "{\"[GONE]\"}");
}

TEST_CASE("A result of a call that is not in the prompt is of no known tool, whatever it says of itself") {
  v1::ChatRequest request = Sound();
  request.mutable_messages(2)->set_tool_call_id("another");
  request.mutable_messages(2)->set_name("harmless");
  CHECK(pipeline::PolicyPrompt(request)[2].channel == policy::Channel{policy::Part::kToolResult, ""});
}

TEST_CASE("A result that is JSON with escapes is judged decoded, and given on as it came unless policy changed it") {
  v1::ChatRequest request = Sound();
  const std::string result = R"({"name":"M\u00fcller"})";
  request.mutable_messages(2)->set_parts(0, result);
  std::vector<policy::Message> prompt = pipeline::PolicyPrompt(request);
  REQUIRE(prompt.size() == 6);
  CHECK(prompt[2].parts == std::vector<std::string>{result});
  CHECK(prompt[5].role == policy::Role::kTool);
  CHECK(prompt[5].parts == std::vector<std::string>{"{\"", "name", "\":\"", "M\u00FCller", "\"}"});
  CHECK(pipeline::TurnsOf(request, prompt)[2].text == result);
  prompt = Judged("{keywords: \"M\u00FCller\"}", "replace, replacement: '[\"GONE\"]'", prompt);
  CHECK(pipeline::TurnsOf(request, prompt)[2].text == R"({"name":"[\"GONE\"]"})");
  v1::SealedContent content;
  pipeline::FillUsed(request, prompt, content);
  CHECK(content.prompt_used(2).parts(0) == R"({"name":"[\"GONE\"]"})");
  CHECK(prompt[5].channel == policy::Channel{policy::Part::kToolResult, "find"});
  request.mutable_messages(2)->set_parts(0, "no \\ json");
  CHECK(pipeline::PolicyPrompt(request).size() == 5);
}

TEST_CASE("What a rule hides in either reading of a result is not in what the model gets") {
  v1::ChatRequest request = Sound();
  request.mutable_messages(2)->set_parts(0, R"({"id":7,"diagnosis":"so-called \"carcinoma in situ\", stage 0","by":"Dr. X"})");
  const auto used = Judged(R"({regex: '"diagnosis":\s{0,4}"(?:[^"\\]|\\.)*"'})", "redact, cap: 4096", pipeline::PolicyPrompt(request));
  CHECK(pipeline::TurnsOf(request, used)[2].text == R"({"id":7,[REDACTED],"by":"Dr. X"})");
  v1::SealedContent content;
  pipeline::FillUsed(request, used, content);
  CHECK(content.prompt_used(2).parts(0) == R"({"id":7,[REDACTED],"by":"Dr. X"})");
}

TEST_CASE("Who names a function gets one call, as who allows no others beside it") {
  v1::ChatRequest request = Sound();
  request.mutable_tool_choice()->set_required(true);
  CHECK_FALSE(pipeline::OneCall(request));
  const std::string several = Calls(request, Model(ToolStyle::kHermes));
  request.set_parallel_tool_calls(false);
  CHECK(pipeline::OneCall(request));
  const std::string one = Calls(request, Model(ToolStyle::kHermes));
  CHECK(one != several);
  request.clear_parallel_tool_calls();
  request.mutable_tool_choice()->set_function("find");
  CHECK(pipeline::OneCall(request));
  CHECK(Calls(request, Model(ToolStyle::kHermes)) == one);
}

TEST_CASE("A forced call is held to the tools as policy left them") {
  v1::ChatRequest request = Sound();
  request.mutable_tools(0)->set_parameters(R"({"type":"object","properties":{"client":{"enum":["Ada Lovelace","Grace Hopper"]}}})");
  request.mutable_tool_choice()->set_required(true);
  const inference::ModelInfo model = Model(ToolStyle::kHermes);
  const auto with = [&](const std::string& detect, const std::string& action) {
    return pipeline::OutputGrammar(request, Judged(detect, action, pipeline::PolicyPrompt(request)), request.output_form(), model);
  };
  const auto calls = with("{keywords: [Ada Lovelace]}", "replace, replacement: SOMEBODY");
  REQUIRE(calls.ok());
  CHECK(calls->gbnf.find("Grace Hopper") != std::string::npos);
  CHECK(calls->gbnf.find("Ada") == std::string::npos);
  CHECK(calls->gbnf.find("SOMEBODY") != std::string::npos);
  CHECK(calls->whole);
  const auto reason = [](const absl::Status& status) { return status.ok() ? "" : base::DetailOf(status)->reason; };
  // A name that is another one, a type that is none, a text where a schema was.
  CHECK(ParamOf(with("{keywords: find}", "redact").status()) == "tools[0].function.name");
  CHECK(reason(with("{keywords: find}", "redact").status()) == "POLICY_NOT_APPLICABLE");
  CHECK(reason(with("{keywords: object}", "redact").status()) == "POLICY_NOT_APPLICABLE");
  CHECK(reason(with("{regex: 'Ada.{1,9}Grace'}", "redact").status()).empty());
  CHECK(reason(with("{regex: 'Ada.{1,16}Grace'}", "redact").status()) == "POLICY_NOT_APPLICABLE");
  // Where the model decides, what it is shown is all.
  request.mutable_tool_choice()->clear_required();
  CHECK(with("{keywords: object}", "redact").value().gbnf.empty());
  CHECK(reason(with("{keywords: find}", "redact").status()) == "POLICY_NOT_APPLICABLE");
  request.mutable_tool_choice()->set_none(true);
  CHECK(with("{keywords: find}", "redact").value().gbnf.empty());
}

TEST_CASE("How an output is read depends on what was asked and on the model") {
  v1::ChatRequest request = Sound();
  auto syntax = pipeline::SyntaxOf(request, Model(ToolStyle::kDeepSeek));
  CHECK(syntax.tools == ToolStyle::kDeepSeek);
  CHECK(syntax.names == std::vector<std::string>{"find"});
  CHECK(Calls(request, Model(ToolStyle::kDeepSeek)).empty());
  request.mutable_tool_choice()->set_function("find");
  CHECK(pipeline::SyntaxOf(request, Model(ToolStyle::kDeepSeek)).tools == ToolStyle::kLlama);
  CHECK(Calls(request, Model(ToolStyle::kDeepSeek)).starts_with("root ::= call"));
  request.mutable_tool_choice()->set_none(true);
  CHECK(pipeline::SyntaxOf(request, Model(ToolStyle::kDeepSeek)).plain());
  CHECK(pipeline::TurnsOf(request, pipeline::PolicyPrompt(request))[0].tools.empty());
  CHECK(pipeline::SyntaxOf(request, Model(ToolStyle::kNone, true, true)).thinks);
  request.clear_tools();
  request.mutable_output_form()->set_json_object(true);
  CHECK(pipeline::SyntaxOf(request, Model(ToolStyle::kNone, true, true)).plain());
}
