// What is a call, what is a thought and what is text, in each family's words; and that it does not depend on how the output was cut.
#include "inference/output_parser.h"

#include <catch2/catch_test_macros.hpp>

#include <random>

#include "tests/support/random.h"

namespace tollgate::inference {
namespace {

OutputSyntax Syntax(ToolStyle tools, bool thinks = false, bool in_thought = false) {
  return {.tools = tools, .names = {"find", "add_up"}, .thinks = thinks, .in_thought = in_thought};
}

// "text|{thought}|name(arguments)", neighbours joined; what was dropped is not shown.
std::string Told(const std::vector<OutputPart>& parts) {
  std::string out;
  OutputPart::Kind last = OutputPart::kNothing;
  for (const OutputPart& part : parts) {
    if (part.kind == OutputPart::kNothing) continue;
    const bool goes_on = part.kind == last && part.kind != OutputPart::kCall;
    if (goes_on && part.kind == OutputPart::kThought) out.pop_back();
    if (!out.empty() && !goes_on) out += '|';
    if (part.kind == OutputPart::kThought) out += (goes_on ? "" : "{") + part.text + "}";
    if (part.kind == OutputPart::kText) out += part.text;
    if (part.kind == OutputPart::kCall) out += part.name + "(" + part.text + ")";
    last = part.kind;
  }
  return out;
}

std::vector<OutputPart> Parse(const OutputSyntax& syntax, const std::vector<std::string>& pieces) {
  OutputParser parser(syntax);
  std::vector<OutputPart> parts;
  for (const std::string& piece : pieces) parser.Push(piece, parts);
  parser.Finish(parts);
  return parts;
}

struct Row {
  OutputSyntax syntax;
  std::string output;
  std::string told;
};

const std::vector<Row>& Rows() {
  using enum ToolStyle;
  static const std::string begin = "<｜tool▁calls▁begin｜>", call = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
                           end = "<｜tool▁call▁end｜>", ends = "<｜tool▁calls▁end｜>", bare = "<｜tool▁call▁begin｜>",
                           sep = "<｜tool▁sep｜>";
  static const std::vector<Row> rows = {
      {Syntax(kNone), "<tool_call>\n{}</tool_call> <think>x", "<tool_call>\n{}</tool_call> <think>x"},
      // Hermes.
      {Syntax(kHermes), "plain < text <tool", "plain < text <tool"},
      {Syntax(kHermes), "<tool_call>\n{\"name\": \"find\", \"arguments\": {\"q\": \"a } </tool_call> \\\" \\u0034\"}}\n</tool_call>",
       "find({\"q\": \"a } </tool_call> \\\" \\u0034\"})"},
      {Syntax(kHermes),
       "I look.\n<tool_call>{\"arguments\":{} , \"name\":\"find\"}</tool_call>\n<tool_call>\n{\"name\": \"add_up\", \"arguments\": {\"n\": "
       "[1, "
       "{\"x\": 2}]}}\n</tool_call>\nDone.",
       "I look.|find({})|add_up({\"n\": [1, {\"x\": 2}]})|Done."},
      {Syntax(kHermes),
       "<tool_call>[{\"name\": \"find\", \"arguments\": {}}, {\"name\": \"add_up\", \"arguments\": {\"a\": \"[\"}}]</tool_call>",
       "find({})|add_up({\"a\": \"[\"})"},
      {Syntax(kHermes), "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call> rest",
       "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call> rest"},
      {Syntax(kHermes), "a <tool_call>{\"name\": \"find\", \"arguments\": \"{}\"}</tool_call>",
       "a <tool_call>{\"name\": \"find\", \"arguments\": \"{}\"}</tool_call>"},
      {Syntax(kHermes), "<tool_call>{\"name\": \"find\", \"arguments\": {}, \"extra\": 1}</tool_call>",
       "<tool_call>{\"name\": \"find\", \"arguments\": {}, \"extra\": 1}</tool_call>"},
      {Syntax(kHermes), "<tool_call>{\"name\": \"find\", \"arguments\": {\"a\": 1}, \"arguments\": {}}</tool_call>",
       "<tool_call>{\"name\": \"find\", \"arguments\": {\"a\": 1}, \"arguments\": {}}</tool_call>"},
      {Syntax(kHermes), "<tool_call>{\"name\": \"find\", \"arguments\": {}", "<tool_call>{\"name\": \"find\", \"arguments\": {}"},
      {Syntax(kHermes), "<tool_call>{\"name\": \"find\", \"arguments\": {}} and so on",
       "<tool_call>{\"name\": \"find\", \"arguments\": {}} and so on"},
      {Syntax(kHermes), "<tool_call>no <tool_call>{\"name\": \"find\", \"arguments\": {}}</tool_call>", "<tool_call>no|find({})"},
      // Llama: calls come first or not at all.
      {Syntax(kLlama), "{\"name\": \"find\", \"parameters\": {\"q\": \"x\"}}", "find({\"q\": \"x\"})"},
      {Syntax(kLlama), "\n{\"name\": \"find\", \"parameters\": {}}; {\"name\": \"add_up\", \"parameters\": {}}", "find({})|add_up({})"},
      {Syntax(kLlama), "{\"city\": \"Paris\"}", "{\"city\": \"Paris\"}"},
      {Syntax(kLlama), " { \"parameters\" : {\"q\": \"x\"}, \"name\":\"find\"}", "find({\"q\": \"x\"})"},
      {Syntax(kLlama), "{\"n\\u0061me\": \"f\\u0069nd\", \"parameters\": {}}", "find({})"},
      {Syntax(kLlama), "{\"name\": \"Ada\", \"parameters\": {}}", "{\"name\": \"Ada\", \"parameters\": {}}"},
      {Syntax(kLlama), "{\"name\": \"find\", \"parameters\": {}}; {\"city\": 1}", "find({})|; {\"city\": 1}"},
      {Syntax(kLlama), "Sure: {\"name\": \"find\", \"parameters\": {}}", "Sure: {\"name\": \"find\", \"parameters\": {}}"},
      {Syntax(kLlama), "{\"name\": \"find\", \"parameters\": {}} as asked", "find({})|as asked"},
      {Syntax(kLlama), "{\"name\": \"find\", \"param", "{\"name\": \"find\", \"param"},
      // Mistral.
      {Syntax(kMistral),
       "[TOOL_CALLS] [{\"name\": \"find\", \"arguments\": {\"a\": [1]}, \"id\": \"abcdefghi\"}, {\"name\": \"add_up\", \"arguments\": {}}]",
       "find({\"a\": [1]})|add_up({})"},
      {Syntax(kMistral), "Yes.[TOOL_CALLS][]", "Yes.[TOOL_CALLS][]"},
      {Syntax(kMistral), "[TOOL_CALLS]{\"name\": \"find\", \"arguments\": {}}", "[TOOL_CALLS]{\"name\": \"find\", \"arguments\": {}}"},
      // DeepSeek.
      {Syntax(kDeepSeek),
       "Well." + begin + call + "find\n```json\n{\"q\": \"```\"}\n```" + end + "\n" + call + "add_up\n```json\n{}\n```" + end + ends,
       "Well.|find({\"q\": \"```\"})|add_up({})"},
      {Syntax(kDeepSeek), begin + call + "find\n```json\n{}\n```" + end, begin + call + "find\n```json\n{}\n```" + end},
      {Syntax(kDeepSeek), begin + call + "other\n```json\n{}\n```" + end + ends, begin + call + "other\n```json\n{}\n```" + end + ends},
      // DeepSeek from V3.1 on.
      {Syntax(kDeepSeek),
       "Well." + begin + bare + "find" + sep + "{\"q\": \"```\"}" + end + bare + "add_up" + sep + "{}" + end + ends + "Done.",
       "Well.|find({\"q\": \"```\"})|add_up({})|Done."},
      {Syntax(kDeepSeek), begin + bare + "other" + sep + "{}" + end + ends, begin + bare + "other" + sep + "{}" + end + ends},
      {Syntax(kDeepSeek), begin + bare + "find" + sep + "{}```" + end + ends, begin + bare + "find" + sep + "{}```" + end + ends},
      {Syntax(kDeepSeek), begin + bare + "find" + sep + "[]" + end + ends, begin + bare + "find" + sep + "[]" + end + ends},
      {Syntax(kDeepSeek), begin + bare + std::string(300, 'x') + sep + begin + bare + "find" + sep + "{}" + end + ends,
       begin + bare + std::string(300, 'x') + sep + "|find({})"},
      {Syntax(kDeepSeek), begin + bare + "find" + sep + "{}" + end, begin + bare + "find" + sep + "{}" + end},
      // Thoughts.
      {Syntax(kNone, true), "<think>\nLet me see.\n</think>\n\nFour.", "{Let me see.}|Four."},
      {Syntax(kNone, true), "<think>\n\n</think>\n\nFour.", "Four."},
      {Syntax(kNone, true), "<thin ice", "<thin ice"},
      {Syntax(kNone, true), "Four. <think>no</think>", "Four. <think>no</think>"},
      {Syntax(kNone, true), " <think>a </think b", "{a </think b}"},
      {Syntax(kNone, true, true), "Let me see.</think>Four.", "{Let me see.}|Four."},
      {Syntax(kHermes, true, true), "I call <tool_call>{}.\n</think>\n<tool_call>\n{\"name\": \"find\", \"arguments\": {}}\n</tool_call>",
       "{I call <tool_call>{}.}|find({})"},
  };
  return rows;
}

// Whole code points, each cut with a chance of one in `one_in`.
std::vector<std::string> Cut(const std::string& text, std::mt19937_64& random, int one_in) {
  std::vector<std::string> pieces(1);
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80 && random() % static_cast<std::uint64_t>(one_in) == 0) pieces.emplace_back();
    pieces.back() += c;
  }
  return pieces;
}

