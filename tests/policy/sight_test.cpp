// Which texts of a call a rule looks at: role, part, tool, end user.
#include "policy/sight.h"

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

const std::string kRule = "version: 1\nname: t\nrules:\n";

Message Text(Role role, std::string text) { return {role, "", {std::move(text)}}; }
Message Call(std::string tool, std::string text) { return {Role::kAssistant, tool, {std::move(text)}, true, {Part::kToolCall, tool}}; }
Message Tool(std::string tool, std::string text) { return {Role::kSystem, tool, {std::move(text)}, true, {Part::kToolDefinition, tool}}; }
Message Result(std::string tool, std::string text) { return {Role::kTool, "", {std::move(text)}, false, {Part::kToolResult, tool}}; }

// The texts of a prompt that a rule with this `where` finds "x" in, by their index.
std::string Seen(const std::string& where, const Subject& subject = {}) {
  const auto policies = MustCompile(kRule + "  - {id: r, where: " + where + ", detect: {keywords: x}, do: flag}\n");
  const std::vector<Message> prompt = {Text(Role::kSystem, "x"), Text(Role::kUser, "x"), Text(Role::kAssistant, "x"),
                                       Result("search", "x"),    Result("mail", "x"),    Call("search", "x"),
                                       Call("mail", "x"),        Tool("search", "x"),    Tool("mail", "x")};
  const auto inspection = policies->Inspect(subject, prompt);
  REQUIRE(inspection.ok());
  std::string out;
  for (const RuleOutcome& rule : inspection->verdict.rules) {
    for (const Span& span : rule.spans) out += std::to_string(span.message);
  }
  return out;
}

TEST_CASE("A rule looks at the parts and the tools that it names, and at no others") {
  const std::pair<const char*, const char*> cases[] = {
      {"{direction: both}", "012345678"},
      {"{parts: text}", "012"},
      {"{parts: [text], roles: [user, tool]}", "1"},
      {"{parts: tool_results}", "34"},
      {"{parts: tool_calls}", "56"},
      {"{parts: tool_definitions}", "78"},
      {"{parts: [tool_calls, tool_results, reasoning]}", "3456"},
      {"{tool: mail}", "468"},
      {"{tool: [mail, search]}", "345678"},
      {"{tool: mail, parts: [tool_calls, tool_definitions]}", "68"},
      {"{tool: mail, roles: tool}", "4"},
      {"{tool: other}", ""},
      {"{roles: [tool]}", "34"},
  };
  for (const auto& [where, seen] : cases) {
    INFO(where);
    CHECK(Seen(where) == seen);
  }
}

TEST_CASE("A result of a tool that nobody knows is under the rules of every tool, and exempt by none") {
  const auto policies = MustCompile(kRule +
                                    "  - {id: mail, where: {tool: mail, parts: tool_results}, detect: {keywords: x}, do: block}\n"
                                    "  - {id: fine, where: {tool: search}, detect: {keywords: x}, do: allow}\n"
                                    "  - {id: calls, where: {tool: mail, parts: tool_calls}, detect: {keywords: x}, do: flag}\n");
  const std::pair<Message, Action> cases[] = {{Result("mail", "x"), Action::kBlock},
                                              {Result("search", "x"), Action::kAllow},
                                              {Result("", "x"), Action::kBlock},
                                              {Text(Role::kTool, "x"), Action::kBlock},
                                              {Text(Role::kUser, "x"), Action::kAllow}};
  for (const auto& [message, action] : cases) CHECK(policies->Inspect({}, std::vector<Message>{message})->verdict.action == action);
}

TEST_CASE("Whether a result's tool is known is asked of each result, whatever stands before it") {
  const auto policies =
      MustCompile(kRule + "  - {id: mail, where: {tool: mail, parts: tool_results}, detect: {keywords: x}, do: redact, replacement: M}\n");
  const auto used = [&](const Message& first, const Message& second) {
    const auto inspection = policies->Inspect({}, std::vector<Message>{first, second});
    REQUIRE(inspection.ok());
    return TextOf(inspection->prompt[0]) + " " + TextOf(inspection->prompt[1]);
  };
  CHECK(used(Result("search", "ok"), Result("", "x")) == "ok M");
  CHECK(used(Result("", "ok"), Result("search", "x")) == "ok x");
  CHECK(used(Result("", "x"), Result("search", "x")) == "M x");
  CHECK(used(Result("search", "x"), Result("other", "x")) == "x x");
}

TEST_CASE("A rule for an end user acts on nobody else's requests") {
  Subject ann;
  ann.end_user = "ann";
  CHECK(Seen("{end_user: [ann, bob]}", ann) == "012345678");
  ann.end_user = "eve";
  CHECK(Seen("{end_user: [ann, bob]}", ann).empty());
  CHECK(Seen("{end_user: [ann, bob]}").empty());
  const auto policies = MustCompile(kRule + "  - {id: r, where: {end_user: [ann]}, detect: {keywords: x}, do: flag}\n");
  CHECK(policies->Describe()[0].where == "both end_user=ann");
}

