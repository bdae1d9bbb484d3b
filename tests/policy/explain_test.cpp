// What an explanation says of a text, and that it never disagrees with what a request meets.
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/encoding.h"
#include "policy/explain.h"
#include "policy/json_parts.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

using Catch::Matchers::ContainsSubstring;

constexpr const char* kPolicy = R"(version: 1
name: t
rules:
  - id: desk
    detect: {keywords: help@acme.example}
    do: allow
  - id: mail
    detect: {personal_data: email}
    do: redact
    severity: low
  - id: card
    detect: {personal_data: card}
    do: mask
    keep_last: 4
  - id: falcon
    where: {team: search}
    detect: {keywords: project falcon}
    do: block
    because: It is not announced.
  - id: reply.ticket
    where: {direction: output}
    detect: {regex: '\b[A-Z]{2,5}-\d{1,6}\b'}
    do: flag
  - id: routing
    detect: {personal_data: us_routing_number}
    do: flag
  - id: paste
    detect: {hosts: pastebin.com}
    do: flag
)";

Explanation MustExplain(const std::string& text, bool output = false, const Subject& subject = {}, Role role = Role::kUser) {
  const PolicySource source{"test.yaml", kPolicy};
  auto out = Explain({&source, 1}, subject, {text, output, role});
  INFO(base::Message(out.status()));
  REQUIRE(out.ok());
  return *std::move(out);
}

const RuleStory& StoryOf(const Explanation& out, const std::string& rule) {
  for (const RuleStory& story : out.rules) {
    if (story.rule_id == rule) return story;
  }
  FAIL("no story of " << rule);
  return out.rules.front();
}

}  // namespace

TEST_CASE("An explanation names each span's rule, place, evidence and fate") {
  const Explanation out = MustExplain("Write to help@acme.example,\nor \xC3\xA4 bob@example.com, card 4111 1111 1111 1111.");
  REQUIRE(out.found.size() == 4);
  CHECK(out.found[0].rule_id == "desk");
  CHECK(out.found[0].became == "is allowed, and all inside it");
  CHECK(out.found[1].rule_id == "mail");
  CHECK(out.found[1].became == "nothing: rule desk allows it");
  const FoundSpan& mail = out.found[2];
  CHECK(mail.rule_id == "mail");
  CHECK(mail.severity == "low");
  CHECK(mail.detector == "email");
  CHECK(mail.line == 2);
  CHECK(mail.column == 6);  // Characters, not bytes.
  CHECK(mail.became == "becomes [EMAIL]");
  const FoundSpan& card = out.found[3];
  CHECK(card.became == "becomes ****1111");
  REQUIRE(card.evidence.size() == 1);
  CHECK(card.evidence[0] == "its structure agrees, and its check digits where it has some");
  CHECK(out.result == "Write to help@acme.example,\nor \xC3\xA4 [EMAIL], card ****1111.");
  CHECK(out.verdict.action == Action::kRedact);
  CHECK(StoryOf(out, "mail").state == RuleStory::State::kHit);
  CHECK(StoryOf(out, "mail").count == 2);
  CHECK(StoryOf(out, "mail").line == 7);
}

TEST_CASE("An explanation tells what is disguised or encoded, as the verdict counts it") {
  const std::string encoded = base::Base64Encode("write to bob@example.com");
  struct Row {
    std::string text, rule, evidence;
    std::int64_t begin, end;
  };
  const Row rows[] = {
      {"so b\u200Bob@example.com, yes", "mail", "plain form", 3, 21},
      {"my card: \uFF14111 1111 1111 1111", "card", "plain form", 9, 30},
      {"see " + encoded + " there", "mail", "decoded", 4, 4 + static_cast<std::int64_t>(encoded.size())},
      {"see bob%40example.com there", "mail", "decoded", 4, 21},
      {"\u200Bbob@example.com", "mail", "", 3, 18},  // As written too: told once.
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const Explanation out = MustExplain(row.text);
    REQUIRE(out.verdict.rules.size() == 1);
    REQUIRE(static_cast<std::int64_t>(out.found.size()) == out.verdict.rules[0].count);
    CHECK(out.found[0].rule_id == row.rule);
    CHECK(out.found[0].begin == row.begin);
    CHECK(out.found[0].end == row.end);
    if (!row.evidence.empty()) {
      REQUIRE_FALSE(out.found[0].evidence.empty());
      CHECK_THAT(out.found[0].evidence[0], ContainsSubstring(row.evidence));
    }
    CHECK_THAT(out.found[0].became, ContainsSubstring("becomes "));
    CHECK(StoryOf(out, row.rule).state == RuleStory::State::kHit);
    CHECK(out.result != row.text);
  }
}

