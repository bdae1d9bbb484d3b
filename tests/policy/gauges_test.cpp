#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/explain.h"
#include "policy/lint.h"
#include "policy/lint_internal.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

Message Said(Role role, const std::string& text) { return {role, "", {text}}; }

bool Hits(const std::string& detect, const std::vector<Message>& prompt, const std::string& more = "", Subject subject = {}) {
  const auto out = MustCompile(OneRule(detect, "flag", more))->Inspect(subject, prompt);
  REQUIRE(out.ok());
  CHECK((out->verdict.rules.empty() || out->verdict.rules[0].spans.empty()));
  return !out->verdict.rules.empty();
}

bool HitsText(const std::string& detect, const std::string& text) { return Hits(detect, {Said(Role::kUser, text)}); }

std::string Times(int count, const std::string& text) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

}  // namespace

TEST_CASE("A gauge hits above what it allows, and not at it") {
  struct Row {
    const char* detect;
    std::string at, above;
  };
  const Row rows[] = {
      {"{length: {characters: 3}}", "\u00e9\u00e9\u00e9", "\u00e9\u00e9\u00e9\u00e9"},
      {"{shape: {longest_line: 5}}", "12345\n12345\r", "12345\n123456"},
      {"{shape: {non_letters: 50}}", "ab !! \u65e5#", "ab !!! \u65e5#"},
      {"{shape: {repetition: 50}}", Times(30, "a b c ") + "d e f g h", ""},
      {"{code: {lines: 0}}", "import taxes on wine; export nothing.\nThe class of 2026 meets.\nIf so, return the form.",
       "x\n  return total;\n"},
      {"{code: {lines: 1}}", "int main() {\n", "int main() {\n}\n"},
  };
  for (const Row& row : rows) {
    INFO(row.detect);
    if (std::string_view(row.detect).find("repetition") == std::string_view::npos) CHECK_FALSE(HitsText(row.detect, row.at));
    if (!row.above.empty()) CHECK(HitsText(row.detect, row.above));
  }
  CHECK(HitsText("{shape: {repetition: 50}}", Times(30, "say it again and again ")));
  CHECK_FALSE(HitsText("{shape: {repetition: 10}}",
                       "Each of these words stands here once, and so no run of five words comes twice in this short text of ours."));
  CHECK_FALSE(HitsText("{shape: {repetition: 1}}", "no no no no no no no no"));  // Too short to say.
}

TEST_CASE("Messages, turns and characters are those of the roles that a rule names") {
  const std::vector<Message> talk = {Said(Role::kSystem, "be brief"), Said(Role::kUser, "one"),  Said(Role::kUser, "two"),
                                     Said(Role::kAssistant, "three"), Said(Role::kUser, "four"), Said(Role::kAssistant, "")};
  CHECK(Hits("{length: {messages: 4}}", talk));
  CHECK_FALSE(Hits("{length: {messages: 5}}", talk));  // The empty one does not count.
  CHECK(Hits("{shape: {turns: 1}}", talk));
  CHECK_FALSE(Hits("{shape: {turns: 2}}", talk));  // Two of the user in a row are one.
  const std::string user = "    where: {roles: [user]}\n";
  CHECK(Hits("{length: {characters: 9}}", talk, user));
  CHECK_FALSE(Hits("{length: {characters: 10}}", talk, user));
  CHECK_FALSE(Hits("{request: any}", talk, "    where: {roles: [tool]}\n"));
  CHECK(Hits("{request: any}", talk, "    where: {roles: [system]}\n"));
  CHECK(Hits("{length: {characters: 1000, messages: 1}}", talk));  // Either.
}

TEST_CASE("Tokens are those that the subject says; not counted, they count as too many") {
  const auto policies = MustCompile(OneRule("{length: {tokens: 10}}", "block"));
  CHECK(policies->needs_prompt_tokens());
  CHECK_FALSE(MustCompile(OneRule("{length: {characters: 10}}", "block"))->needs_prompt_tokens());
  Subject subject;
  for (const auto& [tokens, blocked] : {std::pair{10, false}, std::pair{11, true}, std::pair{-1, true}}) {
    subject.prompt_tokens = tokens;
    const Message message = Said(Role::kUser, "hello");
    CHECK((policies->Inspect(subject, {&message, 1})->verdict.action == Action::kBlock) == blocked);
  }
}