void CheckWhole(const std::vector<OutputPart>& parts, const std::string& output) {
  std::int64_t at = 0;
  for (const OutputPart& part : parts) {
    CHECK(part.raw_end >= at);
    if (part.kind == OutputPart::kText || part.kind == OutputPart::kThought) {
      const std::int64_t begin = part.raw_end - static_cast<std::int64_t>(part.text.size());
      REQUIRE(begin >= at);
      CHECK(output.substr(static_cast<std::size_t>(begin), part.text.size()) == part.text);
    }
    at = part.raw_end;
  }
  CHECK(at == static_cast<std::int64_t>(output.size()));
}

}  // namespace

TEST_CASE("Calls, thoughts and text are told apart, and what is no sound call is text") {
  for (const Row& row : Rows()) {
    INFO(row.output);
    const auto parts = Parse(row.syntax, {row.output});
    CHECK(Told(parts) == row.told);
    CheckWhole(parts, row.output);
  }
}

TEST_CASE("What is there of a call that is not over can be looked at before it becomes text") {
  using enum ToolStyle;
  const auto open = [](const OutputSyntax& syntax, const std::string& raw) {
    inference::OutputParser parser(syntax);
    std::vector<OutputPart> parts;
    parser.Push(raw, parts);
    return std::string(parser.open_call());
  };
  CHECK(open(Syntax(kHermes), "text <tool_call>\n{\"name\": \"fi") == "\n{\"name\": \"fi");
  CHECK(open(Syntax(kHermes), "<tool_call>{\"name\": \"find\", \"arguments\": {}}") == "{\"name\": \"find\", \"arguments\": {}}");
  CHECK(open(Syntax(kLlama), " {\"name\": ") == "{\"name\": ");
  for (const std::string call : {"{", "{ \"na", "{\"name\":\"add", "{\"name\": \"find\", \"x", "{\"parameters\" :[", "{\"\\u0"})
    CHECK(open(Syntax(kLlama), call) == call);
  for (const std::string none :
       {"{1", "{ \"a\": ", "{\"names", "{\"name\": {", "{\"name\": \" find", "{\"name\": \"finds", "{\"parameter\""})
    CHECK(open(Syntax(kLlama), none).empty());
  CHECK(open(Syntax(kHermes), "<tool_call>{\"name\": \"find\", \"arguments\": {}}</tool_call>").empty());
  CHECK(open(Syntax(kHermes), "<tool_call>no call").empty());
  CHECK(open(Syntax(kNone, true), "<think>{").empty());
}