TEST_CASE("An explanation says why a rule did nothing") {
  struct Row {
    const char *text, *rule, *why;
    bool output;
    Subject subject;
  };
  const Row rows[] = {
      {"4111 1111 1111 1112", "card", "bytes 0 to 19 have the form of card, but its structure or check digits are wrong", false, {}},
      {"the number is 021000021", "routing", "but none of the words that name it stands within 64 bytes to its left", false, {}},
      {"project falcon", "falcon", "it acts on team search, and this text comes from no known team", false, {}},
      {"project falcon", "falcon", "it acts on team search, and this text comes from support", false, {"", "support", "", "", ""}},
      {"project falconry", "falcon", "'project falcon' is there only inside a longer word", false, {"", "search", "", "", ""}},
      {"nothing", "falcon", "none of its keywords is in the text (project falcon)", false, {"", "search", "", "", ""}},
      {"ABC-12", "reply.ticket", "it acts on output only, and this is a prompt", false, {}},
      {"https://pastebin.com.acme.example", "paste", "have the form of url, but its host is not one that the rule's list means", false, {}},
      {"abc-12", "reply.ticket", "nothing in the text has its form", true, {}},
      {"help@acme.example", "mail", "all that it found lies inside what rule desk allows", false, {}},
  };
  for (const Row& row : rows) {
    INFO(row.text << " / " << row.rule);
    const Explanation out = MustExplain(row.text, row.output, row.subject);
    const RuleStory& story = StoryOf(out, row.rule);
    CHECK(story.state != RuleStory::State::kHit);
    CHECK_THAT(story.why, ContainsSubstring(row.why));
  }
}

TEST_CASE("What is measured has a score, beside the least that counts; forms, checksums and words have none") {
  const PolicySource source{"t", R"(version: 1
name: t
rules:
  - {id: key, detect: {secrets: aws_access_key}, do: flag}
  - {id: mail, detect: {personal_data: email}, do: flag}
  - {id: long, detect: {length: {characters: 30, messages: 9}}, do: flag}
  - {id: any, detect: {request: any}, do: justification}
  - {id: counted, detect: {length: {tokens: 9}}, do: flag}
  - {id: rude, where: {direction: input}, detect: {external: mood, least_score: 80}, do: flag}
)"};
  const auto explain = [&](const std::string& text) {
    auto out = Explain({&source, 1}, {}, {text});
    REQUIRE(out.ok());
    return *std::move(out);
  };
  const Explanation out = explain("AKIAIOSFODNN7EXAMPLE from bob@example.com");
  REQUIRE(out.found.size() == 2);
  REQUIRE(out.found[0].score.has_value());
  CHECK(out.found[0].score->value >= out.found[0].score->least);
  CHECK(out.found[0].score->least == 2.5);
  CHECK(out.found[0].score->unit == "bits a character");
  CHECK_FALSE(out.found[1].score.has_value());
  CHECK_FALSE(StoryOf(out, "mail").score.has_value());
  const auto& over = StoryOf(out, "long").score;
  REQUIRE(over.has_value());
  CHECK(over->value == 41);
  CHECK(over->least == 31);
  CHECK(over->unit == "characters");
  for (const char* none : {"any", "counted", "rude"}) CHECK_FALSE(StoryOf(out, none).score.has_value());
  CHECK_THAT(StoryOf(out, "rude").why, ContainsSubstring("a score of 80 percent or more counts"));
  const Explanation within = explain("short");
  REQUIRE(StoryOf(within, "long").score.has_value());
  CHECK(StoryOf(within, "long").state == RuleStory::State::kNoMatch);
  CHECK(StoryOf(within, "long").score->value == 5);  // Nearer to their limit than the one message.
  CHECK(StoryOf(within, "long").score->least == 31);
}

TEST_CASE("An explanation tells of a rule's own `unless`") {
  const PolicySource source{"t", OneRule("{personal_data: email}", "redact", "    unless: {keywords: help@acme.example}\n")};
  const auto out = Explain({&source, 1}, {}, {"help@acme.example"});
  REQUIRE(out.ok());
  REQUIRE(out->found.size() == 2);
  REQUIRE(out->rules.size() == 1);
  CHECK(out->rules[0].state == RuleStory::State::kAllowed);
  CHECK(out->rules[0].why == "all that it found lies inside what its own `unless` exempts");
  const std::string fates = out->found[0].became + out->found[1].became;
  CHECK_THAT(fates, ContainsSubstring("nothing: its own `unless` exempts it") && ContainsSubstring("exempts what rule r finds inside it"));
}