TEST_CASE("Prose and records do not read as code, and code does") {
  for (const LintText& text : LintTexts()) {
    INFO(text.name);
    const auto lines = std::count(text.text.begin(), text.text.end(), '\n');
    const Message message = Said(Role::kUser, text.text);
    Subject subject;
    PromptMeasure measure(subject, {&message, 1});
    const auto over = [&](std::int64_t least) {
      const Gauge gauge{Gauge::Measure::kCodeLines, least};
      return measure.FirstOver({&gauge, 1}, {}).has_value();
    };
    if (std::string_view(text.name) == "code")
      CHECK(over(lines * 2 / 5));
    else
      CHECK_FALSE(over(lines / 50));
  }
  for (const char* sentence : OrdinarySentences()) {
    INFO(sentence);
    CHECK_FALSE(HitsText("{code: {lines: 0}}", sentence));
  }
  for (const char* code :
       {"def add(a, b):\n    return a + b", "SELECT name FROM staff WHERE id = 7", "fn main() {\n    println!(\"hi\");\n}",
        "const total = items.map(i => i.price);", "#include <vector>", "from os import path", "public static void main(String[] a) {",
        "if (x == 1) {\n  y();\n}", "func (s *Server) Run() error {", "for (int i = 0; i < n; ++i) sum += a[i];",
        "<div class=\"x\"></div> => {}", "import numpy", "while (true) {", "let x = compute(y);"}) {
    INFO(code);
    CHECK(HitsText("{code: {lines: 0}}", code));
  }
}

TEST_CASE("What judges a whole prompt has no span, and rules that need one are refused by line and column") {
  struct Row {
    std::string yaml, error;
  };
  const Row rows[] = {
      {OneRule("{length: {characters: 10}}", "redact"), "test.yaml:5:22: 'length' judges a prompt as a whole"},
      {OneRule("{code: {lines: 1}}", "allow"), "'code' judges a prompt as a whole"},
      {OneRule("{length: {}}", "flag"), "needs at least one measure"},
      {OneRule("{length: {words: 3}}", "flag"), "test.yaml:5:"},
      {OneRule("{shape: {non_letters: 100}}", "flag"), "test.yaml:5:"},
      {OneRule("{request: all}", "flag"), "test.yaml:5:"},
      {OneRule("{request: any}", "flag", "    where: {direction: output}\n"), "'request' judges prompts"},
      {OneRule("{request: any, decode: both}", "flag"), "'decode' says nothing for request"},
      {OneRule("{request: any}", "flag", "    unless: {keywords: x}\n"), "'unless' exempts what has a place"},
      {OneRule("{keywords: x}", "flag", "    unless: {request: any}\n"), "'unless' needs what has a place"},
      {OneRule("{request: any}", "append_system"), "write do: {append_system: Answer in English.}"},
      {OneRule("{request: any}", "{append_system: ''}"), "'append_system' is 1 to 4096 bytes"},
      {OneRule("{request: any}", "{route: a, append_system: b}"), "'do' has exactly one action"},
      {OneRule("{request: any}", "{route: [a]}"), "test.yaml:6:"},
      {OneRule("{keywords: x}", "{route: a}", "    where: {direction: both}\n"), "'do: route' acts before a model does"},
      {OneRule("{keywords: x}", "{rate_limit: {requests: 0, per: hour, by: key}}"), "test.yaml:6:"},
      {OneRule("{keywords: x}", "{rate_limit: {requests: 1, per: week, by: key}}"), "test.yaml:6:"},
      {OneRule("{keywords: x}", "{rate_limit: {requests: 1, per: hour}}"), "'by' is missing; 'rate_limit' needs requests, per and by"},
      {OneRule("{keywords: x}", "{terms: rules}"), "as in acceptable-use@3"},
      {OneRule("{keywords: x}", "{terms: rules@1@2}"), "as in acceptable-use@3"},
      {OneRule("{keywords: x}", "{approval: {minutes: 0}}"), "test.yaml:6:"},
      {OneRule("{keywords: x}", "{approval: {}}"), "for one request write do: approval"},
      {OneRule("{keywords: x}", "terms"), "write do: {terms: acceptable-use@3}"},
      {OneRule("{keywords: x}", "justification", "    replacement: y\n"), "'replacement' is for actions that change a span"},
  };
  for (const Row& row : rows) CHECK_THAT(CompileError(row.yaml), Catch::Matchers::ContainsSubstring(row.error));
}

