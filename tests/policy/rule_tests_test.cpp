// The tests that rules carry: what they say passes, and a failing one says what was expected and what came, with places.
#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/policy_tests.h"
#include "policy/rule_yaml.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

constexpr const char* kHead = R"(version: 1
name: t
rules:
  - id: card
    detect: {personal_data: card}
    unless: {keywords: 4111 1111 1111 1111}
    do: mask
    keep_last: 4
  - id: long
    where: {direction: input}
    detect: {length: {characters: 1000}}
    do: flag
  - id: mail
    detect: {personal_data: email}
    do: redact
    tests:
)";

std::string With(const std::string& test) { return std::string(kHead) + "      - " + test + "\n"; }

}  // namespace

TEST_CASE("A test says where its rule hits by what stands there, all of it and in order, or by bytes") {
  for (const char* test : {
           "{text: ask bob@example.com, spans: bob@example.com}",
           "{text: 'eve@example.com, bob@example.com', spans: [eve@example.com, bob@example.com]}",
           "{text: 'eve@example.com, bob@example.com', spans: [[0, 15], bob@example.com], result: '[EMAIL], [EMAIL]'}",
           "{text: 'bob@example.com, bob@example.com', spans: [bob@example.com, [17, 32]]}",
           "{text: 5555 5555 5555 4444 of bob@example.com, spans: {mail: bob@example.com, card: [5555 5555 5555 4444]}}",
           "{text: 5555 5555 5555 4444, spans: {card: 5555 5555 5555 4444}, expect_not: mail}",
           "{text: Büro bob@example.com, direction: output, spans: [[6, 21]]}",
           "{text: '\uFF15555 5555 5555 4444', spans: {card: '\uFF15555 5555 5555 4444'}}",  // A disguise, as it is written.
           "{text: 'x bob%40example.com', spans: bob%40example.com, expect: mail}",          // Encoded, as it is written.
       }) {
    INFO(test);
    MustCompile(With(test));
  }
}

TEST_CASE("A test of a tool's result meets the set in both readings, and its spans are what is written") {
  const auto with = [](const std::string& test) {
    return "version: 1\nname: t\nrules:\n  - id: hidden\n    detect: {unicode: invisible}\n    do: redact\n    tests:\n      - " + test +
           "\n  - {id: card, detect: {regex: '4{4}', as_written: true}, do: redact}\n";
  };
  for (const char* test : {
           R"({part: tool_results, text: '{"note":"pay\u200bpal"}', spans: '\u200b', result: '{"note":"pay[INVISIBLE]pal"}'})",
           R"({part: tool_results, text: '{"a":"\n","n":"4444"}', expect: card, expect_not: hidden, spans: {card: '4444'}})",
           R"({role: tool, text: '{"n":"44\u00344"}', expect_not: hidden, spans: {card: '44\u00344'}, result: '{"n":"[REDACTED]"}'})",
           R"({role: user, text: '{"n":"44\u00344"}', expect_not: [hidden, card]})",
       }) {
    INFO(test);
    MustCompile(with(test));
  }
}

TEST_CASE("A test of a tool's definition or call meets the set as a request's: no system prompt, and JSON with its escapes decoded") {
  const std::string head = "version: 1\nname: t\nrules:\n";
  for (const char* part : {"tool_definitions", "tool_calls"}) {
    INFO(part);
    const std::string where = std::string("where: {direction: input, parts: ") + part + "}";
    MustCompile(head + "  - {id: kind, " + where +
                ", detect: {keywords: falcon}, do: {append_system: Be kind.}, tests: [{text: a falcon, result: a falcon}]}\n");
    MustCompile(head + "  - id: card\n    " + where +
                "\n    detect: {regex: '4{4}', as_written: true}\n    do: replace\n    replacement: '#'\n    tests:\n" +
                R"(      - {text: '{"q":"x 44\u0034\u0034 y"}', result: '{"q":"x # y"}', spans: '4444'})" + "\n" +
                R"(      - {text: 'no json 44\u0034\u0034, 4444', result: 'no json 44\u0034\u0034, #', spans: [[24, 28]]})" + "\n");
  }
}

