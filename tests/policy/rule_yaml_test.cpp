#include "policy/explain.h"
#include "policy/lint.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

const std::string kHead = "version: 1\nname: t\nrules:\n";

}  // namespace

TEST_CASE("A policy that is wrong is refused with line, column and remedy") {
  struct Row {
    std::string yaml, says;
  };
  const std::string detect = "    detect: {keywords: [x]}\n", act = "    do: block\n", id = "  - id: a\n";
  const Row rows[] = {
      {"", "test.yaml:1:1: the policy is empty"},
      {"rules: [", "test.yaml:1:1: not well-formed YAML"},
      {"- a", "test.yaml:1:1: a policy is a mapping"},
      {kHead + id + detect + act + "---\nversion: 1\nname: u\nrules: []\n", "test.yaml:7:1: a second document begins here"},
      {kHead + id + detect + act + "---  # file: lists/rivals.txt\nglobex\n", "test.yaml:7:1: a second document begins here"},
      {"version: 1\nname: t\n", "test.yaml:1:1: 'rules' is missing"},
      {"version: 2\nname: t\nrules: []\n", "test.yaml:1:10: 'version' is a whole number from 1 to 1"},
      {"version: 1\nname: t\nrules: 5\n", "test.yaml:3:8: 'rules' is a list"},
      {"version: 1\nname: t\nrule: []\n", "test.yaml:3:1: unknown field 'rule'; did you mean 'rules'?"},
      {"version: 1\nversion: 1\nname: t\nrules: []\n", "test.yaml:2:1: 'version' is given twice"},
      {kHead + id + "    detct: {}\n" + act, "test.yaml:5:5: unknown field 'detct'; did you mean 'detect'?"},
      {kHead + id + detect, "test.yaml:4:5: 'do' is missing"},
      {kHead + "  - id: A b\n" + detect + act, "test.yaml:4:9: 'id' is 1 to 64 of"},
      {kHead + id + detect + "    do: delete\n", "test.yaml:6:9: 'do' is one of allow, flag, redact, block"},
      {kHead + id + "    detect: {}\n" + act, "test.yaml:5:13: 'detect' has exactly one of"},
      {kHead + id + "    detect: {keywords: [x], regex: x}\n" + act, "'detect' has exactly one of"},
      {kHead + id + "    detect: {keywords: []}\n" + act, "test.yaml:5:24: 'keywords' is a value or a list"},
      {kHead + id + "    detect: {keywords: ['  ']}\n" + act, "test.yaml:5:25: a keyword is 1 to 256 bytes"},
      {kHead + id + "    detect: {keywords: [x], whole_word: maybe}\n" + act, "'whole_word' is one of false, true"},
      {kHead + id + "    detect: {regex: x, whole_word: true}\n" + act, "in a regex write \\b"},
      {kHead + id + "    detect: {secrets: jwt, ignore_case: true}\n" + act, "'ignore_case' is for keywords and regex"},
      {kHead + id + "    detect: {personal_data: emial}\n" + act,
       "test.yaml:5:29: unknown personal_data detector 'emial'; did you mean 'email'?"},
      {kHead + id + "    detect: {secrets: zzz}\n" + act, "there are all, aws_access_key"},
      {kHead + id + "    detect: {list: rivals}\n" + act, "there is no list 'rivals'; write it under 'lists' of this file"},
      {"version: 1\nname: t\nlists: {rivals: [x]}\nrules:\n" + id + "    detect: {list: rival}\n" + act, "did you mean 'rivals'?"},
      {"version: 1\nname: t\nlists: {rivals: []}\nrules: []\n", "test.yaml:3:17: 'keywords' is a value or a list"},
      {"version: 1\nname: t\nlists: {R V: [x]}\nrules: []\n", "test.yaml:3:9: a list's name is 1 to 64 of"},
      {"version: 1\nname: t\nlists: {a: [x], a: [y]}\nrules: []\n", "a second list 'a'"},
      {kHead + id + "    detect: {regex: 'a(b'}\n" + act, "test.yaml:5:21: regex: at character 4: a group is not closed; add ')'"},
      {kHead + id + "    detect: {regex: 'a*?'}\n" + act, "lazy quantifiers are not supported"},
      {kHead + id + "    detect: {regex: 'a+'}\n" + act, "set `cap: BYTES`"},
      {kHead + id + "    detect: {regex: ['a', 'b*']}\n" + act, "test.yaml:5:27: regex: the pattern matches the empty text"},
      {kHead + id + "    detect: {regex: 'a+'}\n    cap: 5\n" + act, "test.yaml:6:10: 'cap' is a whole number from 16 to 8192"},
      {kHead + id + "    detect: {regex: 'a'}\n    cap: 50\n" + act, "needs no `cap`"},
      {kHead + id + detect + "    cap: 50\n" + act, "'cap' is for an unbounded regex"},
      {kHead + id + detect + act + "    replacement: x\n", "'replacement' is for 'do: redact'"},
      {kHead + id + detect + act + "    severity: huge\n", "'severity' is one of info"},
      {kHead + id + detect + act + "    because: ''\n", "'because' is a sentence"},
      {kHead + id + detect + act + "    where: {tema: x}\n", "test.yaml:7:13: unknown field 'tema'; did you mean 'team'?"},
      {kHead + id + detect + act + "    where: {direction: in}\n", "'direction' is one of both, input, output"},
      {kHead + id + detect + act + "    where: {roles: [user, bot]}\n", "'roles' is one of system"},
      {kHead + id + detect + act + "    where: {direction: output, roles: user}\n", "output is written by the assistant"},
      {kHead + id + detect + act + "    where: {direction: both, roles: [user]}\n",
       "test.yaml:7:24: 'both' is output too, and nothing there is what 'roles', 'parts' and 'tool' say; write input"},
      {kHead + id + detect + act + "    where: {direction: both, parts: tool_results}\n", "write input, or let them say more"},
      {kHead + id + detect + act + "    where: {direction: both, parts: reasoning}\n", "'both' is input too"},
      {kHead + id + detect + act + "    where: [x]\n", "'where' is a mapping with the fields direction, roles"},
      {kHead + id + detect + act + "    tests: {text: x}\n", "'tests' is a list"},
      {kHead + id + detect + act + "    tests:\n      - expect: a\n", "test.yaml:8:9: 'text' is missing"},
      {kHead + id + detect + act + "    tests:\n      - text: y\n",
       "test.yaml:8:9: a test of rule 'a' fails: 'a' was expected to hit and did not; mend the rule or the test"},
      {kHead + id + detect + act + "    tests:\n      - {text: x, expect_not: a}\n", "'a' hit and was not expected to"},
      {kHead + id + detect + act + id + detect + act, "test.yaml:7:5: a second rule with id 'a'"},
  };
  for (const Row& row : rows) {
    const std::string error = CompileError(row.yaml);
    INFO(error);
    INFO("expected: " << row.says);
    CHECK(error.find(row.says) != std::string::npos);
  }
}