TEST_CASE("Actions on the request come with the verdict, and `unless` takes them back") {
  const auto policies = MustCompile(OneRule("{keywords: falcon}", "{route: small}", "    unless: {keywords: project falcon}\n"));
  const Message hit = Said(Role::kUser, "a falcon"), exempt = Said(Role::kUser, "project falcon");
  const auto out = policies->Inspect({}, {&hit, 1});
  REQUIRE(out.ok());
  CHECK(out->verdict.action == Action::kFlag);
  CHECK(out->verdict.rules[0].effect == Effect{Effect::Kind::kRoute, "small"});
  CHECK_FALSE(out->changed);
  CHECK(policies->Inspect({}, {&exempt, 1})->verdict.rules.empty());
}

TEST_CASE("What a rule appends stands at the end of the last system message, or is one") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n"
      "  - {id: a, detect: {request: any}, do: {append_system: Be kind.}}\n"
      "  - {id: b, detect: {keywords: tax}, do: {append_system: Give no tax advice.}}\n"
      "  - {id: c, detect: {keywords: bomb}, do: block}\n");
  const auto used = [&](std::vector<Message> prompt) {
    const auto out = policies->Inspect({}, prompt);
    REQUIRE(out.ok());
    std::string text;
    for (const Message& message : out->prompt) {
      text += std::string(RoleName(message.role)) + ":";
      for (const std::string& part : message.parts) text += part;
      text += "|";
    }
    return text;
  };
  CHECK(used({Said(Role::kUser, "hi")}) == "system:Be kind.|user:hi|");
  CHECK(used({Said(Role::kSystem, "Short."), Said(Role::kUser, "my tax")}) ==
        "system:Short.\n\nBe kind.\n\nGive no tax advice.|user:my tax|");
  CHECK(used({Said(Role::kSystem, "A"), Said(Role::kUser, "x"), Said(Role::kSystem, ""), Said(Role::kUser, "y")}) ==
        "system:A|user:x|system:Be kind.|user:y|");
  CHECK(used({Said(Role::kUser, "tax bomb")}) == "user:tax bomb|");
}

TEST_CASE("Explain and lint know what judges a whole prompt") {
  const PolicySource source{"t.yaml",
                            "version: 1\nname: t\nrules:\n"
                            "  - {id: long, detect: {length: {characters: 5}}, do: block, because: Too long., tests: [{text: 123456}, "
                            "{text: '1', expect_not: long}]}\n"
                            "  - {id: tone, detect: {request: any}, do: {append_system: Be kind.}}\n"};
  const auto explained = Explain({&source, 1}, {}, {"hello world"});
  REQUIRE(explained.ok());
  CHECK(explained->rules[0].state == RuleStory::State::kHit);
  CHECK(explained->rules[0].why == "the text has 11 characters, and more than 5 count");
  CHECK(explained->rules[1].why == "it acts on any request");
  const auto small = Explain({&source, 1}, {}, {"hi"});
  CHECK(small->rules[0].state == RuleStory::State::kNoMatch);
  CHECK(small->result == "hi");
  const auto lint = Lint({&source, 1}, {});
  REQUIRE(lint.ok());
  const auto has = [&](const std::string& rule, const std::string& check) {
    return std::any_of(lint->remarks.begin(), lint->remarks.end(),
                       [&](const LintRemark& r) { return r.rule_id == rule && r.check == check; });
  };
  CHECK(has("long", "always-on"));
  CHECK_FALSE(has("tone", "always-on"));
}