TEST_CASE("However an output is cut, the same comes of it, and every byte has its place") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 2000; ++i) {
    const Row& row = Rows()[random() % Rows().size()];
    const auto parts = Parse(row.syntax, Cut(row.output, random, 1 + static_cast<int>(random() % 8)));
    INFO(row.output);
    REQUIRE(Told(parts) == row.told);
    CheckWhole(parts, row.output);
  }
}

TEST_CASE("Of outputs put together at random nothing is lost, however they are cut") {
  const std::vector<std::string> bits = {"<tool_call>",
                                         "</tool_call>",
                                         "{\"name\": \"find\", \"arguments\": {}}",
                                         "{",
                                         "}",
                                         "\"",
                                         "\\",
                                         "[",
                                         "]",
                                         "\n",
                                         " ",
                                         "<think>",
                                         "</think>",
                                         "[TOOL_CALLS]",
                                         "é",
                                         "<｜tool▁calls▁begin｜>",
                                         "<｜tool▁call▁begin｜>",
                                         "find<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
                                         "<｜tool▁calls▁end｜>",
                                         "a",
                                         ";",
                                         "<"};
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 3000; ++i) {
    std::string output;
    for (std::uint64_t n = random() % 24; n > 0; --n) output += bits[random() % bits.size()];
    const OutputSyntax syntax = Syntax(static_cast<ToolStyle>(random() % 5), random() % 2 == 0, random() % 4 == 0);
    INFO(output);
    const auto whole = Parse(syntax, {output});
    const auto cut = Parse(syntax, Cut(output, random, 1 + static_cast<int>(random() % 4)));
    REQUIRE(Told(cut) == Told(whole));
    CheckWhole(whole, output);
    CheckWhole(cut, output);
  }
}