TEST_CASE("A block ends a reply, and what comes after it counts for nothing") {
  const Explanation out = MustExplain("AB-1 then project falcon, AB-2", true, {"", "search", "", "", ""});
  REQUIRE(out.found.size() == 3);
  CHECK(out.found[1].became == "ends the reply before it");
  CHECK(out.found[2].became == "nothing: the reply ended before it");
  CHECK(out.result == "AB-1 then ");
  CHECK(out.verdict.action == Action::kBlock);
  const Explanation prompt = MustExplain("project falcon", false, {"", "search", "", "", ""});
  CHECK(prompt.found[0].became == "refuses the prompt");
  CHECK(prompt.result.empty());
}

TEST_CASE("An explanation has the verdict, the result and the digest of the set itself") {
  const auto policies = MustCompile(kPolicy);
  for (const char* text : {"", "plain", "bob@example.com or help@acme.example", "card 4111111111111111 of bob@example.com"}) {
    const Explanation out = MustExplain(text, true);
    const Filtered whole = MustFilter(*policies, text);
    CHECK(out.verdict == whole.verdict);
    CHECK(out.result == whole.text);
    CHECK(out.digest == policies->digest());
    CHECK(out.rules.size() == 7);
    CHECK(out.micros >= 0);
    for (const RuleStory& story : out.rules) CHECK_FALSE(story.why.empty());
  }
}

TEST_CASE("A tool's result is explained in both readings, as a request has it, each span where it is written") {
  const std::string yaml = R"(version: 1
name: t
rules:
  - {id: hidden, detect: {unicode: invisible}, do: flag}
  - {id: hosts, detect: {hosts_except: [acme.example]}, do: flag}
  - {id: card, detect: {regex: '4{4}', as_written: true}, do: redact}
  - {id: much, detect: {length: {characters: 150}}, do: flag}
)";
  const PolicySource source{"test.yaml", yaml};
  const auto policies = MustCompile(yaml);
  struct Row {
    const char *text, *rule, *found;
  };
  const Row rows[] = {
      {R"({"note":"pay\u200bpal"})", "hidden", "\\u200b"},
      {R"({"a":"\u00e9","u":"https://acme.example\u002eevil.example/x"})", "hosts", "https://acme.example\\u002eevil.example/x"},
      {R"({"n":"x 44\u0034\u0034 y"})", "card", "44\\u0034\\u0034"},
      {R"({"n":"\n","m":"4444"})", "card", "4444"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const ExplainedText given{row.text, false, Role::kUser, {Part::kToolResult, "find"}};  // Only tools answer.
    const auto out = Explain({&source, 1}, {}, given);
    REQUIRE(out.ok());
    const Message result{Role::kTool, "", {std::string(row.text)}, false, {Part::kToolResult, "find"}};
    const std::vector<Message> prompt = {result, {Role::kTool, "", *SecondReading(result), true, {Part::kToolResult, "find"}}};
    const auto asked = policies->Inspect({}, prompt);
    CHECK(out->verdict == asked->verdict);
    CHECK(out->result == TextOf(asked->prompt[0]));
    CHECK(StoryOf(*out, row.rule).state == RuleStory::State::kHit);
    CHECK(StoryOf(*out, row.rule).count == 1);
    CHECK(StoryOf(*out, row.rule).why == "it found 1 span");
    REQUIRE(out->found.size() == 1);
    const FoundSpan& span = out->found[0];
    CHECK(out->result.find("4444") == std::string::npos);
    CHECK(std::string(row.text).substr(static_cast<std::size_t>(span.begin), static_cast<std::size_t>(span.end - span.begin)) == row.found);
    CHECK(span.column == span.begin + 1);
  }
  const std::string half = R"({"note":"\n)" + std::string(80, 'x') + "\"}";  // Both readings together are longer than a request may be.
  const auto long_twice = Explain({&source, 1}, {}, {half, false, Role::kTool});
  CHECK(long_twice->verdict.rules.size() == 1);
  CHECK(StoryOf(*long_twice, "much").state == RuleStory::State::kHit);
}

