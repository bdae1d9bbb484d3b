// Which tools can be forced, and why others are refused.
#include "inference/tool_grammar.h"

#include <catch2/catch_test_macros.hpp>

#include "inference/json_schema.h"

namespace tollgate::inference {
namespace {

const std::vector<ForcedTool> kTools = {
    {"find",
     R"({"type":"object","properties":{"q":{"$ref":"#/$defs/word"}},"required":["q"],"$defs":{"word":{"type":"string","maxLength":4}}})"},
    {"now", ""}};

std::string RootOf(ToolStyle style, bool several, bool in_thought = false) {
  const auto grammar = ToolGrammar(style, kTools, several, in_thought);
  if (!grammar.ok()) return base::Message(grammar.status());
  return grammar->gbnf.substr(0, grammar->gbnf.find('\n'));
}

}  // namespace

TEST_CASE("A call is forced in the words of its family") {
  CHECK(RootOf(ToolStyle::kHermes, false) == R"(root ::= "<tool_call>\n" call "\n</tool_call>")");
  CHECK(RootOf(ToolStyle::kHermes, true) ==
        R"(root ::= "<tool_call>\n" call "\n</tool_call>" ( "\n<tool_call>\n" call "\n</tool_call>" ){0,15})");
  CHECK(RootOf(ToolStyle::kLlama, false) == "root ::= call");
  CHECK(RootOf(ToolStyle::kMistral, true) == R"(root ::= "[TOOL_CALLS] [" call ( ", " call ){0,15} "]")");
  CHECK(RootOf(ToolStyle::kDeepSeek, false, true) == R"(root ::= [^<]* "</think>\n\n" call)");
}

TEST_CASE("The names and schemas of the functions are in it, references moved along") {
  const auto grammar = ToolGrammar(ToolStyle::kHermes, kTools, false, false);
  REQUIRE(grammar.ok());
  CHECK(grammar->gbnf.find(R"(\"find\")") != std::string::npos);
  CHECK(grammar->gbnf.find(R"(\"now\")") != std::string::npos);
  CHECK(grammar->gbnf.find("char{0,4}") != std::string::npos);
  CHECK(grammar->gbnf.find("call ::= ") != std::string::npos);
}

TEST_CASE("A schema that cannot be enforced is refused with its function's name where it is strict, and enforced in part where it is not") {
  std::vector<ForcedTool> tools = {
      {"find", R"({"type":"object","properties":{"q":{"type":"string","pattern":"^a"},"n":{"type":"integer","minimum":1,"maximum":9}}})",
       true}};
  const auto refused = ToolGrammar(ToolStyle::kHermes, tools, false, false);
  REQUIRE_FALSE(refused.ok());
  CHECK(base::Message(refused.status()).find("find: a call of it cannot be forced") != std::string::npos);
  CHECK(base::Message(refused.status()).find("pattern") != std::string::npos);
  tools[0].strict = false;
  const auto held = ToolGrammar(ToolStyle::kHermes, tools, false, false);
  INFO(held.status().ToString());
  REQUIRE(held.ok());
  CHECK_FALSE(held->whole);
  CHECK(held->gbnf.find("[1-9]") != std::string::npos);
  CHECK(ToolGrammar(ToolStyle::kHermes, kTools, false, false)->whole);
  // One that is strict stands beside others that are not, and only what is not strict is passed over.
  tools.push_back({"now", R"({"type":"object","properties":{"z":{"type":"string","format":"uri"}}})", true});
  const auto one = ToolGrammar(ToolStyle::kHermes, tools, false, false);
  REQUIRE_FALSE(one.ok());
  CHECK(base::Message(one.status()).find("now: ") != std::string::npos);
}

TEST_CASE("What is left of a function's schema is an object, its references moved along") {
  for (const char* parameters :
       {R"({"allOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]})", R"({"$ref":"https://example.com/s"})", R"({"pattern":"a"})",
        R"({"anyOf":[{"required":["a"]},{"required":["b"]}]})", R"({"anyOf":[true,{"properties":{"a":{}}}]})"}) {
    INFO(parameters);
    const std::vector<ForcedTool> tools = {{"find", parameters}};
    const auto held = ToolGrammar(ToolStyle::kHermes, tools, false, false);
    INFO(held.status().ToString());
    REQUIRE(held.ok());
    CHECK_FALSE(held->whole);
    CHECK(held->gbnf.find(R"("\"arguments\":" ws object ws)") != std::string::npos);
    CHECK(held->gbnf.find(R"("\"arguments\":" ws any ws)") == std::string::npos);
  }
  const std::vector<ForcedTool> tools = {
      {"now", ""},
      {"tree",
       R"({"$ref":"#/$defs/t","$defs":{"t":{"type":"object","properties":{"name":{"maxLength":7,"type":"string"},"sub":{"$ref":"#/$defs/t"}}}}})"}};
  const auto held = ToolGrammar(ToolStyle::kHermes, tools, false, false);
  INFO(held.status().ToString());
  REQUIRE(held.ok());
  CHECK(held->gbnf.find("char{0,7}") != std::string::npos);
}

TEST_CASE("Lengths of several functions that are too many together are passed over where none is strict") {
  std::vector<ForcedTool> tools;
  for (const char* name : {"a", "b", "c"})
    tools.push_back({name, R"({"properties":{"q":{"type":"string","maxLength":900},"k":{"type":"string","maxLength":3}}})"});
  const auto held = ToolGrammar(ToolStyle::kHermes, tools, false, false);
  INFO(held.status().ToString());
  REQUIRE(held.ok());
  CHECK_FALSE(held->whole);
  CHECK(held->gbnf.find("{0,900}") == std::string::npos);
  CHECK(held->gbnf.find("char{0,3}") != std::string::npos);
  for (ForcedTool& tool : tools) tool.strict = true;
  CHECK_FALSE(ToolGrammar(ToolStyle::kHermes, tools, false, false).ok());
}

}  // namespace tollgate::inference
