// What a verdict says of each rule that hit, for the record: how grave it is, and what was measured.
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/encoding.h"
#include "policy/explain.h"
#include "tests/policy/catalog_examples.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

// Of a form that asks for 3 bits a character: one says the same eight three times, the other nothing twice.
const std::string kPrefix = "sk_live_", kEight = "abcdefgh";
const std::string kLow = kPrefix + kEight + kEight + kEight, kHigh = kPrefix + "0123456789" + kEight + "ijklmno";
constexpr double kLowBits = 3.647, kHighBits = 4.741;

const RuleOutcome& OutcomeOf(const Verdict& verdict, const std::string& id) {
  const auto found =
      std::find_if(verdict.rules.begin(), verdict.rules.end(), [&](const RuleOutcome& outcome) { return outcome.rule_id == id; });
  INFO(id);
  REQUIRE(found != verdict.rules.end());
  return *found;
}

Verdict Inspected(const PolicySet& policies, const std::vector<std::string>& messages) {
  std::vector<Message> prompt;
  for (const std::string& text : messages) prompt.push_back({Role::kUser, "", {text}});
  auto out = policies.Inspect({}, prompt);
  REQUIRE(out.ok());
  return out->verdict;
}

}  // namespace

TEST_CASE("Each rule that hit has its severity, and what it measured beside the least that counts") {
  const auto policies = MustCompile(R"(version: 1
name: t
rules:
  - {id: key, detect: {secrets: aws_access_key}, do: redact, severity: critical}
  - {id: mail, detect: {personal_data: email}, do: flag, severity: low}
  - {id: word, detect: {keywords: falcon}, do: flag}
  - {id: long, detect: {length: {messages: 9, characters: 30}}, do: flag, severity: info}
  - {id: lines, detect: {code: {lines: 1}}, do: flag}
  - {id: german, detect: {language: {is: de}}, do: flag, severity: high}
  - {id: any, detect: {request: any}, do: justification}
  - {id: counted, detect: {length: {tokens: 9}}, do: flag}
)");
  const std::string text =
      "AKIAIOSFODNN7EXAMPLE of falcon, bob@example.com\n"
      "Bitte schicken Sie mir die Rechnung noch heute zu, denn ich habe sie nicht erhalten.\n"
      "int main() {\n  return 0;\n}\n";
  const Verdict verdict = Inspected(*policies, {text});
  const auto says = [&](const std::string& id, const std::string& severity, std::optional<Score> score) {
    const RuleOutcome& outcome = OutcomeOf(verdict, id);
    CHECK(outcome.severity == severity);
    CHECK(outcome.score == score);
  };
  says("key", "critical", Score{3.684, 2.5, "bits a character"});
  says("mail", "low", std::nullopt);
  says("word", "medium", std::nullopt);
  says("long", "info", Score{static_cast<double>(text.size()), 31, "characters"});
  says("lines", "medium", Score{3, 2, "code lines"});
  says("any", "medium", std::nullopt);
  says("counted", "medium", std::nullopt);  // It hits, for they are not counted.
  const RuleOutcome& german = OutcomeOf(verdict, "german");
  CHECK(german.severity == "high");
  REQUIRE(german.score.has_value());
  CHECK(german.score->unit == "letters in such a language");
  CHECK(german.score->value >= german.score->least);

  Subject subject;
  subject.prompt_tokens = 40;
  const Message message{Role::kUser, "", {"short"}};
  const auto counted = policies->Inspect(subject, {&message, 1});
  REQUIRE(counted.ok());
  CHECK(OutcomeOf(counted->verdict, "counted").score == Score{40, 10, "tokens"});
}

TEST_CASE("Of several spans the highest entropy is told, in whatever order, message, pieces or form they come") {
  const auto policies = MustCompile(OneRule("{secrets: stripe_live_secret_key, decode: both}", "redact"));
  const std::string full_width = "\uff53" + kHigh.substr(1);  // "ｓ".
  const std::string encoded = base::Base64Encode("key: " + kHigh + " .");
  struct Row {
    std::string text;
    double bits;
    std::int64_t count;
  };
  const Row rows[] = {{kLow, kLowBits, 1},
                      {kHigh, kHighBits, 1},
                      {kLow + " and " + kHigh, kHighBits, 2},
                      {kHigh + " and " + kLow, kHighBits, 2},
                      {full_width, kHighBits, 1},
                      {kLow + " and " + full_width, kHighBits, 2},
                      {"see " + encoded, kHighBits, 1},
                      {kLow + " and " + encoded + " and " + kLow, kHighBits, 3}};
  for (const Row& row : rows) {
    INFO(row.text);
    const Score score{row.bits, 3, "bits a character"};
    const Verdict prompt = Inspected(*policies, {row.text});
    CHECK(OutcomeOf(prompt, "r").score == score);
    CHECK(OutcomeOf(prompt, "r").count == row.count);
    const Filtered reply = MustFilter(*policies, row.text);
    CHECK(OutcomeOf(reply.verdict, "r").score == score);
    CheckStream(*policies, row.text, reply, [] { return std::size_t{1}; });
    CheckStream(*policies, row.text, reply, [] { return std::size_t{7}; });
  }
  const Score high{kHighBits, 3, "bits a character"};
  CHECK(OutcomeOf(Inspected(*policies, {kLow, "between", kHigh}), "r").score == high);
  CHECK(OutcomeOf(Inspected(*policies, {"it is " + kHigh.substr(0, 12), kHigh.substr(12)}), "r").score == high);  // Split over messages.
  CHECK(OutcomeOf(Inspected(*policies, {kHigh, kLow}), "r").score == high);
  CHECK(Inspected(*policies, {"nothing"}).rules.empty());
}