TEST_CASE("A rule about replies alone judges their code and their language, once they are whole") {
  const std::string german =
      "K\u00f6nnen Sie mir bitte die Rechnung f\u00fcr den letzten Monat schicken? Ich habe sie noch nicht erhalten.";
  const std::string english = "Could you please send me the invoice of last month? I have not received it so far.";
  const std::string code = "int main() {\n  return 0;\n}\n";
  struct Row {
    const char* detect;
    std::string hit, miss;
  };
  const Row rows[] = {{"{code: {lines: 2}}", "Here it is:\n" + code, "Here it is:\n  return 0;\n"},
                      {"{language: {is_not: en}}", english + "\n" + german, english},
                      {"{language: {is: [fr, de]}}", german, english},
                      {"{language: {is: de, letters: 200}}", german + "\n" + german + "\n" + german, german}};
  const std::string where = "    where: {direction: output}\n";
  for (const Row& row : rows) {
    INFO(row.detect);
    const auto policies = MustCompile(OneRule(row.detect, "block", where));
    const Filtered hit = MustFilter(*policies, row.hit), miss = MustFilter(*policies, row.miss);
    CHECK(hit.withheld);
    CHECK(hit.text.empty());
    REQUIRE(hit.verdict.rules.size() == 1);
    CHECK(hit.verdict.rules[0].spans.empty());
    CHECK(miss.text == row.miss);
    CHECK(miss.verdict.rules.empty());
    CHECK(MustFilter(*policies, "").verdict.rules.empty());
    CHECK_FALSE(Hits(row.detect, {Said(Role::kUser, row.hit), Said(Role::kAssistant, row.hit)}, where));  // Prompts are for other rules.
    const auto questions = policies->QuestionsOfOutput({});
    REQUIRE(questions.size() == 1);
    CHECK(questions[0].hold);
    REQUIRE(questions[0].shape != nullptr);
    CHECK(std::string_view(questions[0].detector()) == (std::string_view(row.detect).starts_with("{code") ? "code" : "language"));
    CHECK(questions[0].shape->Breaks(row.hit) == questions[0].detector());
    CHECK(questions[0].shape->Breaks(row.miss).empty());
    CHECK(questions[0].shape->MayBecome(row.hit));
    CHECK(MustCompile(OneRule(row.detect, "flag", where))->FilterWhole({}, row.hit)->text == row.hit);
  }
}

TEST_CASE("A rule about the code or the language of replies says what it looks at, and carries tests") {
  const auto policies = MustCompile(R"(version: 1
name: t
rules:
  - id: thoughts
    where: {direction: output, parts: reasoning}
    detect: {code: {lines: 0}, stream: observe}
    do: flag
  - id: english
    where: {direction: output}
    detect: {language: {is_not: en}}
    do: block
    tests:
      - text: Pouvez-vous m'envoyer la facture du mois dernier avant la réunion ?
        result: ""
      - {text: 'Could you please send me the invoice of last month?', expect_not: english}
)");
  CHECK(policies->Describe()[1].detect == "language is not en");
  const auto questions = policies->QuestionsOfOutput({}, {Part::kReasoning});
  REQUIRE(questions.size() == 1);
  CHECK(questions[0].rule_id == "thoughts");
  CHECK_FALSE(questions[0].hold);
  const PolicySource source{"t", OneRule("{code: {lines: 0}}", "flag", "    where: {direction: output}\n")};
  const auto told = Explain({&source, 1}, {}, {"int main() {\n  return 0;\n}", true, Role::kAssistant});
  REQUIRE(told.ok());
  CHECK(told->rules[0].state == RuleStory::State::kHit);
  CHECK(told->rules[0].why == "the text has 3 code lines, and more than 0 count");
  const std::string where = "    where: {direction: output}\n";
  const std::pair<std::string, const char*> wrong[] = {
      {OneRule("{length: {characters: 3}}", "flag", where), "'length' judges prompts; leave 'direction' out"},
      {OneRule("{code: {lines: 1}}", "redact", where), "finds no span"},
      {OneRule("{code: {lines: 1}, at: sentence}", "flag", where), "'at' is for external detectors"},
      {OneRule("{code: {lines: 1}, stream: hold}", "flag"), "'stream' is for"},
      {OneRule("{code: {lines: 1}}", "justification", "    where: {parts: reasoning}\n"), "'code' judges prompts"},
      {OneRule("{code: {lines: 1}}", "block", where + "    unless: {keywords: x}\n"), "judges the whole reply"},
      {OneRule("{code: {lines: 1}}", "block", where + "    retry: 2\n"), "'retry' is for what has a place"}};
  for (const auto& [yaml, error] : wrong) CHECK_THAT(CompileError(yaml), Catch::Matchers::ContainsSubstring(error));
}

