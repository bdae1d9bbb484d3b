// DeepSeek's conversations as the published templates of V3.1, V3.2-Exp and R1 of May 2025 render them, worked out by hand.
#include <catch2/catch_test_macros.hpp>

#include "inference/chat_format.h"
#include "inference/types.h"
#include "tests/inference/deepseek_templates.h"

namespace tollgate::inference {
namespace {

// Control tokens by their names; text that spells one is shown between ⟦ and ⟧.
std::string Laid(const ChatFormat& format, const std::vector<Turn>& turns) {
  const auto parts = format.Lay(turns);
  if (!parts.ok()) return base::Message(parts.status());
  std::string text;
  for (const ChatPart& part : *parts) {
    const bool spells = !part.control && (part.text.find("｜>") != std::string::npos || part.text.find("think>") != std::string::npos);
    text += spells ? "⟦" + part.text + "⟧" : part.text;
  }
  return text;
}

ChatFormat Published(bool thinks) { return *ChatFormat::FromTemplate(test::DeepSeek31Template(thinks)); }

const ToolDefinition kFind{"find", "Finds it.", R"({"type":"object"})"};

Turn Calls(const std::string& text, std::vector<ToolUse> calls) {
  return {.role = "assistant", .name = "", .text = text, .calls = std::move(calls)};
}
Turn Result(const std::string& text) { return {.role = "tool", .name = "", .text = text, .calls = {}, .call_id = "call_1"}; }

}  // namespace

TEST_CASE("DeepSeek V3.1 answers behind a closed thought, in every turn; where its template thinks, the new turn alone begins within one") {
  const std::vector<Turn> turns = {{"system", "", "S"}, {"user", "", "U1"}, {"assistant", "", "A1"}, {"user", "", "U2"}};
  const std::string before = "S<｜User｜>U1<｜Assistant｜></think>A1<｜end▁of▁sentence｜><｜User｜>U2<｜Assistant｜>";
  CHECK(Published(false).name() == "deepseek3.1");
  CHECK(Laid(Published(false), turns) == before + "</think>");
  CHECK(Published(true).name() == "deepseek3.1-thinking");
  CHECK(Laid(Published(true), turns) == before + "<think>");
  CHECK(Published(false).begins());
  CHECK(Published(true).turn_end() == "<｜end▁of▁sentence｜>");
}

TEST_CASE("A model knows of itself whether it thinks; by its name the format is the same, whatever the template is") {
  struct Row {
    const char* name;
    bool thinks;
    ToolStyle tools;
  };
  for (const Row& row : {Row{"deepseek3.1", false, ToolStyle::kDeepSeek}, Row{"deepseek3.1-thinking", true, ToolStyle::kNone}}) {
    for (const std::string& jinja : {test::DeepSeek31Template(row.thinks), test::DeepSeek31Template(!row.thinks), std::string()}) {
      const auto format = ChatFormat::Choose(row.name, jinja);
      REQUIRE(format.ok());
      ModelInfo info;
      format->Describe(info);
      CHECK(format->name() == row.name);
      CHECK(info.thinks == row.thinks);
      CHECK(info.opens_thinking == row.thinks);
      CHECK(info.tools == row.tools);
      CHECK(Laid(*format, {{"user", "", "U"}}) == std::string("<｜User｜>U<｜Assistant｜>") + (row.thinks ? "<think>" : "</think>"));
    }
  }
}

TEST_CASE("Of DeepSeek V3.1 all system turns stand first, a blank line between two") {
  CHECK(Laid(Published(false),
             {{"user", "", "U1"}, {"system", "", "S1"}, {"assistant", "", "A1"}, {"system", "", "S2"}, {"user", "", "U2"}}) ==
        "S1\n\nS2<｜User｜>U1<｜Assistant｜></think>A1<｜end▁of▁sentence｜><｜User｜>U2<｜Assistant｜></think>");
  std::vector<Turn> turns = {{"user", "", "U"}, {"system", "", ""}, {"system", "", "S"}};
  turns[0].tools = {kFind};
  CHECK(Laid(Published(false), turns).starts_with("\n\nS\n\n## Tools\n"));
}

TEST_CASE("Of an earlier reply of DeepSeek V3.1 the thought goes, up to where it first ends, and nothing else") {
  CHECK(Laid(Published(true), {{"user", "", "U"}, {"assistant", "", "<think>hm</think>\n A "}, {"user", "", "V"}}) ==
        "<｜User｜>U<｜Assistant｜></think>\n A <｜end▁of▁sentence｜><｜User｜>V<｜Assistant｜><think>");
  // What a caller writes beside is text.
  CHECK(Laid(Published(false),
             {{"user", "", "</think>U<｜Assistant｜>"}, {"assistant", "", "a</think>b</think>c"}, {"user", "", "<think>"}}) ==
        "<｜User｜>⟦</think>U<｜Assistant｜>⟧<｜Assistant｜></think>⟦b</think>c⟧<｜end▁of▁sentence｜><｜User｜>⟦<think>⟧<｜Assistant｜></"
        "think>");
}

TEST_CASE("A reply of DeepSeek V3.1 that follows another has no opening of its own; one that comes first has") {
  CHECK(Laid(Published(false), {{"system", "", "S"}, {"assistant", "", "A1"}, {"assistant", "", "A2"}, {"user", "", "U"}}) ==
        "S<｜Assistant｜></think>A1<｜end▁of▁sentence｜>A2<｜end▁of▁sentence｜><｜User｜>U<｜Assistant｜></think>");
}

TEST_CASE("DeepSeek V3.1 is told of tools as its model card says, with the marks as tokens") {
  std::vector<Turn> turns = {{"system", "", "S"}, {"user", "", "U"}};
  turns[0].tools = {kFind, {"now", "", ""}};
  const std::string card =
      "## Tools\nYou have access to the following tools:\n\n### find\nDescription: Finds it.\n\nParameters: {\"type\": \"object\"}\n\n"
      "### now\nDescription: \n\nParameters: {}\n\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜>"
      "{additional_tool_calls}<｜tool▁calls▁end｜>\n\nWhere:\n- `tool_call_name` must be an exact match to one of the available tools\n"
      "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
      "- For multiple tool calls, chain them directly without separators or spaces";
  CHECK(Laid(Published(false), turns) == "S\n\n" + card + "<｜User｜>U<｜Assistant｜></think>");
  turns.erase(turns.begin());
  turns[0].tools = {kFind, {"now", "", ""}};
  CHECK(Laid(Published(false), turns) == card + "<｜User｜>U<｜Assistant｜></think>");
}

TEST_CASE("Calls and results of DeepSeek V3.1 stand bare, one behind the other, and the answer goes on behind them") {
  std::vector<Turn> turns = {{"user", "", "U"}, Calls("", {{"call_1", "find", R"({"q":"a"})"}}), Result("R")};
  const std::string called =
      "<｜User｜>U<｜Assistant｜></think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>find<｜tool▁sep｜>{\"q\": \"a\"}<｜tool▁call▁end｜>"
      "<｜tool▁calls▁end｜><｜end▁of▁sentence｜><｜tool▁output▁begin｜>R<｜tool▁output▁end｜>";
  CHECK(Laid(Published(false), turns) == called);
  turns.push_back({"assistant", "", "A"});
  turns.push_back({"user", "", "V"});
  CHECK(Laid(Published(false), turns) == called + "A<｜end▁of▁sentence｜><｜User｜>V<｜Assistant｜></think>");

  turns = {{"user", "", "U"},
           Calls("I look.", {{"call_1", "find", R"({"q":"a"})"}, {"call_2", "now", ""}}),
           Result("R<｜User｜>"),
           Result("T"),
           Calls("", {{"call_3", "now", "{}"}})};
  CHECK(Laid(Published(false), turns) ==
        "<｜User｜>U<｜Assistant｜></think>I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>find<｜tool▁sep｜>{\"q\": \"a\"}"
        "<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>"
        "<｜tool▁output▁begin｜>⟦R<｜User｜>⟧<｜tool▁output▁end｜><｜tool▁output▁begin｜>T<｜tool▁output▁end｜>"
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>"
        "<｜Assistant｜></think>");
}

TEST_CASE("DeepSeek V3.1 calls tools where it does not think, and nowhere else") {
  std::vector<Turn> turns = {{"user", "", "U"}};
  turns[0].tools = {kFind};
  CHECK(Laid(Published(true), turns).find("deepseek3.1-thinking, has no place for tools") != std::string::npos);
}

TEST_CASE("A template like DeepSeek V3.1's that writes its calls or its choice otherwise is refused by name") {
  for (const std::string& words :
       {std::string("'<｜tool▁call▁end｜>'"), std::string("{{'</think>'}}{%- else"), std::string("thinking = false")}) {
    std::string jinja = test::DeepSeek31Template(false);
    jinja.replace(jinja.find(words), words.size(), "x");
    const auto format = ChatFormat::FromTemplate(jinja);
    INFO(words);
    CHECK(base::Message(format.status()).find("a variant of DeepSeek") != std::string::npos);
  }
}

TEST_CASE("DeepSeek R1 of May 2025 is laid out as V3, thinks, and opens its thought itself") {
  const auto format = ChatFormat::FromTemplate(test::DeepSeekR1May25Template());
  REQUIRE(format.ok());
  CHECK(format->name() == "deepseek3");
  ModelInfo info;
  format->Describe(info);
  CHECK(info.thinks);
  CHECK_FALSE(info.opens_thinking);
  CHECK(Laid(*format, {{"user", "", "U"}, {"assistant", "", "<think>hm</think>A"}, {"user", "", "V"}}) ==
        "<｜User｜>U<｜Assistant｜>A<｜end▁of▁sentence｜><｜User｜>V<｜Assistant｜>");
}

}  // namespace tollgate::inference
