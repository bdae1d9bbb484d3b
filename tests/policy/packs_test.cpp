// The packs: each compiles, passes its own tests, is told nothing worse than a note by lint, and has a page in docs/packs.
#include <fmt/format.h>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "policy/lint.h"
#include "policy/packs.h"
#include "policy/rule_yaml.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::vector<PolicySource> AllPacks() {
  std::vector<PolicySource> out;
  for (const Pack& pack : Packs()) out.push_back({std::string(pack.name), std::string(pack.yaml)});
  return out;
}

// What ordinary work looks like; no pack may touch it.
constexpr const char* kOrdinary[] = {
    "Please summarise the minutes of Tuesday's meeting in five points, and mail them to the team.",
    "Version 2.14.3 was released on 2026-03-01; build 20260301.4 fixes issue 48213.",
    "Order 2026-004711 of 12 chairs at 129.90 each, delivery in week 14, cost centre 4400.",
    "Translate into German: the patient waited for two hours in the hall.",
    "How do I protect my account, and what makes a good password?",
    "The meeting of the 12/27 group is in room 4.111; bring the signed contract.",
    "Write a polite reply to a candidate who asks when we decide.",
    "Explain what a private key is and why it is never shared.",
    "sha256 9fceb02d0ae598e95dc970b74767f19372d61af8c3f2b1a09d8e7f6a5b4c3d2e, uuid 7b2c1f5e-4b1d-4c6a-9f7e-2d5a8c3b1e90",
    "What is the boiling point of water at 2,000 m?",
};

// With the quotation marks of print.
std::string Typeset(std::string_view text) {
  std::string out;
  bool open = false;
  for (const char c : text) {
    if (c == '"') open = !open;
    out += c == '\'' ? "\u2019" : c == '"' ? (open ? "\u201c" : "\u201d") : std::string(1, c);
  }
  return out;
}

std::string Page(const std::string& path) {
  auto text = base::ReadFile(std::string(TOLLGATE_SOURCE_DIR) + "/" + path);
  INFO(path);
  REQUIRE(text.ok());
  return *std::move(text);
}

}  // namespace

TEST_CASE("There are eight packs, found by name, each with a description") {
  std::vector<std::string_view> names;
  for (const Pack& pack : Packs()) {
    names.push_back(pack.name);
    CHECK(pack.description.size() > 20);
    CHECK(FindPack(pack.name) == &pack);
  }
  CHECK(names == std::vector<std::string_view>{"pii-eu", "pii-us", "payment-card", "secrets", "source-code", "health", "prompt-attack",
                                               "acceptable-use"});
  CHECK(FindPack("pii") == nullptr);
}

TEST_CASE("Every pack compiles under its own name, passes its own tests, and lint says nothing worse than a note") {
  for (const PolicySource& source : AllPacks()) {
    INFO(source.name);
    CHECK_THAT(source.yaml, Catch::Matchers::ContainsSubstring("\nname: " + source.name + "\n"));
    const auto compiled = PolicySet::Compile({&source, 1});
    INFO(base::Message(compiled.status()));
    REQUIRE(compiled.ok());
    for (const RuleDescription& rule : (*compiled)->Describe()) {
      INFO(rule.id);
      CHECK(rule.id.starts_with(source.name + "."));
      CHECK(rule.tests >= 2);
    }
    const auto report = Lint({&source, 1}, {});
    REQUIRE(report.ok());
    for (const LintRemark& remark : report->remarks) {
      INFO(remark.rule_id << ": " << remark.check << ": " << remark.message);
      if (remark.check == "slow") continue;  // A measured time.
      CHECK(remark.level == LintLevel::kNote);
      CHECK(remark.check != "always-on");
      CHECK(remark.check != "untested");
      CHECK(remark.check != "words");
    }
  }
}

TEST_CASE("All packs may be in force together, and leave ordinary sentences alone") {
  const auto sources = AllPacks();
  const auto all = PolicySet::Compile(sources);
  INFO(base::Message(all.status()));
  REQUIRE(all.ok());
  for (const char* text : kOrdinary) {
    INFO(text);
    const Message message{Role::kUser, "", {text}};
    const auto in = (*all)->Inspect({}, {&message, 1});
    REQUIRE(in.ok());
    for (const RuleOutcome& rule : in->verdict.rules) FAIL_CHECK("input: " << rule.rule_id);
    for (const RuleOutcome& rule : MustFilter(**all, text).verdict.rules) FAIL_CHECK("output: " << rule.rule_id);
  }
}