TEST_CASE("What begins no document does not keep the reader for ever") {
  for (const std::string& text :
       {std::string("}"), std::string("]\n"), kHead + "}\n", std::string("lists: !{a: b} c}\n"), std::string(", a")}) {
    INFO(text);
    CHECK(CompileError(text).starts_with("test.yaml:"));
  }
}

TEST_CASE("Lines --- with nothing behind or before them are no second document") {
  const std::string rule = kHead + "  - {id: a, detect: {keywords: [x]}, do: block}\n";
  for (const std::string& text : {"---\n" + rule, rule + "---\n", "# by us\n---\n---\n" + rule + "...\n--- # the end\n"}) {
    const auto policies = MustCompile(text);
    CHECK(policies->Describe().size() == 1);
  }
}

TEST_CASE("Ids are unique over all sources together") {
  const std::vector<PolicySource> sources = {{"one", OneRule("{keywords: x}", "flag")}, {"two", OneRule("{keywords: y}", "flag")}};
  const auto compiled = PolicySet::Compile(sources);
  REQUIRE_FALSE(compiled.ok());
  CHECK(base::Message(compiled.status()).starts_with("two:4:5: a second rule with id 'r'"));
}

TEST_CASE("Tests that ship with a rule run in its own scope, in both directions") {
  MustCompile(
      OneRule("{keywords: x}", "redact",
              "    where: {team: [search], roles: [tool, assistant]}\n    tests:\n      - {text: a x b, result: 'a [REDACTED] b'}\n"
              "      - {text: a x b, direction: output, result: 'a [REDACTED] b'}\n      - {text: a x, role: user, expect_not: r}\n"));
  const std::string error = CompileError(OneRule("{keywords: x}", "redact", "    tests:\n      - {text: a x b, result: 'a b'}\n"));
  CHECK(error.find("the text that comes out is \"a [REDACTED] b\"") != std::string::npos);
}

