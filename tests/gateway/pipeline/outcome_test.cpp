// What the record says of a rule that hit beside its action: how grave it is, and what was measured, wherever a verdict stands.
#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "gateway/pipeline/records.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using test::ReplyOf;

namespace {

constexpr const char* kPolicy = R"(version: 1
name: house
rules:
  - {id: key, detect: {secrets: aws_access_key}, do: redact, severity: critical}
  - {id: mail, detect: {personal_data: email}, do: flag}
  - {id: long, detect: {length: {characters: 20}}, do: flag, severity: info}
  - {id: lines, where: {direction: output}, detect: {code: {lines: 1}}, do: flag, severity: low}
)";
const std::string kText =
    "AKIAIOSFODNN7EXAMPLE of ann@example.com\n"
    "!say AKIAIOSF\\|ODNN7EXAMPLE to bob@ex\\|ample.com\\nint main() {\\n  return 0;\\n}\\n";

// "key critical 3684 of 2500 bits a character".
std::string Told(const v1::RuleOutcome& rule) {
  const std::string what = rule.rule_id() + " " + rule.severity();
  if (!rule.has_score()) return what;
  const v1::RuleScore& score = rule.score();
  return fmt::format("{} {} of {} {}", what, score.value_thousandths(), score.least_thousandths(), score.unit());
}

std::vector<std::string> Told(const v1::Verdict& verdict) {
  std::vector<std::string> out;
  for (const v1::RuleOutcome& rule : verdict.rules()) out.push_back(Told(rule));
  return out;
}

const std::string kKey = "key critical 3684 of 2500 bits a character", kMail = "mail medium", kLines = "lines low 3000 of 2000 code lines";
const std::vector<std::string> kPrompt = {kKey, kMail, fmt::format("long info {}000 of 21000 characters", kText.size())};
const std::vector<std::string> kReply = {kKey, kMail, kLines};

// Is sure of everything, to nine tenths.
class Sure final : public pipeline::Answerers {
 public:
  void Ask(pipeline::QuestionAsk ask, std::function<void(pipeline::QuestionAnswer)> done) override {
    pipeline::QuestionAnswer answer;
    answer.answer = {ask.question.id, true, "", 900'000};
    done(std::move(answer));
  }
};

}  // namespace

TEST_CASE("Severity and score of each rule are on record for a prompt and for its reply, whole, streamed and of several") {
  for (const bool streamed : {false, true}) {
    for (const int choices : {1, 2}) {
      INFO(streamed << choices);
      test::World world(kPolicy);
      world.options.segment = std::chrono::milliseconds(0);
      test::RecordingWriter writer;
      v1::ChatRequest ask = world.Ask(kText);
      ask.set_choices(choices);
      const auto outcome = world.Chat(ask, streamed ? &writer : nullptr);
      CHECK((writer.text + ReplyOf(outcome).text).find("AKIA") == std::string::npos);
      const auto entries = world.journal.entries();
      CHECK(Told(entries.front().record.request().input_verdict()) == kPrompt);
      const v1::Verdict output = entries.back().record.end().output_verdict();
      CHECK(Told(output) == kReply);
      CHECK(output.rules(0).count() == choices);
      world.CheckBooks();
    }
  }
}

TEST_CASE("A shadow, a canary and a refusal say them too") {
  const std::string allows = "version: 1\nname: house\nrules:\n  - {id: none, detect: {keywords: globex}, do: flag}\n";
  test::World shadowed(allows);
  shadowed.Try(kPolicy, "shadow");
  ReplyOf(shadowed.Chat(shadowed.Ask(kText)));
  const auto beside = shadowed.journal.entries();
  CHECK(Told(beside.front().record.request().shadow().verdict()) == kPrompt);
  // Nobody is asked for a shadow, and so the lines of its reply are not counted.
  CHECK(Told(beside.back().record.end().shadow_output().verdict()) == std::vector<std::string>{kKey, kMail});
  test::World canary(allows);
  canary.Try(kPolicy, "canary", 10'000);
  ReplyOf(canary.Chat(canary.Ask(kText)));
  const auto acting = canary.journal.entries();
  CHECK(acting.front().record.request().canary());
  CHECK(Told(acting.front().record.request().input_verdict()) == kPrompt);
  CHECK(Told(acting.back().record.end().output_verdict()) == kReply);
  test::World strict("version: 1\nname: house\nrules:\n  - {id: key, detect: {secrets: aws_access_key}, do: block, severity: critical}\n");
  CHECK(std::holds_alternative<pipeline::Failure>(strict.Chat(strict.Ask(kText))));
  CHECK(Told(strict.journal.entries()[0].record.deny().input_verdict()) == std::vector<std::string>{kKey});
}

TEST_CASE("What others answered has its score once, beside the least that counts; the rule has its severity") {
  Sure sure;
  test::World world(
      "version: 1\nname: house\nrules:\n  - {id: rude, detect: {external: mood, least_score: 80}, do: flag, severity: high}\n");
  world.answerers = &sure;
  ReplyOf(world.Chat(world.Ask("kind words")));
  const v1::EndBody end = world.journal.entries().back().record.end();
  CHECK(Told(end.input_verdict()) == std::vector<std::string>{"rude high"});
  CHECK(Told(end.output_verdict()) == std::vector<std::string>{"rude high"});
  REQUIRE(end.guards_size() == 2);
  for (const v1::GuardOutcome& guard : end.guards()) {
    CHECK(guard.score_millionths() == 900'000);
    CHECK(guard.least_score_millionths() == 800'000);
  }
}

TEST_CASE("Of channels and replies that are put together the highest score stays, whichever comes first") {
  const auto scored = [](std::int64_t value) {
    v1::Verdict out;
    out.set_action("redact");
    v1::RuleOutcome& rule = *out.add_rules();
    rule.set_rule_id("key");
    rule.set_severity("high");
    rule.set_count(1);
    if (value == 0) return out;
    rule.mutable_score()->set_unit("bits a character");
    rule.mutable_score()->set_value_thousandths(value);
    rule.mutable_score()->set_least_thousandths(2500);
    return out;
  };
  for (const auto& order : {std::vector<std::int64_t>{3100, 4200, 0}, {4200, 0, 3100}, {0, 3100, 4200}}) {
    v1::Verdict all;
    for (const std::int64_t value : order) pipeline::MergeVerdict(scored(value), 0, "", all);
    CHECK(Told(all) == std::vector<std::string>{"key high 4200 of 2500 bits a character"});
    CHECK(all.rules(0).count() == 3);
  }
}
