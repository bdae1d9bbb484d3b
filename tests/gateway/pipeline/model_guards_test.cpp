// Guard models run in the pool on the caller's behalf: when they are asked, what their answers do, who pays, and what ends them.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>

#include "gateway/pipeline/breaker.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using pipeline::Failure;
using pipeline::Reply;
using test::ReasonOf;

namespace {

// The guard "judge" is a script: it says what its prompt tells it to, else its prompt.
constexpr const char* kEchoed = "prompt: '{{text}}', answer: {hit_regex: evil, pass_regex: kind|well}, answer_tokens: 64";

std::string Rule(const std::string& where, const std::string& guard, const std::string& more = "", const std::string& action = "block") {
  return "version: 1\nname: house\nrules:\n  - {id: mail, detect: {personal_data: email}, do: redact}\n  - {id: guard, where: "
         "{direction: " +
         where + "}, detect: {guard: {model: judge, " + guard + "}" + more + "}, do: " + action + ", because: Be kind.}\n";
}

struct Bed : test::World {
  explicit Bed(const std::string& policy) : World(policy) { LoadModel("judge"); }
  v1::EndBody End() const { return journal.entries().back().record.end(); }
  absl::Status Refused(const std::string& text) {
    const auto outcome = Chat(Ask(text));
    REQUIRE(std::holds_alternative<Failure>(outcome));
    return std::get<Failure>(outcome).status;
  }
};

// Until so many sequences hold a slot of the guard.
void WaitForJudge(test::World& world, int running) {
  const auto runs = [&] {
    const auto stats = world.pool().stats();
    return std::any_of(stats.begin(), stats.end(), [&](const auto& its) { return its.model == "judge" && its.running == running; });
  };
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!runs() && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
  REQUIRE(runs());
}

}  // namespace

TEST_CASE("A prompt goes on or ends by what a guard model says of it, and its tokens are a line of their own") {
  Bed world(Rule("input", kEchoed));
  CHECK(std::get<Reply>(world.Chat(world.Ask("a kind word"))).text == "a kind word");
  const v1::EndBody fine = world.End();
  REQUIRE(fine.guards_size() == 1);
  CHECK(fine.guards(0).detector() == "guard");
  CHECK(fine.guards(0).name() == "judge");
  CHECK_FALSE(fine.guards(0).hit());
  CHECK(fine.guards(0).guard_output_tokens() == 3);
  REQUIRE(fine.guard_usage_size() == 1);
  CHECK(fine.guard_usage(0).model() == "judge");
  CHECK(fine.guard_usage(0).asked() == 1);
  CHECK(fine.guard_usage(0).tokens().output() == 3);
  CHECK(fine.guard_usage(0).tokens().delivered() == 0);
  CHECK(fine.tokens().output() == 3);

  const absl::Status refused = world.Refused("an evil word for bob@example.com");
  CHECK(ReasonOf(refused) == "POLICY_BLOCKED");
  CHECK_THAT(base::Message(refused), ContainsSubstring("Be kind."));
  const audit::Entry last = world.journal.entries().back();
  CHECK(last.record.end().tokens().output() == 0);
  CHECK(last.record.end().guards(0).hit());
  CHECK(last.record.end().guard_usage(0).tokens().input() > 0);
  REQUIRE(world.Content(last).guard_answers_size() == 1);
  CHECK(world.Content(last).guard_answers(0).text() == "an evil word for [EMAIL]");
  CHECK(world.Kinds() == "REQUEST FINAL REQUEST FINAL");
  world.CheckBooks();
}