TEST_CASE("Hostile YAML is refused or bounded") {
  CHECK(CompileError(std::string(9 << 20, '#')).find("at most 8 MiB") != std::string::npos);
  CHECK_FALSE(CompileError(std::string(20'000, '[')).empty());
  CHECK_FALSE(CompileError(kHead + std::string(5'000, ' ') + "- " + std::string(3'000, '{')).empty());
  CHECK_FALSE(CompileError("version: 1\nname: &a [*a]\nrules: []\n").empty());
  CHECK_FALSE(CompileError(std::string("version: 1\nname: t\nrules: []\n\0\x01\x02", 33)).empty());
}

TEST_CASE("A named list is shared by rules, each with its own way of comparing") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nlists: {rivals: [Globex, initech], more: hooli}\nrules:\n"
      "  - {id: a, detect: {list: [rivals, more]}, do: redact}\n"
      "  - {id: b, detect: {list: rivals, whole_word: false, ignore_case: false}, do: flag}\n");
  CHECK(MustFilter(*policies, "globex, Hooli and xGlobexx").text == "[REDACTED], [REDACTED] and xGlobexx");
  CHECK(MustFilter(*policies, "globex").verdict.rules.size() == 1);
  CHECK(MustFilter(*policies, "xGlobexx").verdict.rules.size() == 1);
}

TEST_CASE("What a rule's `unless` finds is exempt from that rule alone, in whole texts and in streams") {
  const auto policies = MustCompile(R"(version: 1
name: t
rules:
  - id: mail
    detect: {personal_data: email}
    unless: {regex: '[a-z.]{1,40}@acme\.example'}
    do: redact
    tests:
      - text: help@acme.example or bob@example.com
        result: help@acme.example or [EMAIL]
      - text: help@acme.example
        expect_not: mail
  - id: host
    detect: {keywords: acme.example}
    do: flag
  - id: falcon
    detect: {keywords: falcon}
    unless: {keywords: peregrine falcon}
    do: block
)");
  CHECK(policies->Describe().size() == 3);
  CHECK(policies->Describe()[0].detect == "personal_data: email, unless regex [a-z.]{1,40}@acme\\.example");
  const std::string text = "ask help@acme.example, not eve@example.com, of a peregrine falcon or a falcon";
  const Filtered whole = MustFilter(*policies, text);
  CHECK(whole.text == "ask help@acme.example, not [EMAIL], of a peregrine falcon or a ");
  REQUIRE(whole.verdict.rules.size() == 3);
  CHECK(whole.verdict.rules[0].count == 1);
  CHECK(whole.verdict.rules[1].rule_id == "host");
  for (std::size_t points = 1; points < 9; ++points) CheckStream(*policies, text, whole, [&] { return points; });
  CHECK(CompileError(OneRule("{keywords: a}", "allow", "    unless: {keywords: b}\n")) ==
        "test.yaml:7:13: 'unless' is for rules that act; narrow what this one allows instead");
  CHECK(CompileError(OneRule("{keywords: a}", "flag", "    unless: {keyword: b}\n")) ==
        "test.yaml:7:14: unknown field 'keyword'; did you mean 'keywords'?");
}

TEST_CASE("Explain and lint tell of what is written anew") {
  const PolicySource source{"house", OneRule("{keywords: globex}", "block",
                                             "    retry: 5\n    because: No.\n    tests: [{text: globex}, {text: a, expect_not: r}]\n")};
  const auto told = Explain({&source, 1}, {}, {"ask globex", true, Role::kAssistant});
  REQUIRE(told.ok());
  CHECK(told->found[0].became == "is written anew up to 5 times, and if it is found once more ends the reply before it");
  const auto report = Lint({&source, 1}, {});
  REQUIRE(report.ok());
  REQUIRE(!report->remarks.empty());
  for (const LintRemark& remark : report->remarks) CHECK(remark.check == "slow");  // Of this machine too, when others use it.
}

TEST_CASE("A rule may have what it finds written anew, where that can be") {
  const auto set = MustCompile(OneRule("{keywords: globex}", "block", "    retry: 3\n"));
  CHECK(set->retries().at("r") == 3);
  CHECK(MustCompile(OneRule("{keywords: globex}", "block"))->retries().empty());
  const std::pair<const char*, const char*> rows[] = {
      {"detect: {keywords: a}, do: flag, retry: 2", "'retry' comes before a block or a redaction"},
      {"detect: {keywords: a}, do: allow, retry: 2", "'retry' comes before a block or a redaction"},
      {"detect: {keywords: a}, do: justification, retry: 2", "'retry' comes before a block or a redaction"},
      {"detect: {keywords: a}, do: block, retry: 9", "retry"},
      {"detect: {keywords: a}, do: block, retry: 0", "retry"},
      {"where: {direction: input}, detect: {keywords: a}, do: block, retry: 1", "'retry' is for replies"},
      {"detect: {keywords: a}, do: pseudonymise, retry: 1", "'retry' is for replies"},
      {"detect: {external: a}, do: block, retry: 1", "'retry' is for what has a place in the text"},
      {"detect: {length: {characters: 3}}, do: block, retry: 1", "'retry' is for what has a place in the text"}};
  for (const auto& [rule, error] : rows) {
    INFO(rule);
    const std::string said = CompileError(std::string("version: 1\nname: t\nrules:\n  - {id: r, ") + rule + "}\n");
    CHECK(said.find(error) != std::string::npos);
    CHECK(said.starts_with("test.yaml:4:"));
  }
}

}  // namespace tollgate::policy
