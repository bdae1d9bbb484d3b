// Which tools can be forced, and why others are refused.
#include "inference/tool_grammar.h"

#include <catch2/catch_test_macros.hpp>

#include "inference/json_schema.h"

namespace tollgate::inference {
namespace {

const std::vector<ToolDefinition> kTools = {
    {"find", "",
     R"({"type":"object","properties":{"q":{"$ref":"#/$defs/word"}},"required":["q"],"$defs":{"word":{"type":"string","maxLength":4}}})"},
    {"now", "", ""}};

std::string RootOf(ToolStyle style, bool several, bool in_thought = false) {
  const auto grammar = ToolGrammar(style, kTools, several, in_thought);
  if (!grammar.ok()) return base::Message(grammar.status());
  return grammar->substr(0, grammar->find('\n'));
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
  CHECK(grammar->find(R"(\"find\")") != std::string::npos);
  CHECK(grammar->find(R"(\"now\")") != std::string::npos);
  CHECK(grammar->find("char{0,4}") != std::string::npos);
  CHECK(grammar->find("call ::= ") != std::string::npos);
}

TEST_CASE("A schema that cannot be enforced is refused with its function's name") {
  const std::vector<ToolDefinition> pattern = {{"find", "", R"({"type":"object","properties":{"q":{"type":"string","pattern":"^a"}}})"}};
  const auto refused = ToolGrammar(ToolStyle::kHermes, pattern, false, false);
  REQUIRE_FALSE(refused.ok());
  CHECK(base::Message(refused.status()).find("find: a call of it cannot be forced") != std::string::npos);
  CHECK(base::Message(refused.status()).find("pattern") != std::string::npos);
}

}  // namespace tollgate::inference