TEST_CASE("A reply that is held leaves after its guard's verdict or not at all, streamed or whole") {
  for (const bool streamed : {false, true}) {
    Bed world(Rule("output", kEchoed, ", at: sentence"));
    test::RecordingWriter good, bad;
    const auto fine = world.Chat(world.Ask("All is well. And well it ends."), streamed ? &good : nullptr);
    REQUIRE(std::holds_alternative<Reply>(fine));
    CHECK(good.text + std::get<Reply>(fine).text == "All is well. And well it ends.");
    const auto blocked = world.Chat(world.Ask("All is well. An evil word. More."), streamed ? &bad : nullptr);
    REQUIRE(std::holds_alternative<Reply>(blocked));
    CHECK(std::get<Reply>(blocked).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    CHECK((bad.text + std::get<Reply>(blocked).text).find("evil") == std::string::npos);
    const audit::Entry last = world.journal.entries().back();
    CHECK(last.record.end().guards(0).hit());
    CHECK(last.record.end().guards(0).bytes_out() <= last.record.end().delivered_bytes());
    CHECK(last.record.end().guard_usage(0).tokens().input() == last.record.end().guards(0).guard_input_tokens());
    CHECK_THAT(world.Content(last).guard_answers(0).text(), ContainsSubstring("evil"));
    for (const audit::Entry& entry : world.journal.entries()) {
      if (entry.record.has_segment_body()) CHECK(entry.record.segment_body().guard_usage_size() == 1);
    }
    world.CheckBooks();
  }
}

TEST_CASE("The score of a verdict's word is held against the rule's threshold, whatever the word is") {
  const auto hits = [](const std::string& script, int least) {
    Bed world(
        Rule("input", "prompt: \"" + script + "\\n# {{text}}\", answer: {hit: yes, pass: no}", ", least_score: " + std::to_string(least)));
    const bool hit = std::holds_alternative<Failure>(world.Chat(world.Ask("hello")));
    const v1::GuardOutcome outcome = world.End().guards(0);
    CHECK(outcome.failure().empty());
    CHECK(outcome.hit() == hit);
    world.CheckBooks();
    return std::pair(hit, outcome.score_millionths());
  };
  CHECK(hits("!alt no\\n!say yes", 70) == std::pair(true, std::int64_t{731'059}));
  CHECK(hits("!alt no\\n!say yes", 80).first == false);
  CHECK(hits("!alt yes\\n!say no", 25) == std::pair(true, std::int64_t{268'941}));
  CHECK(hits("!say no", 1).first == false);
}

TEST_CASE("What is no verdict acts as a hit, or not at all where the rule says so, and is on record as not scanned") {
  Bed closed(Rule("input", kEchoed));
  CHECK(ReasonOf(closed.Refused("mumble")) == "POLICY_BLOCKED");
  CHECK_THAT(closed.End().guards(0).failure(), ContainsSubstring("cannot be read"));
  Bed open(Rule("input", kEchoed, ", on_error: allow"));
  CHECK(std::get<Reply>(open.Chat(open.Ask("mumble"))).text == "mumble");
  CHECK(open.End().input_verdict().not_scanned(0) == "guard judge (guard)");
  test::World long_text(Rule("input", kEchoed));
  long_text.LoadModel("judge", 2, 8, true, 80);
  CHECK(std::holds_alternative<Failure>(long_text.Chat(long_text.Ask("well " + std::string(200, 'x')))));
  CHECK_THAT(long_text.journal.entries().back().record.end().guards(0).failure(), ContainsSubstring("it takes 80 in all"));
  long_text.CheckBooks();
  Bed cut(Rule("input", "prompt: '{{text}}', answer: {hit_regex: evil, pass_regex: kind}, answer_tokens: 2"));
  CHECK(ReasonOf(cut.Refused("a kind word")) == "POLICY_BLOCKED");
  for (const Bed* world : {&closed, &open, &cut}) world->CheckBooks();
}

TEST_CASE("A guard that is not there, has no price or may not be used by the org fails closed; the caller's own grants do not matter") {
  test::World none(Rule("input", kEchoed));
  CHECK(std::holds_alternative<Failure>(none.Chat(none.Ask("kind"))));
  CHECK_THAT(none.journal.entries().back().record.end().guards(0).failure(), ContainsSubstring("no such model is loaded"));
  test::World unpriced(Rule("input", kEchoed));
  unpriced.LoadModel("judge", 2, 8, false);
  CHECK(std::holds_alternative<Failure>(unpriced.Chat(unpriced.Ask("kind"))));
  CHECK_THAT(unpriced.journal.entries().back().record.end().guards(0).failure(), ContainsSubstring("has no price"));
  Bed granted(Rule("input", kEchoed));
  granted.GrantOnly("script");  // To the team.
  CHECK(std::holds_alternative<Reply>(granted.Chat(granted.Ask("kind"))));
  Bed forced(Rule("input", "prompt: '{{text}}', answer: {hit: yes, pass: no, force: true}"));
  CHECK(std::holds_alternative<Failure>(forced.Chat(forced.Ask("no"))));
  CHECK_THAT(forced.End().guards(0).failure(), ContainsSubstring("cannot be held to the words"));
}

TEST_CASE("A model with adapters may be a guard, where the org may use each of them") {
  for (const std::string guard : {"script:judge", "script:judge+polite"}) {
    INFO(guard);
    std::string rule = Rule("input", kEchoed);
    rule.replace(rule.find("judge"), 5, "'" + guard + "'");
    test::World world(rule);
    world.LoadAdapter("judge", false);
    world.LoadAdapter("polite", false);
    CHECK(std::get<Reply>(world.Chat(world.Ask("a kind word"))).text == "a kind word");
    CHECK(world.journal.entries().back().record.end().guard_usage(0).model() == guard);
    CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("an evil word"))));
    CHECK(world.journal.entries().back().record.end().guards(0).failure().empty());
    world.LoadAdapter("judge", true);  // Restricted, and not granted to the org.
    CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("a kind word"))));
    CHECK_THAT(world.journal.entries().back().record.end().guards(0).failure(), ContainsSubstring("the org may not use it"));
    world.CheckBooks();
  }
}

TEST_CASE("An alias leads to its guard, or to a fallback where that is not loaded") {
  Bed world(Rule("input", kEchoed));
  world.SetAlias("judge", "gone", "judge");  // An alias comes before a model of its name.
  CHECK(std::holds_alternative<Reply>(world.Chat(world.Ask("kind"))));
  CHECK(world.End().guard_usage(0).model() == "judge");
  world.CheckBooks();
}

TEST_CASE("A guard's tokens are the caller's quota's before it runs, and what the quota does not have is no verdict") {
  Bed world(Rule("input", kEchoed));
  world.SetQuota("tokens", "day", 60);
  CHECK(ReasonOf(world.Refused("a kind word")) == "POLICY_BLOCKED");
  const v1::EndBody end = world.End();
  CHECK_THAT(end.guards(0).failure(), ContainsSubstring("quota of team search"));
  CHECK(end.guard_usage_size() == 0);
  world.CheckBooks();

  Bed enough(Rule("input", kEchoed));
  enough.SetQuota("tokens", "day", 500);
  std::int64_t used = 0;
  for (int i = 0; i < 3; ++i) {
    REQUIRE(std::holds_alternative<Reply>(enough.Chat(enough.Ask("a kind word"))));
    const v1::EndBody one = enough.End();
    used += one.tokens().input() + one.tokens().output() + one.guard_usage(0).tokens().input() + one.guard_usage(0).tokens().output();
    const auto limits = enough.Chat(enough.Ask(""));  // Refused or not, its limits tell.
    const auto& left = std::holds_alternative<Reply>(limits) ? std::get<Reply>(limits).head.limits : std::get<Failure>(limits).limits;
    REQUIRE(left.tokens.has_value());
    const v1::EndBody last = enough.End();
    used += last.tokens().input() + last.tokens().output();
    for (const v1::GuardUsage& guard : last.guard_usage()) used += guard.tokens().input() + guard.tokens().output();
    CHECK(left.tokens->remaining == 500 - used);
  }
  enough.CheckBooks();
}

TEST_CASE("What the quota has too little of for a guard, and what a guard left over, is the reply's to the last token") {
  struct Row {
    const char* guard;
    bool answers;
  };
  for (const Row& row :
       {Row{"prompt: '{{text}}', answer: {hit_regex: evil, pass_regex: kind}, answer_tokens: 1000", false},
        Row{"prompt: \"!say kind\\n!say {{text}}\", answer: {hit_regex: evil, pass_regex: kind}, answer_tokens: 200", true}}) {
    Bed world(Rule("input", row.guard, ", on_error: allow"));
    world.SetQuota("tokens", "day", 400);
    const auto outcome = world.Chat(world.Ask("!tokens 1000"));
    const v1::EndBody end = world.End();
    INFO(row.guard << end.DebugString());
    CHECK(std::get<Reply>(outcome).end.finish_reason() == v1::FINISH_REASON_LENGTH);
    CHECK(end.guards(0).failure().empty() == row.answers);
    std::int64_t used = end.tokens().input() + end.tokens().output();
    for (const v1::GuardUsage& guard : end.guard_usage()) used += guard.tokens().input() + guard.tokens().output();
    CHECK(used == 400);
    world.CheckBooks();
  }
}

TEST_CASE("Of a model that does not resume no reply takes from its guards what they need, however much it asks for") {
  for (const char* where : {"input", "output"}) {
    test::WatchedPool pool;
    Bed world(Rule(where, kEchoed, ", on_error: allow"));
    pool.inner = &world.pool();
    pool.resumes = false;
    world.pool_between = &pool;
    world.SetQuota("tokens", "day", 1000);
    v1::ChatRequest ask = world.Ask("a kind word");
    ask.set_max_tokens(3000);
    const auto outcome = world.Chat(ask);
    REQUIRE(std::holds_alternative<Reply>(outcome));
    const v1::EndBody end = world.End();
    INFO(where << end.DebugString());
    REQUIRE(end.guards_size() == 1);
    CHECK(end.guards(0).failure().empty());
    CHECK(end.guard_usage_size() == 1);
    world.CheckBooks();
  }
}

TEST_CASE("A guard that hangs is late by its own deadline, is left alone after some failures, and its tokens are counted") {
  Bed world(Rule("input", "prompt: \"!say well \\n!hang\\n{{text}}\", answer: {hit: bad, pass: good}, deadline_ms: 20"));
  for (int i = 0; i < pipeline::kGuardFailuresMax; ++i) {
    CHECK(ReasonOf(world.Refused("hello")) == "POLICY_BLOCKED");
    CHECK_THAT(world.End().guards(0).failure(), ContainsSubstring("did not answer in time"));
    CHECK(world.End().guard_usage(0).tokens().output() == 1);
  }
  CHECK(ReasonOf(world.Refused("hello")) == "POLICY_BLOCKED");
  CHECK_THAT(world.End().guards(0).failure(), ContainsSubstring("left alone for a while"));
  CHECK(world.End().guard_usage_size() == 0);
  world.CheckBooks();
}

TEST_CASE("A client that goes away ends its guard, whose tokens are settled") {
  Bed world(Rule("input", "prompt: \"!hang\\n{{text}}\", answer: {hit: bad, pass: good}"));
  auto cancellation = std::make_shared<pipeline::Cancellation>();
  auto running = world.Start(world.Ask("hello"), nullptr, cancellation);
  while (world.journal.size() == 0) std::this_thread::yield();
  cancellation->Cancel();
  REQUIRE(std::holds_alternative<Failure>(running.get()));
  CHECK(world.End().reason() == "CLIENT_GONE");
  world.CheckBooks();
}

TEST_CASE("A probe of a guard that its client ends is given back, and the next request asks the guard again") {
  Bed world(Rule("input", "prompt: '{{text}}', answer: {hit_regex: evil, pass_regex: kind|well}, answer_tokens: 64, deadline_ms: 500"));
  pipeline::Breakers breakers(1, std::chrono::milliseconds(0));
  world.breakers = &breakers;
  CHECK_FALSE(world.Refused("!hang").ok());
  REQUIRE(breakers.open());  // And its rest is over.
  auto cancellation = std::make_shared<pipeline::Cancellation>();
  WaitForJudge(world, 0);
  auto running = world.Start(world.Ask("!hang"), nullptr, cancellation);
  WaitForJudge(world, 1);
  cancellation->Cancel();
  REQUIRE(std::holds_alternative<Failure>(running.get()));
  CHECK(breakers.open());
  CHECK(std::get<Reply>(world.Chat(world.Ask("a kind word"))).text == "a kind word");
  CHECK_FALSE(breakers.open());
  world.CheckBooks();
}

TEST_CASE("Callers' short deadlines and a queue that others fill are no failures of a guard") {
  const std::string guard = "prompt: '{{text}}', answer: {hit_regex: evil, pass_regex: kind|well}, deadline_ms: 120000";
  test::World world(Rule("input", guard, ", on_error: allow"));
  world.LoadModel("judge", 1, 0);  // Nobody waits.
  pipeline::Breakers breakers(1, std::chrono::hours(1));
  world.breakers = &breakers;
  auto short_of_time = world.NewCaller();
  short_of_time.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
  world.ChatAs(short_of_time, world.Ask("!hang"));
  CHECK_FALSE(breakers.open());

  auto cancellation = std::make_shared<pipeline::Cancellation>();
  WaitForJudge(world, 0);
  auto running = world.Start(world.Ask("!hang"), nullptr, cancellation);
  WaitForJudge(world, 1);
  CHECK(std::holds_alternative<Reply>(world.Chat(world.Ask("a kind word"))));
  CHECK_THAT(world.journal.entries().back().record.end().guards(0).failure(), ContainsSubstring("all it may hold"));
  cancellation->Cancel();
  running.wait();
  CHECK_FALSE(breakers.open());
  CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("an evil word"))));
  world.CheckBooks();
}

TEST_CASE("Each of several replies, its calls and its thoughts are judged by themselves, and all is one bill") {
  for (const bool streamed : {false, true}) {
    Bed world(Rule("output", kEchoed));
    v1::ChatRequest ask = world.Ask("All is well.");
    ask.set_choices(3);
    test::RecordingWriter writer;
    const auto outcome = world.Chat(ask, streamed ? &writer : nullptr);
    REQUIRE(std::holds_alternative<Reply>(outcome));
    CHECK(std::get<Reply>(outcome).end.choices_size() == 3);
    CHECK(world.End().guards_size() == 3);
    CHECK(world.End().guard_usage(0).asked() == 3);
    const auto thought = world.Chat(world.Ask("!think an evil plan\n!say all is well"), streamed ? &writer : nullptr);
    REQUIRE(std::holds_alternative<Reply>(thought));
    CHECK(std::get<Reply>(thought).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    CHECK((writer.thought + std::get<Reply>(thought).thought).find("evil") == std::string::npos);
    world.CheckBooks();
  }
}