TEST_CASE("A reply's channels are filtered by the rules for each") {
  const auto policies = MustCompile(kRule +
                                    "  - {id: text, where: {parts: text}, detect: {keywords: x}, do: redact, replacement: T}\n"
                                    "  - {id: thought, where: {parts: reasoning}, detect: {keywords: x}, do: redact, replacement: R}\n"
                                    "  - {id: mail, where: {tool: mail}, detect: {keywords: x}, do: redact, replacement: M}\n");
  const std::pair<Channel, const char*> cases[] = {
      {{}, "a T b"}, {{Part::kReasoning}, "a R b"}, {{Part::kToolCall, "mail"}, "a M b"}, {{Part::kToolCall, "search"}, "a x b"}};
  for (const auto& [channel, expected] : cases) {
    const auto whole = policies->FilterWhole({}, "a x b", channel);
    REQUIRE(whole.ok());
    CHECK(whole->text == expected);
    const auto stream = policies->OpenOutput({}, channel);
    std::string streamed;
    for (const char c : std::string("a x b")) streamed += *stream->Push(std::string(1, c));
    CHECK(streamed + *stream->Finish() == expected);
  }
}

TEST_CASE("Measures, questions and exceptions go by parts and tools as well") {
  const auto policies = MustCompile(kRule +
                                    "  - {id: long, where: {parts: tool_definitions}, detect: {length: {characters: 5}}, do: block}\n"
                                    "  - {id: ask, where: {parts: [tool_calls]}, detect: {external: d}, do: flag}\n"
                                    "  - {id: but, where: {tool: mail}, detect: {keywords: x}, unless: {keywords: x y}, do: redact}\n");
  const std::vector<Message> prompt = {Text(Role::kUser, "a long text"), Call("mail", "x y"), Result("mail", "x z"), Tool("mail", "12345")};
  const auto inspection = policies->Inspect({}, prompt);
  REQUIRE(inspection.ok());
  CHECK(inspection->verdict.action == Action::kRedact);
  CHECK(inspection->prompt[1].parts[0] == "x y");
  CHECK(inspection->prompt[2].parts[0] == "[REDACTED] z");
  REQUIRE(inspection->questions.size() == 1);
  CHECK(inspection->questions[0].messages == std::vector<std::uint32_t>{1});
  CHECK(policies->QuestionsOfOutput({}).empty());
  CHECK(policies->QuestionsOfOutput({}, {Part::kToolCall, "mail"}).size() == 1);
  const std::vector<Message> longer = {Text(Role::kUser, "hi"), Tool("mail", "123456")};
  CHECK(policies->Inspect({}, longer)->verdict.action == Action::kBlock);
}

TEST_CASE("Results of two tools are not read as one text, those of one tool are") {
  const auto policies = MustCompile(kRule + "  - {id: r, detect: {personal_data: email}, do: redact}\n");
  const auto changed = [&](const std::string& first, const std::string& second) {
    const std::vector<Message> prompt = {Text(Role::kUser, "go"), Result(first, "bob@exam"), Result(second, "ple.com")};
    return policies->Inspect({}, prompt)->changed;
  };
  CHECK(changed("mail", "mail"));
  CHECK_FALSE(changed("mail", "search"));
}

TEST_CASE("What no text can be is refused, with the place") {
  const std::pair<const char*, const char*> cases[] = {
      {"{roles: user, parts: tool_calls}", "no text is all that 'where' says"},
      {"{direction: output, parts: tool_results}", "no text is all that 'where' says"},
      {"{direction: input, parts: reasoning}", "no text is all that 'where' says"},
      {"{tool: mail, parts: text}", "no text is all that 'where' says"},
      {"{parts: [text, thoughts]}", "'parts' is one of text, reasoning"},
  };
  for (const auto& [where, error] : cases) {
    INFO(where);
    CHECK(CompileError(OneRule("{keywords: x}", "flag", "    where: " + std::string(where) + "\n")).find(error) != std::string::npos);
  }
  CHECK(CompileError(OneRule("{personal_data: email}", "pseudonymise", "    where: {parts: text}\n")).find("leave 'parts' out") !=
        std::string::npos);
}

TEST_CASE("A test of a rule is about a text that the rule looks at, unless it says otherwise") {
  MustCompile(OneRule("{keywords: x}", "redact",
                      "    where: {tool: [mail]}\n    tests:\n      - {text: x, result: '[REDACTED]'}\n"
                      "      - {text: x, direction: output, result: '[REDACTED]'}\n"
                      "      - {text: x, part: tool_results}\n      - {text: x, tool: search, expect_not: r}\n"
                      "      - {text: x, role: user, expect_not: r}\n"));
  MustCompile(OneRule("{keywords: x}", "flag",
                      "    where: {parts: reasoning, end_user: ann}\n    tests:\n      - {text: x}\n"
                      "      - {text: x, part: text, expect_not: r}\n"));
}

}  // namespace
}  // namespace tollgate::policy