TEST_CASE("What a pack finds it finds as phones and word processors write it, in prompts and replies") {
  std::size_t tried = 0;
  for (const PolicySource& source : AllPacks()) {
    const auto policies = MustCompile(source.yaml);
    std::vector<Rule> rules;
    REQUIRE(ReadPolicy(source, rules).ok());
    for (const Rule& rule : rules) {
      for (const RuleTest& test : rule.tests) {
        const std::string text = Typeset(test.text);
        if (rule.as_written || text == test.text || test.text.find('\\') != std::string::npos) continue;  // Escapes count behind ASCII.
        ++tried;
        INFO(rule.id << ": " << text);
        const Message typed{test.role, "", {test.text}, false, test.channel}, typeset{test.role, "", {text}, false, test.channel};
        const auto found = [&](const Message& message) {
          return test.output ? MustFilter(*policies, message.parts[0]).verdict : policies->Inspect({}, {&message, 1})->verdict;
        };
        const Verdict verdict = found(typed), its = found(typeset);
        for (const RuleOutcome& outcome : verdict.rules) {
          INFO(outcome.rule_id);
          const auto same = [&](const RuleOutcome& other) { return other.rule_id == outcome.rule_id && other.count == outcome.count; };
          CHECK(std::any_of(its.rules.begin(), its.rules.end(), same));
        }
      }
    }
  }
  CHECK(tried > 10);
}

TEST_CASE("Packs find their phrases as people write them on phones") {
  struct Row {
    const char *pack, *rule, *text;
  };
  const Row rows[] = {
      {"pii-us", "pii-us.driver-licence", "Her driver\u2019s license number is D1234567."},
      {"acceptable-use", "acceptable-use.self-harm", "I\u2019m going to kill myself"},
      {"payment-card", "payment-card.pin", "The card\u2019s pin code 482193"},
      {"payment-card", "payment-card.pin", "PIN: \u201c4821\u201d"},
      {"health", "health.patient-name", "Patient\u2019s name: Jane Doe"},
      {"pii-eu", "pii-eu.special-category", "the customer\u2019s religion"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const Message message{Role::kUser, "", {row.text}};
    const auto out = MustCompile(std::string(FindPack(row.pack)->yaml))->Inspect({}, {&message, 1});
    REQUIRE(out.ok());
    REQUIRE(out->verdict.rules.size() == 1);
    CHECK(out->verdict.rules[0].rule_id == row.rule);
  }
}

TEST_CASE("Each pack has a page that names its rules and no others, and the page of the packs leads to it") {
  const std::string index = Page("docs/packs.md");
  for (const PolicySource& source : AllPacks()) {
    INFO(source.name);
    CHECK_THAT(index, Catch::Matchers::ContainsSubstring(fmt::format("[packs/{0}.md](packs/{0}.md)", source.name)));
    const std::string page = Page(fmt::format("docs/packs/{}.md", source.name));
    CHECK(page.starts_with(fmt::format("# {}: ", source.name)));
    for (const char* section : {"Rules", "Where it acts", "What it does not see", "To make it yours", "Its tests"})
      CHECK_THAT(page, Catch::Matchers::ContainsSubstring(fmt::format("\n## {}\n", section)));
    const auto rules = MustCompile(source.yaml)->Describe();
    for (const RuleDescription& rule : rules) {
      INFO(rule.id);
      const std::size_t at = page.find(fmt::format("\n| `{}` |", rule.id));
      REQUIRE(at != std::string::npos);
      CHECK(page.substr(at, page.find('\n', at + 1) - at).ends_with(fmt::format("| {} |", rule.severity)));
    }
    std::size_t rows = 0;
    for (std::size_t at = 0; (at = page.find(fmt::format("\n| `{}.", source.name), at)) != std::string::npos; ++at) ++rows;
    CHECK(rows == rules.size());
  }
}

TEST_CASE("What a pack's page adds compiles beside the pack and passes its tests") {
  for (const PolicySource& pack : AllPacks()) {
    INFO(pack.name);
    const std::string page = Page(fmt::format("docs/packs/{}.md", pack.name));
    const std::size_t at = page.find("```yaml\n");
    REQUIRE(at != std::string::npos);
    const std::string rules = page.substr(at + 8, page.find("```", at + 8) - at - 8);
    const PolicySource both[] = {pack, {"page", "version: 1\nname: page\nrules:\n" + rules}};
    const auto compiled = PolicySet::Compile(both);
    INFO(base::Message(compiled.status()));
    CHECK(compiled.ok());
  }
}

}  // namespace tollgate::policy