TEST_CASE("A test that fails says what was expected and what came instead") {
  struct Row {
    const char *test, *says;
  };
  const std::string wrong = "test.yaml:17:9: a test of rule 'mail' fails: ";
  const Row rows[] = {
      {"{text: ask bob@example.com, spans: bob@example}",
       "'mail' was expected to find \"bob@example\" and found \"bob@example.com\" (bytes 4 to 19)"},
      {"{text: ask bob@example.com, spans: [[4, 15]]}",
       "'mail' was expected to find \"bob@example\" (bytes 4 to 15) and found \"bob@example.com\" (bytes 4 to 19)"},
      {"{text: 'eve@example.com, bob@example.com', spans: eve@example.com}",
       "'mail' was expected to find \"eve@example.com\" and found \"eve@example.com\" (bytes 0 to 15), \"bob@example.com\" (bytes 17 to "
       "32)"},
      {"{text: 'eve@example.com, bob@example.com', spans: [bob@example.com, eve@example.com]}", "and found \"eve@example.com\""},
      {"{text: 'bob@example.com, bob@example.com', spans: bob@example.com}", "(bytes 0 to 15), \"bob@example.com\" (bytes 17 to 32)"},
      {"{text: 5555 5555 5555 4444, spans: 5555 5555 5555 4444}", "'mail' was expected to hit and did not"},
      {"{text: 4111 1111 1111 1111, spans: {card: 4111 1111 1111 1111}}", "'card' was expected to hit and did not"},
  };
  for (const Row& row : rows) {
    INFO(row.test);
    const std::string error = CompileError(With(row.test));
    CHECK_THAT(error, ContainsSubstring(wrong) && ContainsSubstring(row.says));
  }
  const std::string text(1001, 'a');
  CHECK_THAT(CompileError(With("{text: " + text + ", spans: {long: aaa}}")),
             ContainsSubstring("'long' hit as a whole, in no place of the text; leave its 'spans' out"));
}

TEST_CASE("Spans that cannot be are refused where they stand") {
  struct Row {
    const char *spans, *says;
  };
  const Row rows[] = {
      {"eve@example.com", "test.yaml:17:44: \"eve@example.com\" does not stand in the test's text"},
      {"[10, 29]",
       "test.yaml:17:45: \"10\" does not stand in the test's text; copy what the rule is to find, or give its bytes as [[10, 29]]"},
      {"[[4, 4]]", "test.yaml:17:45: a span's first byte stands before the one past its last"},
      {"[[4, 20]]", "test.yaml:17:49: 'spans' is a whole number from 0 to 19"},
      {"[[4]]", "test.yaml:17:45: a span is the text that the rule finds"},
      {"[{a: b}]", "test.yaml:17:45: a span is the text that the rule finds"},
      {"''", "test.yaml:17:44: a span is the text that the rule finds"},
      {"[]", "for nothing write expect_not"},
      {"{}", "for nothing write expect_not"},
      {"{mail: []}", "for nothing write expect_not"},
      {"{mail: {card: x}}", "a list of 1 to 64"},
  };
  for (const Row& row : rows) {
    INFO(row.spans);
    CHECK_THAT(CompileError(With(std::string("{text: ask bob@example.com, spans: ") + row.spans + "}")), ContainsSubstring(row.says));
  }
}

TEST_CASE("A test has a token for every four bytes, so that a rule about tokens fails nobody else's tests and has its own") {
  const auto beside = [](const std::string& most) {
    return With("{text: ask bob@example.com, result: 'ask [EMAIL]'}") + "  - id: tokens\n    detect: {length: {tokens: " + most +
           "}}\n    do: block\n";
  };
  MustCompile(beside("4") + "    tests: [{text: Twenty bytes and no.}, {text: Nineteen bytes here, expect_not: tokens}]\n");
  CHECK_THAT(CompileError(beside("3")), ContainsSubstring("'mail' fails: the text that comes out is \"\""));
}