TEST_CASE("A rule about code or language that says both judges prompts and replies, each by what it sees of them") {
  const std::string code = "int main() {\n  return 0;\n}\n", prose = "Return the form by Monday; thank you.";
  const std::string both = "    where: {direction: both}\n";
  for (const char* action : {"block", "flag"}) {
    const auto policies = MustCompile(OneRule("{code: {lines: 2}}", action, both));
    CHECK(policies->Describe()[0].where == "both");
    CHECK(Hits("{code: {lines: 2}}", {Said(Role::kUser, code)}, both));
    CHECK_FALSE(Hits("{code: {lines: 2}}", {Said(Role::kUser, prose)}, both));
    const Message prompt[] = {Said(Role::kUser, code)};
    const auto inspection = policies->Inspect({}, prompt);
    REQUIRE(inspection.ok());
    CHECK(inspection->questions.empty());  // What judges replies is not asked about prompts.
    CHECK(inspection->verdict.rules.size() == 1);
    const Filtered hit = MustFilter(*policies, code);
    CHECK(hit.withheld == (std::string_view(action) == "block"));
    CHECK(hit.verdict.rules.size() == 1);
    CHECK(MustFilter(*policies, prose).verdict.rules.empty());
    // A reply's text waits for its end; its reasoning is not judged, and does not wait.
    REQUIRE(policies->QuestionsOfOutput({}).size() == 1);
    CHECK(policies->QuestionsOfOutput({})[0].hold);
    CHECK(policies->QuestionsOfOutput({}, {Part::kReasoning}).empty());
  }
  // Without a direction, or where the roles or the action leave replies out, nothing of a reply waits.
  for (const std::string where : {"", "    where: {team: a}\n", "    where: {roles: [user]}\n", "    where: {direction: input}\n"})
    CHECK(MustCompile(OneRule("{language: {is_not: en}}", "block", where))->QuestionsOfOutput({.team = "a"}).empty());
  CHECK(MustCompile(OneRule("{code: {lines: 2}}", "{route: coder}"))->QuestionsOfOutput({}).empty());
  CHECK_THAT(CompileError(OneRule("{code: {lines: 2}}", "{route: coder}", both)),
             Catch::Matchers::ContainsSubstring("leave 'direction' out"));
  CHECK(MustCompile(OneRule("{length: {messages: 2}}", "block", both))->QuestionsOfOutput({}).empty());  // Of prompts alone, as it was.
  CHECK_FALSE(MustCompile(OneRule("{code: {lines: 2}, stream: observe}", "block", both))->QuestionsOfOutput({})[0].hold);
}

