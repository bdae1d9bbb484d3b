// Band and weight, by which a request waits for a busy model: whose are in force, that they reach the pool on every way that leads there,
// and what goes on record of them. And caps on thoughts, which hold whether or not a caller names a bound.
#include <algorithm>
#include <optional>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/directory/chat_defaults.h"
#include "gateway/pipeline/defaults.h"
#include "tests/gateway/pipeline/embed_world.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using directory::ChatDefaults;
using pipeline::Failure;
using test::ReasonOf;
using test::ReplyOf;
using test::WatchedWork;

namespace {

v1::ChatDefaults Stand(std::optional<int> band, std::optional<double> weight) {
  v1::ChatDefaults settings;
  if (band) settings.set_band(*band);
  if (weight) settings.set_weight(*weight);
  return settings;
}

v1::ChatDefaults ThoughtCap(int tokens) {
  v1::ChatDefaults settings;
  settings.set_reasoning_tokens_cap(tokens);
  return settings;
}

// A company whose pool is watched.
struct Watched {
  test::WatchedPool pool;
  test::EmbedWorld world;

  explicit Watched(const std::string& policy = "") : world(policy) {
    pool.inner = &world.pool();
    world.pool_between = &pool;
  }

  // What the pool was given, which is all of the caller's own and stands alike: "script vec", the models in order.
  std::string Given(int band, double weight) {
    std::string models;
    for (const WatchedWork& work : pool.Take()) {
      INFO(work.model);
      CHECK(work.band == band);
      CHECK(work.weight == weight);
      const auto snapshot = *world.directory.InForce();
      const auto place = snapshot->FindKey(work.key);
      REQUIRE(place.has_value());
      CHECK(work.tenant == place->team->id);
      models += (models.empty() ? "" : " ") + work.model;
    }
    return models;
  }
  v1::RequestBody LastRequest() const { return world.journal.Of(v1::RECORD_KIND_REQUEST).back().record.request(); }
};

std::string Refusal(const pipeline::Outcome<pipeline::Reply>& outcome) {
  const auto* failure = std::get_if<Failure>(&outcome);
  return failure == nullptr ? "answered" : base::Message(failure->status);
}

}  // namespace

TEST_CASE("The deepest scope that sets a band, and the deepest that sets a weight, decide how a request stands") {
  struct Row {
    std::vector<v1::ChatDefaults> scopes;  // Org, team, project, key.
    int band;
    double weight;
  };
  const std::optional<int> none;
  const std::optional<double> no_weight;
  const Row rows[] = {
      {{}, inference::kBandDefault, 1},
      {{Stand(2, 0.5)}, 2, 0.5},
      {{Stand(2, 0.5), Stand(0, no_weight)}, 0, 0.5},
      {{Stand(2, 0.5), Stand(none, 4.0), Stand(3, no_weight)}, 3, 4},
      {{Stand(none, 2.0), Stand(0, 8.0), Stand(none, 1.0), Stand(1, no_weight)}, 1, 1},
  };
  for (const Row& row : rows) {
    std::vector<ChatDefaults> scopes;
    for (const v1::ChatDefaults& settings : row.scopes) scopes.push_back({"org", "acme", 1, {}, settings});
    std::vector<const ChatDefaults*> chain;
    for (const ChatDefaults& scope : scopes) chain.push_back(&scope);
    CHECK(pipeline::StandingOf(chain).band == row.band);
    CHECK(pipeline::StandingOf(chain).weight == row.weight);
  }
}