TEST_CASE("After many that were none, nothing is a call any more, and all of it is said") {
  std::string output;
  for (int i = 0; i < 20'000; ++i) output += "<tool_call>{";
  output += "<tool_call>{\"name\": \"find\", \"arguments\": {}}</tool_call>";
  OutputParser parser(Syntax(ToolStyle::kHermes));
  std::vector<OutputPart> parts;
  parser.Push(output, parts);
  parser.Finish(parts);
  CHECK(Told(parts) == output);
}

TEST_CASE("A call is as long as its bound at most, however it is cut") {
  const std::string head = R"(<tool_call>{"name": "find", "arguments": {"q": ")", tail = "\"}}</tool_call>";
  const std::size_t room = OutputParser::kCallBytesMax - head.size() - tail.size();
  for (const std::size_t beyond : {0, 1}) {
    const std::string output = " \n" + head + std::string(room + beyond, 'x') + tail + "then";
    const auto whole = Parse(Syntax(ToolStyle::kHermes), {output});
    std::vector<std::string> pieces;
    for (std::size_t i = 0; i < output.size(); i += 1000) pieces.push_back(output.substr(i, 1000));
    const auto cut = Parse(Syntax(ToolStyle::kHermes), pieces);
    const auto calls = [](const auto& parts) {
      return std::count_if(parts.begin(), parts.end(), [](const OutputPart& part) { return part.kind == OutputPart::kCall; });
    };
    CHECK(calls(whole) == (beyond == 0 ? 1 : 0));
    CHECK(Told(whole) == Told(cut));
    CheckWhole(whole, output);
  }
}

TEST_CASE("What looks like a call and never ends is held up to its bound") {
  OutputParser parser(Syntax(ToolStyle::kHermes));
  std::vector<OutputPart> parts;
  parser.Push("<tool_call>{\"a\": \"", parts);
  std::size_t pushed = 0;
  while (parts.empty() && pushed < 2 * OutputParser::kCallBytesMax) {
    parser.Push(std::string(1000, 'x'), parts);
    pushed += 1000;
  }
  CHECK(pushed <= OutputParser::kCallBytesMax + 1000);
  parser.Push("y", parts);
  parser.Finish(parts);
  CHECK(Told(parts) == "<tool_call>{\"a\": \"" + std::string(pushed, 'x') + "y");
}

}  // namespace tollgate::inference
