// Topics in the pipeline: texts and examples are embedded by a model of the pool, metered apart, held in quota, and fail closed. The
// scripted model's vectors of one text are the same, and of two texts nothing alike.
#include "gateway/pipeline/topic_guard.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using Catch::Matchers::ContainsSubstring;
using pipeline::Failure;
using pipeline::Reply;
using pipeline::TopicExamples;
using test::ReasonOf;

namespace {

std::string Rule(const std::string& where, const std::string& more = "", const std::string& topic = "") {
  return "version: 1\nname: house\nrules:\n  - {id: mail, detect: {personal_data: email}, do: redact}\n  - {id: law, where: {direction: " +
         where + "}, detect: {topic: {model: vec, examples: ['Can my landlord evict me?', 'Shall I sue?']" + topic + "}, least_score: 99" +
         more + "}, do: block, because: No legal advice.}\n";
}

struct Bed : test::World {
  explicit Bed(const std::string& policy) : World(policy) { LoadEmbedder("vec"); }
  v1::EndBody End() const { return journal.entries().back().record.end(); }
  absl::Status Refused(const std::string& text) {
    const auto outcome = Chat(Ask(text));
    REQUIRE(std::holds_alternative<Failure>(outcome));
    return std::get<Failure>(outcome).status;
  }
};

}  // namespace