TEST_CASE("Band and weight in force reach the pool on every way of a chat, and the record says them") {
  Watched w;
  w.world.LoadModel("second");
  w.world.SetAlias("chat", "script=1", "second");
  CHECK(ReplyOf(w.world.Chat(w.world.Ask("hello"))).text == "hello");
  CHECK(w.Given(inference::kBandDefault, 1) == "script");
  CHECK_FALSE(w.LastRequest().has_band());
  CHECK(w.LastRequest().weight_millionths() == 0);

  w.world.SetDefaults("team", Stand(2, 0.25));
  w.world.SetDefaults("key", Stand(0, std::nullopt));
  test::RecordingWriter writer;
  ReplyOf(w.world.Chat(w.world.Ask("hello")));
  ReplyOf(w.world.Chat(w.world.Ask("hello"), &writer));
  CHECK(w.Given(0, 0.25) == "script script");
  CHECK(w.LastRequest().band() == 0);
  CHECK(w.LastRequest().has_band());
  CHECK(w.LastRequest().weight_millionths() == 250'000);
  CHECK(w.LastRequest().defaults_size() == 2);
  CHECK(w.LastRequest().defaults(1).scope_kind() == "key");

  v1::ChatRequest two = w.world.Ask("hello");
  two.set_choices(2);
  ReplyOf(w.world.Chat(two));
  CHECK(w.Given(0, 0.25) == "script");  // A group.

  v1::ChatRequest thinks = w.world.Ask("!think a b c d\n!say four");
  thinks.set_max_reasoning_tokens(2);
  CHECK(ReplyOf(w.world.Chat(thinks)).text == "four");
  CHECK(w.Given(0, 0.25) == "script script");  // And behind the closed thought.

  ReplyOf(w.world.Chat(w.world.Ask("!away script\n!say one", "chat")));
  CHECK(w.Given(0, 0.25) == "script second");
  CHECK(w.LastRequest().model() == "second");
  CHECK(w.LastRequest().band() == 0);
  w.world.CheckBooks();
}

TEST_CASE("Band and weight reach the pool with vectors, documents, and a reply that is written anew") {
  Watched w(
      "version: 1\nname: house\nrules:\n  - {id: number, where: {direction: output}, detect: {regex: '555-\\d{4}'}, do: block, "
      "retry: 3}\n");
  w.world.SetDefaults("project", Stand(3, 2.5));
  w.world.Vectors(test::Texts({"a", "b"}));
  CHECK(w.Given(3, 2.5) == "vec");
  CHECK(w.LastRequest().band() == 3);
  CHECK(w.LastRequest().weight_millionths() == 2'500'000);
  const auto ranked = w.world.Rerank(test::Rank("q", {"a", "b"}));
  CHECK(std::holds_alternative<pipeline::RerankAnswer>(ranked));
  CHECK(w.Given(3, 2.5) == "rank");
  ReplyOf(w.world.Chat(w.world.Ask("!say call 55\\|5-1\\|234 now")));
  CHECK(w.Given(3, 2.5).starts_with("script"));  // Where the sequence had ended by then another goes on.
  CHECK(w.world.journal.Of(v1::RECORD_KIND_FINAL).back().record.end().retries_size() == 1);
  w.world.CheckBooks();
}

TEST_CASE("What models are asked on a request's behalf stands as the request does") {
  Watched w(
      "version: 1\nname: house\nrules:\n"
      "  - {id: kind, where: {direction: input}, detect: {guard: {model: judge, prompt: '{{text}}', answer: {hit_regex: evil, "
      "pass_regex: kind}, answer_tokens: 8}}, do: block}\n"
      "  - {id: law, where: {direction: input}, detect: {topic: {model: vec, examples: ['Shall I sue?']}, least_score: 99}, do: "
      "block}\n");
  w.world.LoadModel("judge");
  w.world.SetDefaults("org", Stand(0, 3.0));
  CHECK(ReplyOf(w.world.Chat(w.world.Ask("a kind word"))).text == "a kind word");
  std::string given = w.Given(0, 3);
  for (const char* model : {"judge", "vec", "script"}) CHECK_THAT(given, ContainsSubstring(model));
}

TEST_CASE("A strict answer waits in the last band, whatever is set") {
  Watched w;
  w.world.LoadStrict("exact");
  w.world.SetRoles("member,evidence");
  w.world.SetDefaults("team", Stand(0, 2.0));
  v1::ChatRequest request = w.world.Ask("!say one two", "exact");
  request.set_replay(v1::REPLAY_STRICT);
  CHECK(ReplyOf(w.world.Chat(request)).text == "one two");
  CHECK(w.Given(inference::kBands - 1, 2) == "exact");
  CHECK(w.LastRequest().band() == inference::kBands - 1);
}

TEST_CASE("A cap on thoughts closes those that name no bound at its token, and refuses or lowers a bound beyond it") {
  test::World world;
  v1::ChatDefaults loose = ThoughtCap(4);
  loose.set_clamp(true);
  world.SetDefaults("org", loose);
  world.SetDefaults("project", ThoughtCap(2));
  v1::ChatRequest request = world.Ask("!think a b c d\n!say four is it");
  const auto ask = [&](int bound) {
    request.set_max_reasoning_tokens(bound);
    return world.Chat(request);
  };
  const auto recorded = [&] { return world.journal.Of(v1::RECORD_KIND_REQUEST).back().record.request(); };
  for (const int bound : {0, 1, 2}) {
    const auto outcome = ask(bound);
    INFO(bound);
    const std::int64_t most = bound == 0 ? 2 : bound;
    CHECK(ReplyOf(outcome).end.usage().reasoning() == most);
    CHECK(ReplyOf(outcome).text == "four is it");
    CHECK(recorded().max_reasoning_tokens() == most);
    CHECK(recorded().clamped_size() == 0);
  }
  CHECK(Refusal(ask(3)) == "max_reasoning_tokens: is 3; project web allows at most 2 tokens of thought (version 1 of its defaults)");
  v1::ChatDefaults clamps = ThoughtCap(2);
  clamps.set_clamp(true);
  world.SetDefaults("project", clamps);
  CHECK(ReplyOf(ask(9)).end.usage().reasoning() == 2);
  CHECK(recorded().max_reasoning_tokens() == 2);
  REQUIRE(recorded().clamped_size() == 1);
  CHECK(recorded().clamped(0) == "max_reasoning_tokens");
  world.CheckBooks();
}

TEST_CASE("Under a cap on thoughts a forced call, which begins with none, is asked of a server as a whole, however long") {
  for (const bool named : {false, true}) {
    test::WatchedPool pool;
    test::World world;
    pool.inner = &world.pool();
    pool.resumes = false;
    pool.forms = true;
    world.pool_between = &pool;
    if (!named) world.SetDefaults("team", ThoughtCap(2));
    v1::ChatRequest request = world.Ask("!call find {\"q\": \"one two three four five six seven eight\"}");
    request.add_tools()->set_name("find");
    request.mutable_tool_choice()->set_required(true);
    request.set_max_tokens(50);
    if (named) request.set_max_reasoning_tokens(2);
    const auto outcome = world.Chat(request);
    CHECK(ReplyOf(outcome).calls.size() == 1);
    const auto work = pool.Take();
    REQUIRE(work.size() == 1);
    CHECK(work[0].allowance == 50);
    CHECK(work[0].allowance_final);
    CHECK(world.journal.Of(v1::RECORD_KIND_REQUEST).back().record.request().max_reasoning_tokens() == 0);
    world.CheckBooks();
  }
}

TEST_CASE("Under a cap on thoughts a form has none to close, and what lets none be closed is refused with whose cap it is") {
  test::World world;
  world.LoadStrict("exact");
  world.SetRoles("member,evidence");
  world.SetDefaults("team", ThoughtCap(2));
  v1::ChatRequest strict = world.Ask("!say one", "exact");
  strict.set_replay(v1::REPLAY_STRICT);
  const std::string refused = Refusal(world.Chat(strict));
  CHECK_THAT(refused, ContainsSubstring("replay: a strict answer cannot have its thought closed, and exact thinks; team search allows at "
                                        "most 2 tokens of thought (version 1 of its defaults)"));

  const ChatDefaults team{"team", "search", 4, {}, ThoughtCap(7)};
  const ChatDefaults* chain[] = {&team};
  inference::ModelInfo model;
  model.name = "m";
  model.thinks = model.opens_thinking = true;
  v1::ChatRequest forced = world.Ask("hi");
  CHECK(pipeline::CheckThoughtCap(chain, forced, model).ok());
  v1::ChatRequest json = forced;
  json.set_replay(v1::REPLAY_STRICT);
  CHECK_FALSE(pipeline::CheckThoughtCap(chain, json, model).ok());
  json.mutable_output_form()->set_json_object(true);
  CHECK(pipeline::CheckThoughtCap(chain, json, model).ok());
  forced.add_tools()->set_name("find");
  forced.mutable_tool_choice()->set_required(true);
  const absl::Status status = pipeline::CheckThoughtCap(chain, forced, model);
  CHECK(base::Message(status) ==
        "tool_choice: a call that is forced cannot have its thought closed, and m thinks; team search allows at most 7 tokens of thought "
        "(version 4 of its defaults)");
  CHECK(ReasonOf(status) == "CAP_EXCEEDED");
  model.opens_thinking = false;
  CHECK(pipeline::CheckThoughtCap(chain, forced, model).ok());
  model.opens_thinking = true;
  model.thinks = false;
  CHECK(pipeline::CheckThoughtCap(chain, forced, model).ok());
}