TEST_CASE("What is written beside a placeholder has the score that made it count") {
  const auto policies = MustCompile(OneRule("{secrets: stripe_live_secret_key}", "redact"));
  const Verdict verdict = Inspected(*policies, {kPrefix + "dummy" + "a1B2c3D4e5F6g7H8i9J0"});
  const std::optional<Score> score = OutcomeOf(verdict, "r").score;
  REQUIRE(score.has_value());
  CHECK(score->value == 4.322);  // Of the twenty characters beside it, all different.
}

TEST_CASE("Where an explanation of secrets has scores, prompt and reply have the highest of them on their verdict") {
  std::mt19937_64 random(TestSeed());
  INFO("TOLLGATE_SEED=" << TestSeed());
  std::string yaml = "version: 1\nname: t\nrules:\n", text;
  std::set<std::string> detectors;
  for (const SecretTemplate& its : SecretTemplates()) {
    text += "It is " + MakeSecret(its.pattern, random) + " .\n";
    if (detectors.insert(its.detector).second)
      yaml += fmt::format("  - {{id: r{}, detect: {{secrets: {}}}, do: flag}}\n", detectors.size(), its.detector);
  }
  const PolicySource source{"t", yaml};
  for (const bool output : {false, true}) {
    INFO(output);
    const auto told = Explain({&source, 1}, {}, {text, output});
    INFO(base::Message(told.status()));
    REQUIRE(told.ok());
    REQUIRE(told->found.size() < Explanation::kFoundMax);
    std::map<std::string, std::optional<Score>> highest;
    for (const FoundSpan& span : told->found) {
      auto& its = highest[span.rule_id];
      if (span.score && (!its || span.score->value > its->value)) its = span.score;
    }
    std::size_t scored = 0;
    CHECK(told->verdict.rules.size() == highest.size());
    for (const RuleOutcome& outcome : told->verdict.rules) {
      INFO(outcome.rule_id);
      CHECK(outcome.score == highest[outcome.rule_id]);
      if (!outcome.score) continue;
      ++scored;
      CHECK(outcome.score->value >= outcome.score->least);
      CHECK(outcome.score->value <= 8);
    }
    CHECK(scored > 80);
  }
}

TEST_CASE("What judges a whole reply has its measure, and what asks others has its severity and the least score that counts") {
  const auto policies = MustCompile(R"(version: 1
name: t
rules:
  - {id: lines, where: {direction: output}, detect: {code: {lines: 1}}, do: flag, severity: low}
  - {id: json, where: {direction: output}, detect: {not_json: any}, do: flag, severity: info}
  - {id: rude, detect: {external: mood, least_score: 80}, do: flag, severity: high}
)");
  const std::string code = "int main() {\n  return 0;\n}\n";
  const Score lines{3, 2, "code lines"};
  const Verdict whole = MustFilter(*policies, code).verdict;
  CHECK(OutcomeOf(whole, "lines").score == lines);
  CHECK(OutcomeOf(whole, "lines").severity == "low");
  CHECK_FALSE(OutcomeOf(whole, "json").score.has_value());
  CHECK(OutcomeOf(whole, "json").severity == "info");
  const std::vector<Question> questions = policies->QuestionsOfOutput({});
  std::vector<Answer> answers;
  for (const Question& question : questions) {
    Answer answer{question.id, true};
    if (question.shape != nullptr) answer.measured = question.shape->Measured(code);
    CHECK(question.least_score_millionths == (question.shape == nullptr ? 800'000 : 0));
    answers.push_back(std::move(answer));
  }
  const auto verdict = policies->Decide({}, questions, answers);
  REQUIRE(verdict.ok());
  CHECK(OutcomeOf(*verdict, "lines").score == lines);
  CHECK_FALSE(OutcomeOf(*verdict, "json").score.has_value());
  CHECK_FALSE(OutcomeOf(*verdict, "rude").score.has_value());  // The answer has it.
  CHECK(OutcomeOf(*verdict, "rude").severity == "high");
}

}  // namespace tollgate::policy
