// Rules that ask others: what they may say in YAML, what they ask, and what the answers make of a verdict.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/explain.h"
#include "policy/lint.h"
#include "policy/policy_set.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

constexpr const char* kTwo = R"(version: 1
name: house
rules:
  - id: toxic
    where: {direction: input, roles: [user, tool]}
    detect: {external: toxicity, least_score: 80}
    do: block
    because: It is not kind.
  - id: off-topic
    where: {direction: output, team: search}
    detect: {external: topics, at: 40 tokens, stream: observe, on_error: allow}
    do: flag
)";

struct Row {
  const char* rule;
  const char* error;
};

TEST_CASE("An external detector's rule is refused with place and remedy") {
  const auto row = GENERATE(values<Row>(
      {{"detect: {external: 'a b'}, do: block", "4:32: 'external' is the name of a detector under `detectors` of tollgate.yaml"},
       {"detect: {external: a}, do: redact", "can be flagged or blocked"},
       {"detect: {external: a}, do: {route: big}", "can be flagged or blocked"},
       {"detect: {external: a, regex: b}, do: block", "has exactly one of"},
       {"detect: {external: a, at: noon}, do: block", "'at' is end, sentence, or a number of tokens"},
       {"detect: {external: a, at: 0 tokens}, do: block", "'at' is end, sentence, or a number of tokens"},
       {"detect: {external: a, stream: wait}, do: block", "hold"},
       {"detect: {external: a, on_error: ignore}, do: block", "block"},
       {"detect: {external: a, least_score: 101}, do: block", "least_score"},
       {"where: {direction: input}, detect: {external: a, stream: hold}, do: block", "'stream' is for replies"},
       {"detect: {regex: a, on_error: allow}, do: block", "'on_error' is for external detectors, guard models and topics"},
       {"detect: {external: a, decode: both}, do: block", "'decode' says nothing for external"},
       {"detect: {external: a}, unless: {keywords: b}, do: block", "'unless' says nothing for an external detector"},
       {"detect: {external: a}, tests: [{text: b}], do: block", "'tests' says nothing for an external detector"}}));
  const PolicySource source{"house", std::string("version: 1\nname: house\nrules:\n  - {id: x, ") + row.rule + "}\n"};
  const auto compiled = PolicySet::Compile({&source, 1});
  REQUIRE_FALSE(compiled.ok());
  CHECK_THAT(base::Message(compiled.status()), ContainsSubstring("house:4:") && ContainsSubstring(row.error));
}

TEST_CASE("A rule asks about the messages of its roles, within its scope and direction") {
  const auto policies = MustCompile(kTwo);
  const std::vector<Message> prompt = {{Role::kSystem, "", {"be kind"}}, {Role::kUser, "", {"hi"}}, {Role::kTool, "", {"42"}}};
  const auto inspected = policies->Inspect({}, prompt);
  REQUIRE(inspected.ok());
  REQUIRE(inspected->questions.size() == 1);
  const Question& question = inspected->questions[0];
  CHECK(question.rule_id == "toxic");
  CHECK(question.detector() == std::string("external"));
  CHECK(question.name == "toxicity");
  CHECK(question.messages == std::vector<std::uint32_t>{1, 2});
  CHECK(policies->Inspect({}, std::vector<Message>{prompt[0]})->questions.empty());
  CHECK(policies->QuestionsOfOutput({}).empty());
  const auto output = policies->QuestionsOfOutput({"acme", "search"});
  REQUIRE(output.size() == 1);
  CHECK(output[0].at == Question::At::kTokens);
  CHECK(output[0].tokens == 40);
  CHECK_FALSE(output[0].hold);
}

TEST_CASE("A prompt that is blocked already asks nobody") {
  const auto policies = MustCompile(std::string(kTwo) + "  - {id: codename, detect: {keywords: bluebird}, do: block}\n");
  const auto inspected = policies->Inspect({}, std::vector<Message>{{Role::kUser, "", {"bluebird"}}});
  REQUIRE(inspected.ok());
  CHECK(inspected->verdict.action == Action::kBlock);
  CHECK(inspected->questions.empty());
}

TEST_CASE("Answers act above the least score, failures as the rule says, and what was not scanned is said") {
  const auto policies = MustCompile(kTwo);
  const Question block{"toxic", "toxic", "toxicity", {0}}, flag{"off-topic", "off-topic", "topics", {}};
  const auto decide = [&](const Question& question, const Answer& answer) {
    const auto verdict = policies->Decide({}, {&question, 1}, {&answer, 1});
    REQUIRE(verdict.ok());
    return *verdict;
  };
  const Verdict hit = decide(block, {"toxic", true, "", 900'000, {{0, "text", 3, 9}}});
  CHECK(hit.action == Action::kBlock);
  CHECK(hit.rules[0].because == "It is not kind.");
  CHECK(hit.rules[0].spans.empty());  // They are of the text that was asked about, not of the prompt as it came.
  CHECK(hit.not_scanned.empty());
  CHECK(decide(block, {"toxic", true, "", 799'999}).action == Action::kAllow);
  CHECK(decide(block, {"toxic", false, "", 900'000}).action == Action::kAllow);
  const Verdict closed = decide(block, {"toxic", false, "away"});
  CHECK(closed.action == Action::kBlock);
  CHECK(closed.not_scanned == std::vector<std::string>{"external toxicity (toxic)"});
  const Verdict open = decide(flag, {"off-topic", false, "away"});
  CHECK(open.action == Action::kAllow);
  CHECK(open.rules.empty());
  CHECK(open.not_scanned == std::vector<std::string>{"external topics (off-topic)"});
}

TEST_CASE("Such a rule changes nothing by itself, and explain and lint say so") {
  const auto policies = MustCompile(kTwo);
  CHECK(policies->FilterWhole({"acme", "search"}, "anything")->text == "anything");
  const PolicySource source{"house", kTwo};
  const auto told = Explain({&source, 1}, {}, {"hello", false, Role::kUser});
  REQUIRE(told.ok());
  CHECK_THAT(told->rules[0].why, ContainsSubstring("toxicity would say"));
  const auto remarks = Lint({&source, 1}, {});
  REQUIRE(remarks.ok());
  CHECK(remarks->remarks.empty());
}

}  // namespace
}  // namespace tollgate::policy