TEST_CASE("A rule that says both is tested and explained in both directions, and lint says what it holds") {
  const std::string yaml = R"(version: 1
name: t
rules:
  - id: r
    where: {direction: both}
    detect: {code: {lines: 1}}
    do: block
    because: No code.
    tests:
      - text: "int main() {\n  return 0;\n}"
      - {text: "int main() {\n  return 0;\n}", direction: output, result: ""}
      - {text: Good morning., expect_not: r}
      - {text: Good morning., direction: output, expect_not: r, result: Good morning.}
)";
  MustCompile(yaml);
  const PolicySource source{"t", yaml};
  for (const bool output : {false, true}) {
    const auto told = Explain({&source, 1}, {}, {"int main() {\n  return 0;\n}", output, Role::kUser});
    REQUIRE(told.ok());
    CHECK(told->rules[0].state == RuleStory::State::kHit);
    CHECK(told->rules[0].why == "the text has 3 code lines, and more than 1 count");
    CHECK(told->verdict.action == Action::kBlock);
  }
  const auto thought = Explain({&source, 1}, {}, {"x", true, Role::kAssistant, {Part::kReasoning}});
  CHECK(thought->rules[0].why == "its parts do not include reasoning, which this is");
  const auto holds = [](const std::string& detect, const std::string& where) {
    const PolicySource one{"t", OneRule(detect, "block", where)};
    const auto report = Lint({&one, 1}, {});
    REQUIRE(report.ok());
    return std::any_of(report->remarks.begin(), report->remarks.end(), [](const LintRemark& remark) {
      return remark.check == "hold" && remark.message.find("holds every reply to its end") != std::string::npos;
    });
  };
  CHECK(holds("{code: {lines: 1}}", "    where: {direction: both}\n"));
  CHECK_FALSE(holds("{code: {lines: 1}, stream: observe}", "    where: {direction: both}\n"));
  CHECK_FALSE(holds("{code: {lines: 1}}", ""));
}

TEST_CASE("The arguments of a call are judged as their reader sees them, in tests, explanations and whole replies alike") {
  const std::string where = "    where: {direction: output, tool: run}\n";
  const std::string escaped = R"({"source":"\nimport os\ndef f(x):\n    return x + 1\ndef g(x):\n    return f(x)\n"})";
  const std::string german = R"({"q":"K\u00f6nnen Sie mir bitte die Rechnung f\u00fcr den letzten Monat schicken?"})";
  const std::string hidden = R"({"to":"b\u006fb@example.com","n":1})";
  struct Row {
    const char *detect, *action;
    std::string arguments, result;
    bool hit;
  };
  const Row rows[] = {{"{code: {lines: 2}}", "block", escaped, "", true},
                      {"{code: {lines: 2}}", "flag", escaped, escaped, true},
                      {"{language: {is: de}}", "block", german, "", true},
                      {"{personal_data: email}", "redact", hidden, R"({"to":"[EMAIL]","n":1})", true},
                      {"{personal_data: email}", "block", hidden, "", true},
                      {"{not_json: any}", "block", escaped, escaped, false},
                      {"{not_json: any}", "block", "import os\n", "", true}};
  for (const Row& row : rows) {
    INFO(row.detect << row.arguments);
    const PolicySource source{"t", OneRule(row.detect, row.action, where)};
    const auto policies = MustCompile(source.yaml);
    const Channel channel{Part::kToolCall, "run"};
    const auto whole = policies->FilterWhole({}, row.arguments, channel);
    REQUIRE(whole.ok());
    CHECK(whole->text == row.result);
    CHECK(whole->verdict.rules.size() == (row.hit ? 1U : 0U));
    const auto told = Explain({&source, 1}, {}, {row.arguments, true, Role::kAssistant, channel});
    REQUIRE(told.ok());
    CHECK((told->rules[0].state == RuleStory::State::kHit) == row.hit);
    CHECK(told->result == row.result);
    CHECK(told->verdict == whole->verdict);
    CHECK(told->judged.empty() == (row.arguments.find('\\') == std::string::npos));
    if (!told->found.empty()) CHECK(told->judged.substr(7, 15) == "bob@example.com");
    if (!told->found.empty()) CHECK(told->found[0].begin == 7);
    std::string test = where + "    tests:\n      - text: '" + row.arguments + "'\n        result: '" + row.result + "'\n";
    if (!row.hit) test += "        expect_not: r\n";
    if (row.arguments.find('\n') == std::string::npos) MustCompile(OneRule(row.detect, row.action, test));
  }
  // The same in a prompt that carries the call along.
  const std::string prompt = "    where: {direction: input, parts: tool_calls}\n    tests:\n      - {text: '" + hidden +
                             "', spans: bob@example.com, result: '{\"to\":\"[EMAIL]\",\"n\":1}'}\n";
  MustCompile(OneRule("{personal_data: email}", "redact", prompt));
}

}  // namespace tollgate::policy
