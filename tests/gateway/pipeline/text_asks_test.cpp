// Others are asked about one text outside any request: as a request asks them, and with nothing on record, on a bill or in a quota.
#include "gateway/pipeline/text_asks.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/directory/shard.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;

namespace {

// The guard "judge" is a script: it says what its prompt tells it to, else its prompt.
constexpr const char* kGuard = R"(version: 1
name: house
rules:
  - id: guard
    detect:
      guard:
        model: judge
        prompt: '{{text}}'
        answer: {hit_regex: evil, pass_regex: kind|well, category_regex: '(evil|kind)'}
        answer_tokens: 64
        deadline_ms: 200
    do: block
)";

std::string Of(const std::string& rule) { return "version: 1\nname: house\nrules:\n  - {id: x, " + rule + "}\n"; }

// Asks the rules of a policy, on behalf of the key that is there.
struct AskingBed : test::World {
  explicit AskingBed(const std::string& yaml) : World(yaml) {
    LoadModel("judge");
    LoadEmbedder("vec");
    const policy::PolicySource source{"house", yaml};
    auto compiled = policy::PolicySet::Compile({&source, 1});
    REQUIRE(compiled.ok());
    policies = *std::move(compiled);
  }

  absl::StatusOr<std::vector<policy::Heard>> Try(const std::string& text, bool output, const std::function<absl::Status()>& keep_going) {
    const auto snapshot = directory.InForce();
    REQUIRE(snapshot.ok());
    pipeline::TextAsk ask;
    ask.who = {*snapshot, (*snapshot)->shards()[0]->places[0]};
    ask.output = output;
    ask.policies = policies;
    ask.text = {output ? policy::Role::kAssistant : policy::Role::kUser, "", {text}};
    ask.questions = output ? policies->QuestionsOfOutput({}) : policies->Inspect({}, {&ask.text, 1})->questions;
    return pipe().AskAbout(std::move(ask), keep_going);
  }
  policy::Heard AskOne(const std::string& text, bool output = false) {
    auto heard = Try(text, output, [] { return absl::OkStatus(); });
    REQUIRE(heard.ok());
    REQUIRE(heard->size() == 1);
    return std::move(heard->front());
  }

  std::shared_ptr<const policy::PolicySet> policies;
};

// Says "hit" of text that holds "evil", and keeps what it was asked.
class KeepingAnswerers final : public pipeline::Answerers {
 public:
  void Ask(pipeline::QuestionAsk ask, std::function<void(pipeline::QuestionAnswer)> done) override {
    pipeline::QuestionAnswer answer;
    answer.answer.id = ask.question.id;
    const std::string text = TextOf(ask.messages->front());
    const auto at = static_cast<std::int64_t>(text.find("evil"));
    answer.answer.hit = at >= 0;
    if (answer.answer.hit) answer.answer.spans = {{0, "text", at, at + 4}};
    asks.push_back(std::move(ask));
    done(std::move(answer));
  }
  std::vector<pipeline::QuestionAsk> asks;
};

}  // namespace

TEST_CASE("A guard model says of a text what it would say in a request, and neither record, bill nor quota knows of it") {
  AskingBed world(kGuard);
  world.SetQuota("tokens", "day", 1);  // A request could not ask at all.
  for (const bool output : {false, true}) {
    const policy::Heard evil = world.AskOne("an evil word", output);
    CHECK(evil.answer.id == "guard");
    CHECK(evil.answer.hit);
    CHECK(evil.answer.failure.empty());
    CHECK(evil.category == "evil");
    CHECK(evil.output_tokens == 3);
    CHECK(evil.input_tokens > 0);
    CHECK(evil.millis > 0);
    const policy::Heard kind = world.AskOne("a kind word", output);
    CHECK_FALSE(kind.answer.hit);
    CHECK(kind.answer.failure.empty());
    CHECK(kind.category.empty());
  }
  CHECK(world.journal.size() == 0);
  CHECK(world.pipe().counts().requests == 0);
  CHECK(world.pipe().running() == 0);
  world.CheckBooks();
}

TEST_CASE("Who fails, or is late by its own deadline, is an answer that says so") {
  AskingBed world(kGuard);
  CHECK_THAT(world.AskOne("mumble").answer.failure, ContainsSubstring("cannot be read"));
  CHECK_THAT(world.AskOne("!hang").answer.failure, ContainsSubstring("did not answer in time"));
  AskingBed nobody(Of("detect: {external: gone}, do: block"));
  CHECK_THAT(nobody.AskOne("a").answer.failure, ContainsSubstring("no detector 'gone' is configured"));
}

TEST_CASE("A topic's score is told beside its nearest example") {
  AskingBed world(Of("detect: {topic: {model: vec, examples: ['Shall I sue?']}, least_score: 99}, do: flag"));
  const policy::Heard heard = world.AskOne("Shall I sue?");
  CHECK(heard.answer.score_millionths >= 990'000);
  CHECK(heard.category == "example 1");
  CHECK(heard.input_tokens > 0);
  CHECK(world.AskOne("What is for lunch?").answer.score_millionths < 990'000);
}

TEST_CASE("A long reply is asked about window by window, and the one that hits is told") {
  AskingBed world(Of("where: {direction: output}, detect: {external: g}, do: flag"));
  KeepingAnswerers answerers;
  world.answerers = &answerers;
  const policy::Heard heard = world.AskOne("evil " + std::string(40'000, 'a'), true);
  CHECK(answerers.asks.size() == 3);
  CHECK(heard.answer.hit);
  CHECK(heard.answer.spans.size() == 1);
  CHECK(world.AskOne(std::string(40'000, 'a') + " evil", true).answer.hit);
  CHECK(world.AskOne(std::string(40'000, 'a') + " evil", true).answer.spans.empty());  // They would count from elsewhere.
}

TEST_CASE("An explanation whose caller goes away ends what it asked") {
  AskingBed world(Of("detect: {guard: {model: judge, prompt: '{{text}}', answer: {hit: a, pass: b}, deadline_ms: 120000}}, do: flag"));
  const auto heard = world.Try("!hang", false, [] { return base::Cancelled("the call was cancelled"); });
  CHECK(absl::IsCancelled(heard.status()));
  CHECK(world.pipe().running() == 0);
}

TEST_CASE("Who may run nothing is told so instead of an answer") {
  AskingBed world(kGuard);
  world.BlockTeam();
  CHECK_THAT(world.AskOne("a kind word").answer.failure, ContainsSubstring("blocked"));
}
