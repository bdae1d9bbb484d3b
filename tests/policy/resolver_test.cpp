#include "policy/resolver.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::string Rules(const std::string& rules) { return "version: 1\nname: t\nrules:\n" + rules; }

}  // namespace

TEST_CASE("Overlapping rules: the strictest acts, redactions join, exceptions hold") {
  const auto policies =
      MustCompile(Rules("  - {id: ok, detect: {keywords: [abcd, 'xy z']}, do: allow}\n"
                        "  - {id: one, detect: {regex: 'bc|12'}, do: redact, replacement: '<1>'}\n"
                        "  - {id: two, detect: {regex: 'cde|234'}, do: redact, replacement: '<2>'}\n"
                        "  - {id: see, detect: {regex: '3'}, do: flag}\n"
                        "  - {id: stop, detect: {regex: 'z!|45'}, do: block}\n"));
  struct Row {
    const char *text, *out, *rules;
    bool blocked;
  };
  const Row rows[] = {
      {"bc", "<1>", "one", false},
      {"bcde", "<1>", "one two", false},  // One edit, the first rule's placeholder.
      {"bc cde", "<1> <2>", "one two", false},
      {"1234", "<1>", "one two see", false},
      {"3", "3", "see", false},
      {"abcd", "abcd", "ok", false},        // bc lies inside what is allowed.
      {"abcde", "a<1>", "one two", false},  // abcd is no whole word here.
      {"abcd bc", "abcd <1>", "ok one", false},
      {"a z! bc", "a ", "stop", true},  // What follows a block does not count.
      {"bc z!", "<1> ", "one stop", true},
      {"12345", "<1>", "one two see stop", true},  // The block cuts the redaction that it meets.
      {"xy z! bc", "xy ", "ok stop", true},
      {"45 3", "", "stop", true},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const Filtered whole = MustFilter(*policies, row.text);
    std::string ids;
    for (const RuleOutcome& rule : whole.verdict.rules) ids += (ids.empty() ? "" : " ") + rule.rule_id;
    CHECK(whole.text == row.out);
    CHECK(ids == row.rules);
    CHECK(whole.blocked == row.blocked);
    CHECK((whole.verdict.action == Action::kBlock) == row.blocked);
    CheckStream(*policies, row.text, whole, [] { return std::size_t{1}; });
  }
}

TEST_CASE("Spans are kept up to a bound; the count goes on") {
  const auto policies = MustCompile(OneRule("{regex: 'a'}", "flag"));
  const Filtered whole = MustFilter(*policies, std::string(100, 'a'));
  REQUIRE(whole.verdict.rules.size() == 1);
  CHECK(whole.verdict.rules[0].spans.size() == RuleOutcome::kSpansMax);
  CHECK(whole.verdict.rules[0].count == 100);
  CHECK(whole.verdict.rules[0].spans[3] == Span{0, "text", 3, 4});
}

TEST_CASE("Actions and roles have names") {
  CHECK(std::string(ActionName(Action::kRedact)) == "redact");
  CHECK(std::string(RoleName(Role::kTool)) == "tool");
}

}  // namespace tollgate::policy