TEST_CASE(
    "A prompt of the topic is refused, another goes on; its tokens are a line of their own, and the examples' are those of the first") {
  Bed world(Rule("input"));
  CHECK(std::get<Reply>(world.Chat(world.Ask("What is for lunch?"))).text == "What is for lunch?");
  const v1::EndBody first = world.End();
  REQUIRE(first.guards_size() == 1);
  CHECK(first.guards(0).detector() == "topic");
  CHECK(first.guards(0).name() == "vec");
  CHECK_FALSE(first.guards(0).hit());
  CHECK(first.guards(0).failure().empty());
  CHECK(first.guards(0).score_millionths() < 990'000);
  REQUIRE(first.guard_usage_size() == 1);
  CHECK(first.guard_usage(0).model() == "vec");
  CHECK(first.guard_usage(0).tokens().output() == 0);
  CHECK(first.guard_usage(0).tokens().input() == first.guards(0).guard_input_tokens());

  CHECK(std::holds_alternative<Reply>(world.Chat(world.Ask("What is for lunch?"))));
  const v1::EndBody second = world.End();
  CHECK(second.guards(0).score_millionths() == first.guards(0).score_millionths());
  CHECK(second.guard_usage(0).tokens().input() > 0);
  CHECK(second.guard_usage(0).tokens().input() < first.guard_usage(0).tokens().input());

  const absl::Status refused = world.Refused("Shall I sue?");
  CHECK(ReasonOf(refused) == "POLICY_BLOCKED");
  CHECK_THAT(base::Message(refused), ContainsSubstring("No legal advice."));
  const audit::Entry last = world.journal.entries().back();
  CHECK(last.record.end().guards(0).hit());
  CHECK(last.record.end().guards(0).category() == "example 2");
  CHECK(last.record.end().guards(0).score_millionths() >= 999'000);
  CHECK(last.record.end().tokens().output() == 0);
  REQUIRE(world.Content(last).guard_answers_size() == 1);
  CHECK(world.Content(last).guard_answers(0).text() == "Shall I sue?");
  CHECK(world.Kinds() == "REQUEST FINAL REQUEST FINAL REQUEST FINAL");
  world.CheckBooks();
}

TEST_CASE("One sentence of the topic in a long text is found; what is unlike the topic, though near it, is none") {
  Bed world(Rule("input"));
  const std::string filler = "This sentence is about nothing in particular, and it is long enough for a piece. ";
  CHECK(std::holds_alternative<Reply>(world.Chat(world.Ask(filler + filler))));
  CHECK(ReasonOf(world.Refused(filler + filler + "Can my landlord evict me?" + std::string(40, ' ') + "\n" + filler)) == "POLICY_BLOCKED");
  CHECK(world.End().guards(0).category() == "example 1");
  world.CheckBooks();
  Bed unlike(Rule("input", "", ", unlike: ['Shall I sue?']"));
  CHECK(std::holds_alternative<Reply>(unlike.Chat(unlike.Ask("Shall I sue?"))));
  CHECK(unlike.End().guards(0).score_millionths() == 0);
  unlike.CheckBooks();
}

TEST_CASE("A reply that is held leaves after it was compared or not at all, streamed or whole") {
  for (const bool streamed : {false, true}) {
    Bed world(Rule("output", ", at: sentence"));
    test::RecordingWriter good, bad;
    const auto fine = world.Chat(world.Ask("All is well. And well it ends."), streamed ? &good : nullptr);
    REQUIRE(std::holds_alternative<Reply>(fine));
    CHECK(good.text + std::get<Reply>(fine).text == "All is well. And well it ends.");
    const auto blocked = world.Chat(world.Ask("Shall I sue?"), streamed ? &bad : nullptr);
    REQUIRE(std::holds_alternative<Reply>(blocked));
    CHECK(std::get<Reply>(blocked).end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER);
    CHECK((bad.text + std::get<Reply>(blocked).text).empty());
    CHECK(world.End().guards(0).hit());
    CHECK(world.End().guards(0).output());
    CHECK(world.End().guard_usage(0).tokens().input() == world.End().guards(0).guard_input_tokens());
    world.CheckBooks();
  }
  Bed observed(Rule("output", ", at: end, stream: observe"));
  test::RecordingWriter writer;
  REQUIRE(std::holds_alternative<Reply>(observed.Chat(observed.Ask("Shall I sue?"), &writer)));
  CHECK(observed.End().guards(0).hit());
  CHECK(observed.End().guards(0).bytes_out() > 0);
  observed.CheckBooks();
}

TEST_CASE("What cannot be compared acts as a hit, or not at all where the rule says so, and is on record as not scanned") {
  test::World none(Rule("input"));
  CHECK(std::holds_alternative<Failure>(none.Chat(none.Ask("lunch"))));
  CHECK_THAT(none.journal.entries().back().record.end().guards(0).failure(),
             ContainsSubstring("embedding model 'vec': no such model is loaded"));
  test::World chats(Rule("input"));
  chats.LoadModel("vec");
  CHECK(std::holds_alternative<Failure>(chats.Chat(chats.Ask("lunch"))));
  CHECK_THAT(chats.journal.entries().back().record.end().guards(0).failure(), ContainsSubstring("it chats; name a model that embeds"));
  test::World open(Rule("input", ", on_error: allow"));
  CHECK(std::get<Reply>(open.Chat(open.Ask("lunch"))).text == "lunch");
  CHECK(open.journal.entries().back().record.end().input_verdict().not_scanned(0) == "topic vec (law)");
  std::string words;
  for (int i = 0; i < 100; ++i) words += "word ";
  Bed quota(Rule("input", "", ", unlike: ['" + words + "']"));
  quota.SetQuota("tokens", "day", 60);
  CHECK(ReasonOf(quota.Refused("lunch")) == "POLICY_BLOCKED");
  CHECK_THAT(quota.End().guards(0).failure(), ContainsSubstring("quota of team search"));
  CHECK(quota.End().guard_usage_size() == 0);
  Bed failing(Rule("input"));
  CHECK(ReasonOf(failing.Refused("!fail")) == "POLICY_BLOCKED");
  CHECK_FALSE(failing.End().guards(0).failure().empty());
  for (test::World* world : {&none, &chats, &open, static_cast<test::World*>(&quota), static_cast<test::World*>(&failing)})
    world->CheckBooks();
}

TEST_CASE("A text that the model's context does not hold is cut until it does") {
  test::World small(Rule("input"));
  small.LoadEmbedder("vec", inference::Pooling::kMean, 40);
  CHECK(std::holds_alternative<Reply>(small.Chat(small.Ask(std::string(300, 'x')))));
  CHECK(small.journal.entries().back().record.end().guards(0).failure().empty());
  small.CheckBooks();
}

TEST_CASE("The examples' vectors are kept for each tenant, model and topic apart, and those least used go first") {
  TopicExamples kept;
  const base::TeamId ann{base::Uuid::NewV7()}, bob{base::Uuid::NewV7()};
  const base::Digest model = base::Sha256("m"), other = base::Sha256("n");
  const auto vectors = std::make_shared<const std::vector<float>>(TopicExamples::kNumbersMax / 2, 1.0F);
  kept.Keep(ann, model, other, vectors);
  CHECK(kept.Find(ann, model, other) == vectors);
  CHECK(kept.Find(bob, model, other) == nullptr);
  CHECK(kept.Find(ann, other, other) == nullptr);
  CHECK(kept.Find(ann, model, model) == nullptr);
  kept.Keep(bob, model, other, vectors);
  CHECK(kept.Find(ann, model, other) == vectors);
  kept.Keep(bob, model, model, vectors);
  CHECK(kept.Find(ann, model, other) == vectors);
  CHECK(kept.Find(bob, model, other) == nullptr);
}