TEST_CASE("A call is the assistant's and a tool's definition the system's, whoever is said to have written it") {
  const PolicySource source{"test.yaml", R"(version: 1
name: t
rules:
  - {id: call, where: {roles: assistant, parts: tool_calls}, detect: {keywords: falcon}, do: flag}
  - {id: tool, where: {roles: system, parts: tool_definitions}, detect: {keywords: falcon}, do: flag}
)"};
  for (const auto& [part, rule] : {std::pair{Part::kToolCall, "call"}, std::pair{Part::kToolDefinition, "tool"}}) {
    const auto out = Explain({&source, 1}, {}, {R"({"q":"falcon"})", false, Role::kUser, {part, "find"}});
    REQUIRE(out.ok());
    CHECK(StoryOf(*out, rule).state == RuleStory::State::kHit);
    CHECK(out->verdict.rules.size() == 1);
  }
}

TEST_CASE("A tool's definition is explained as a request has it: beside the system prompt, its JSON decoded") {
  const PolicySource source{"test.yaml", R"(version: 1
name: t
rules:
  - {id: card, detect: {regex: '4{4}', as_written: true}, do: redact}
  - {id: kind, detect: {keywords: falcon}, do: {append_system: Be kind.}}
)"};
  const auto out = Explain({&source, 1}, {}, {R"({"falcon":"44\u0034\u0034"})", false, Role::kUser, {Part::kToolDefinition, "find"}});
  REQUIRE(out.ok());
  CHECK(out->judged == R"({"falcon":"4444"})");
  CHECK(out->result == R"({"falcon":"[REDACTED]"})");
  CHECK(StoryOf(*out, "card").state == RuleStory::State::kHit);
  CHECK(StoryOf(*out, "kind").state == RuleStory::State::kHit);
  const auto words = Explain({&source, 1}, {}, {"finds a falcon", false, Role::kUser, {Part::kToolDefinition, "find"}});
  REQUIRE(words.ok());
  CHECK(words->judged.empty());
  CHECK(words->result == "finds a falcon");
}

TEST_CASE("Policies are explained whose own tests fail") {
  const PolicySource source{"test.yaml", OneRule("{keywords: falcon}", "flag", "    tests: [{text: eagle}]\n")};
  CHECK_FALSE(PolicySet::Compile({&source, 1}).ok());
  const auto out = Explain({&source, 1}, {}, {"a falcon"});
  REQUIRE(out.ok());
  CHECK(StoryOf(*out, "r").state == RuleStory::State::kHit);
}

TEST_CASE("The pass that all rules share takes no longer than the whole judgement, and nothing where no rule scans") {
  struct Row {
    const char* detect;
    bool scans;
  };
  std::string text;
  while (text.size() < 30'000) text += "Nothing is to be found in these lines. ";
  for (const Row& row :
       {Row{"{keywords: falcon}", true}, Row{"{regex: 'fal[a-z]on'}", true}, Row{"{personal_data: all}", true}, Row{"{secrets: all}", true},
        Row{"{hosts: [a.example]}", true}, Row{"{unicode: all}", true}, Row{"{length: {characters: 9}}", false},
        Row{"{shape: {turns: 9}}", false}, Row{"{code: {lines: 9}}", false}, Row{"{language: {is: de}}", false},
        Row{"{request: any}", false}, Row{"{external: mood}", false}, Row{"{guard: {model: g, format: llama_guard}}", false}}) {
    INFO(row.detect);
    const PolicySource source{"t", OneRule(row.detect, "flag")};
    for (const bool output : {false, true}) {
      const auto out = Explain({&source, 1}, {}, {text, output});
      REQUIRE(out.ok());
      CHECK(out->shared_micros <= out->micros);
      if (!row.scans) CHECK(out->shared_micros == 0);
    }
  }
}

TEST_CASE("What cannot be explained is refused with the remedy") {
  const PolicySource source{"test.yaml", kPolicy};
  const auto message = [&](const std::string& text, const PolicySource& from) {
    return base::Message(Explain({&from, 1}, {}, {text}).status());
  };
  CHECK_THAT(message(std::string((256 << 10) + 1, 'a'), source), ContainsSubstring("at most 256 KiB"));
  CHECK_THAT(message("\xff", source), ContainsSubstring("not valid UTF-8"));
  CHECK_THAT(message("a", {"x.yaml", "version: 1\nname: t\nrule: []\n"}), ContainsSubstring("x.yaml:3:1"));
}

}  // namespace tollgate::policy