TEST_CASE("Tests of policies together have bounds, in number, bytes and time, and the refusal names the one") {
  std::vector<Rule> rules;
  REQUIRE(
      ReadPolicy({"test.yaml", With("{text: ask bob@example.com}") + "      - {text: eve@example.com, direction: output}\n"}, rules).ok());
  const auto set = PolicySet::Compile({});  // Who runs no test needs no rules.
  const auto refusal = [&](const TestBounds& bounds) { return base::Message(RunRuleTests(**set, rules, bounds)); };
  CHECK_THAT(refusal({.tests = 1}), ContainsSubstring("2 tests together, and may have 1"));
  CHECK_THAT(refusal({.bytes = 33}), ContainsSubstring("34 bytes of text together, and may have 33"));
  CHECK_THAT(refusal({.time = std::chrono::milliseconds(0)}), ContainsSubstring("take more than 0 ms here"));
  const TestBounds enough{.tests = 2, .bytes = 34};
  CHECK_THAT(refusal(enough), ContainsSubstring("'mail' was expected to hit and did not"));  // They ran.

  std::string many = std::string(kHead);
  for (int i = 0; i < 5'001; ++i) many += "      - {text: a@b.example}\n";
  CHECK_THAT(CompileError(many), ContainsSubstring("5001 tests together, and may have 5000"));
  CHECK(PolicySet::Compile(std::vector<PolicySource>{{"test.yaml", many}}, RunTests::kNo).ok());
}

TEST_CASE("Whoever compiles may give up: between policies, between tests and within a long one") {
  const std::vector<PolicySource> sources = {{"test.yaml", With("{text: ask bob@example.com, direction: output}")}};
  int asked = 0, most = 0;
  const auto keep_going = [&]() -> absl::Status { return ++asked > most ? base::Cancelled("nobody waits") : absl::OkStatus(); };
  const auto compile = [&](const std::vector<PolicySource>& all, int times) {
    asked = 0;
    most = times;
    return PolicySet::Compile(all, RunTests::kYes, keep_going).status();
  };
  CHECK(compile(sources, 100).ok());
  const int all = asked;
  CHECK(all >= 4);
  for (int times = 0; times < all; ++times) CHECK(absl::IsCancelled(compile(sources, times)));
  const std::string longer(4'000, 'x');
  CHECK(absl::IsCancelled(compile({{"test.yaml", With("{text: 'bob@example.com " + longer + "', direction: output}")}}, all + 1)));
}

TEST_CASE("Whoever compiles may give up within one long text, and the time of tests ends one, too") {
  // Of such a text the automaton holds no state for long: each byte costs a walk over the pattern.
  std::string text;
  for (std::uint32_t i = 0, x = 1; i < (1u << 20) - 64; ++i) text += (x = x * 1664525 + 1013904223) >> 31 == 0 ? 'a' : 'b';
  std::string yaml = "version: 1\nname: t\nrules:\n";
  for (int i = 0; i < 200; ++i) yaml += fmt::format("- {{id: r{}, detect: {{regex: 'a[ab]{{{}}}c'}}, do: flag}}\n", i, 300 + i);
  yaml += "- {id: r, detect: {regex: 'cc'}, do: flag, tests: [{text: " + text + ", expect_not: r}]}\n";
  const PolicySource source{"test.yaml", yaml};
  int asked = 0;
  bool judging = false;
  const auto untested = [&] { return PolicySet::Compile({&source, 1}, RunTests::kNo, [&] { return ++asked, absl::OkStatus(); }); };
  REQUIRE(untested().ok());
  const int compiling = std::exchange(asked, 0);
  const auto keep_going = [&]() -> absl::Status {
    judging = ++asked > compiling + 20;
    return judging ? base::Cancelled("nobody waits") : absl::OkStatus();
  };
  CHECK(absl::IsCancelled(PolicySet::Compile({&source, 1}, RunTests::kYes, keep_going).status()));
  CHECK(judging);

  std::vector<Rule> rules;
  REQUIRE(ReadPolicy({"test.yaml", yaml}, rules).ok());
  const auto set = untested();
  const auto began = std::chrono::steady_clock::now();
  const absl::Status bounded = RunRuleTests(**set, rules, {.time = std::chrono::milliseconds(300)});
  CHECK_THAT(base::Message(bounded), ContainsSubstring("take more than 300 ms here"));
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(10));  // All of it takes minutes.
}

}  // namespace tollgate::policy
