// What a policy may cost in memory has bounds, whoever writes it and whatever for: each is told with its remedy, and soon.
#include "policy/budget.h"

#include <fmt/format.h>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/explain.h"
#include "policy/lint.h"
#include "policy/program.h"
#include "policy/rule_yaml.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

// `n` times what `make` makes of a number, with commas between.
template <typename Make>
std::string Many(int n, Make&& make) {
  std::string out;
  for (int i = 0; i < n; ++i) out += (i == 0 ? "" : ", ") + std::string(make(i));
  return out;
}

std::string Words(int n) {
  return Many(n, [](int i) { return fmt::format("w{}x", i); });
}

// A policy that begins with `lists`, and has `n` rules with `fields` beside their ids.
std::string Rules(const std::string& lists, int n, const std::string& fields) {
  std::string out = "version: 1\nname: t\n" + lists + "rules:\n";
  for (int i = 0; i < n; ++i) out += fmt::format("- {{id: r{}, {}, do: flag}}\n", i, fields);
  return out;
}

}  // namespace

TEST_CASE("A long list counts in every rule that names it, and once in a rule that names it again and again") {
  const std::string lists = "lists: {a: [" + Words(5000) + "]}\n";
  CHECK_THAT(CompileError(Rules(lists, 300, "detect: {list: a}")),
             ContainsSubstring("test.yaml:") && ContainsSubstring("more than 1000000 keywords and hosts"));
  CHECK_THAT(CompileError(Rules(lists, 300, "detect: {hosts: {list: a}}")), ContainsSubstring("more than 1000000 keywords and hosts"));
  const std::string again = Many(20'000, [](int) { return std::string("a"); });
  const auto policies = MustCompile(Rules(lists, 1, "detect: {list: [" + again + "]}"));
  CHECK(policies->Describe()[0].detect == "5000 keywords");
}

TEST_CASE("What aliases repeat is counted as often as it is read") {
  const std::string keywords = "detect: {keywords: &k [" + Words(5000) + "]}";
  std::string yaml = Rules("", 1, keywords);
  for (int i = 1; i < 300; ++i) yaml += fmt::format("- {{id: s{}, detect: {{keywords: *k}}, do: flag}}\n", i);
  CHECK_THAT(CompileError(yaml), ContainsSubstring("more than 1000000 keywords and hosts"));
  const std::string text = std::string(1 << 20, 'x');
  std::string names = Rules("", 1, "where: {team: [&t " + text + "]}, detect: {keywords: x}");
  for (int i = 1; i < 300; ++i) names += fmt::format("- {{id: s{}, where: {{team: *t}}, detect: {{keywords: x}}, do: flag}}\n", i);
  CHECK_THAT(CompileError(names), ContainsSubstring("with what aliases (*name) repeat"));
  std::string tests = Rules("", 1, "detect: {keywords: x}, tests: &t [" + Many(20'000, [](int) { return "{text: x}"; }) + "]");
  for (int i = 1; i < 300; ++i) tests += fmt::format("- {{id: s{}, detect: {{keywords: x}}, do: flag, tests: *t}}\n", i);
  CHECK_THAT(CompileError(tests), ContainsSubstring("with what aliases (*name) repeat"));
}

TEST_CASE("Regexes count together with the memory that they may come to") {
  const std::string regexes = Many(2500, [](int i) { return fmt::format("x{}z", i); });
  CHECK_THAT(CompileError(OneRule("{regex: [" + regexes + "]}", "flag")),
             ContainsSubstring("too many or too large; join small ones with |"));
  Budget budget;
  REQUIRE(budget.TakeMatcher(Budget::kMatcherBytesMax).ok());
  std::vector<Rule> rules;
  CHECK_FALSE(ReadPolicies(std::array{PolicySource{"t", OneRule("{regex: a}", "flag")}}, rules, budget).ok());
  CHECK(budget.over());
  CHECK(rules.empty());
  // Of hosts all lists have the same ones.
  CHECK(MustCompile(Rules("", 300, "detect: {hosts: [a.example, b.example/c]}"))->Describe().size() == 300);
}

TEST_CASE("A file of more values than are built of one is refused before they are") {
  const std::string values = Many(static_cast<int>(Budget::kValuesMax), [](int) { return std::string("a"); });
  CHECK_THAT(CompileError("version: 1\nname: t\nlists: {a: [" + values + "]}\nrules: []\n"),
             ContainsSubstring("test.yaml:3:") && ContainsSubstring("put the terms of long lists in files of their own"));
}

TEST_CASE("More than two thousand rules are refused where the next one stands") {
  CHECK_THAT(CompileError(Rules("", 2001, "detect: {keywords: x}")),
             ContainsSubstring("test.yaml:2004:3: more than 2000 rules in force together; merge some"));
  CHECK_THAT(CompileError(Rules("", 1001, "detect: {keywords: x}, unless: {keywords: x y}")), ContainsSubstring("more than 2000 rules"));
}

TEST_CASE("Rules that share a list have one table of it, whatever their where, and in both directions") {
  std::string yaml = "version: 1\nname: t\nlists: {a: [globex, initech]}\nrules:\n";
  for (int i = 0; i < 10; ++i) yaml += fmt::format("- {{id: r{}, where: {{team: t{}}}, detect: {{list: a}}, do: redact}}\n", i, i);
  yaml += "- {id: other, where: {team: t3}, detect: {keywords: [hooli]}, do: flag}\n";
  std::vector<Rule> rules;
  Budget budget;
  KeywordIndexes indexes;
  REQUIRE(ReadPolicies(std::array{PolicySource{"t", yaml}}, rules, budget).ok());
  const auto input = Program::Build(rules, false, budget, indexes), output = Program::Build(rules, true, budget, indexes);
  REQUIRE(input.ok());
  REQUIRE(output.ok());
  const auto index_of = [](const Program& program, const std::string& team) {
    const auto selection = program.Select({.team = team}, Role::kUser);
    return selection.groups.at(0)->keywords;
  };
  CHECK(index_of(**input, "t1") == index_of(**input, "t2"));
  CHECK(index_of(**input, "t1") == index_of(**output, "t9"));
  CHECK(index_of(**input, "t1") != index_of(**input, "t3"));
  const auto policies = MustCompile(yaml);
  for (int i = 0; i < 10; ++i) {
    const Subject subject{.team = fmt::format("t{}", i)};
    const std::string text = "ask Globex, hooli or initech";
    const Filtered whole = MustFilter(*policies, text, subject);
    CHECK(whole.text == "ask [REDACTED], hooli or [REDACTED]");
    CHECK(whole.verdict.rules[0].rule_id == fmt::format("r{}", i));
    CHECK(whole.verdict.rules.size() == (i == 3 ? 2 : 1));
    CheckStream(
        *policies, text, whole, [] { return std::size_t{3}; }, subject);
  }
}

TEST_CASE("Tables of keywords count together, and the next one that is too large is refused with its remedy") {
  std::vector<Rule> rules;
  Budget budget;
  KeywordIndexes indexes;
  REQUIRE(ReadPolicies(std::array{PolicySource{"t", OneRule("{keywords: [globex, initech]}", "flag")}}, rules, budget).ok());
  REQUIRE(budget.TakeTable(budget.table_left() - 300).ok());
  const auto program = Program::Build(rules, false, budget, indexes);
  REQUIRE_FALSE(program.ok());
  CHECK_THAT(base::Message(program.status()), ContainsSubstring("more than 512 MiB") && ContainsSubstring("have the same 'where'"));
  // What finds the words that regexes hold is such a table.
  rules.clear();
  Budget left;
  REQUIRE(ReadPolicies(std::array{PolicySource{"t", OneRule("{regex: '(?:globexcorporation|initechholdings)\\d'}", "flag")}}, rules, left)
              .ok());
  REQUIRE(left.TakeTable(left.table_left() - 300).ok());
  CHECK_THAT(base::Message(Program::Build(rules, false, left, indexes).status()), ContainsSubstring("more than 512 MiB"));
  CHECK(left.over());
}

TEST_CASE("Whoever no longer waits ends the work in the middle of one policy, in explain and lint too") {
  const PolicySource source{"t", Rules("", 50, "detect: {keywords: x}")};
  const PolicySource regexes{"t", OneRule("{regex: [" + Many(50, [](int i) { return fmt::format("x{}z", i); }) + "]}", "flag")};
  for (const PolicySource& its : {source, regexes}) {
    int asked = 0;
    const auto keep_going = [&asked] { return ++asked > 10 ? base::Cancelled("gone") : absl::OkStatus(); };
    CHECK(absl::IsCancelled(PolicySet::Compile({&its, 1}, RunTests::kYes, keep_going).status()));
    CHECK(asked == 11);
    asked = 0;
    CHECK(absl::IsCancelled(Explain({&its, 1}, {}, {"x"}, nullptr, keep_going).status()));
    CHECK(asked == 11);
    asked = 0;
    LintOptions options;
    options.keep_going = keep_going;
    CHECK(absl::IsCancelled(Lint({&its, 1}, options).status()));
    CHECK(asked == 11);
  }
}

}  // namespace tollgate::policy
