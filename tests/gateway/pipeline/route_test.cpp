// Aliases: where requests are led, what is on record, and what may not be led around.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using pipeline::Outcome;
using pipeline::Reply;
using test::ReasonOf;
using test::World;
namespace v1 = tollgate::v1;

namespace {

std::string RouteOf(const Outcome<Reply>& outcome) {
  const auto* reply = std::get_if<Reply>(&outcome);
  if (reply == nullptr) return "refused: " + ReasonOf(outcome);
  return reply->head.told_route;
}

const v1::RequestBody& LastRequest(const World& world, v1::RequestBody& keep) {
  for (const audit::Entry& entry : world.journal.entries()) {
    if (entry.record.has_request()) keep = entry.record.request();
  }
  return keep;
}

}  // namespace

TEST_CASE("An alias leads to its target; record, usage, reply and route say what was asked for and what was used") {
  World world;
  world.SetAlias("chat", "script=1", "");
  const auto outcome = world.Chat(world.Ask("hello", "chat"));
  REQUIRE(std::holds_alternative<Reply>(outcome));
  CHECK(std::get<Reply>(outcome).head.model == "script");
  CHECK(RouteOf(outcome) == "alias=chat; model=script; share=1/1");
  v1::RequestBody body;
  CHECK(LastRequest(world, body).model_requested() == "chat");
  CHECK(body.model() == "script");
  CHECK(RouteOf(world.Chat(world.Ask("hello", "script"))).empty());
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "chat2"))) == "MODEL_NOT_FOUND");
  world.CheckBooks();
}

TEST_CASE("Requests of a canary go to each target by their id, and the same one always to the same") {
  World world;
  world.LoadModel("other");
  world.SetAlias("chat", "script=50 other=50", "");
  std::set<std::string> routes;
  for (int i = 0; i < 40; ++i) {
    pipeline::Caller caller = world.NewCaller();
    const auto outcome = world.ChatAs(caller, world.Ask("hello", "chat"));
    routes.insert(RouteOf(outcome));
    const auto counted = world.Count(caller, "chat");
    CHECK(counted.ok());
  }
  CHECK(routes == std::set<std::string>{"alias=chat; model=other; share=50/100", "alias=chat; model=script; share=50/100"});
  world.CheckBooks();
}

TEST_CASE("A target that is not loaded, or whose queue is full, gives way to the first fallback that can take the request") {
  World world;
  world.LoadModel("small", 1, 0);
  world.LoadModel("spare");
  world.SetAlias("gone", "nowhere=1", "nowhere2 spare script");
  CHECK(RouteOf(world.Chat(world.Ask("hello", "gone"))) == "alias=gone; model=spare; fallback=2");

  world.SetAlias("busy", "small=1", "small spare");
  CHECK(RouteOf(world.Chat(world.Ask("hello", "busy"))) == "alias=busy; model=small; share=1/1");
  const auto cancellation = std::make_shared<pipeline::Cancellation>();
  auto hung = world.Start(world.Ask("!tokens 1\n!hang", "small"), nullptr, cancellation);
  while (!world.Full("small")) std::this_thread::yield();
  CHECK(RouteOf(world.Chat(world.Ask("hello", "busy"))) == "alias=busy; model=spare; fallback=2");
  world.SetAlias("alone", "small=1", "");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "alone"))) == "QUEUE_FULL");
  world.SetAlias("both", "small=1", "nowhere");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "both"))) == "QUEUE_FULL");
  cancellation->Cancel();
  hung.get();
  world.CheckBooks();
}

TEST_CASE("A team that has its part of a queue is led to the fallback, another team is not; several replies want room for all") {
  World world;
  const std::string of_another = world.AddTeam("sales");
  world.LoadModel("small", 4, 3);  // Of 7 places one team alone has 6.
  world.LoadModel("spare");
  world.SetAlias("busy", "small=1", "spare");
  const auto ask = [&](const std::string& key, int choices) {
    pipeline::Caller caller = world.NewCaller();
    caller.bearer = key;
    v1::ChatRequest request = world.Ask("hello", "busy");
    request.set_choices(choices);
    return RouteOf(world.ChatAs(caller, request));
  };
  const auto inside = [&] {
    const auto stats = world.pool().stats();
    const auto small = std::find_if(stats.begin(), stats.end(), [](const auto& s) { return s.model == "small"; });
    return small->running + small->waiting;
  };
  std::vector<std::pair<std::shared_ptr<pipeline::Cancellation>, std::future<Outcome<Reply>>>> hung;
  const auto hang = [&](int sequences) {
    while (inside() < sequences) {
      const int before = inside();
      const auto cancellation = std::make_shared<pipeline::Cancellation>();
      hung.emplace_back(cancellation, world.Start(world.Ask("!hang", "small"), nullptr, cancellation));
      while (inside() == before) std::this_thread::yield();
    }
  };
  const std::string to_small = "alias=busy; model=small; share=1/1", to_spare = "alias=busy; model=spare; fallback=1";
  hang(5);
  CHECK(ask(world.key_text, 2) == to_spare);
  hang(6);
  CHECK(ask(world.key_text, 1) == to_spare);
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "small"))) == "QUEUE_FULL");
  CHECK(ask(of_another, 1) == to_small);
  CHECK(ask(of_another, 2) == to_spare);
  CHECK(world.journal.Of(v1::RECORD_KIND_ABORT).size() == 1);  // Of the one that was asked for by its name: others knew before.
  for (auto& [cancellation, call] : hung) cancellation->Cancel();
  for (auto& [cancellation, call] : hung) call.get();
  world.CheckBooks();
}

TEST_CASE("Nothing is led around an allow-list or a price") {
  World world;
  world.LoadModel("other");
  world.LoadModel("free", 2, 8, false);  // Without a price.
  world.SetAlias("chat", "other=99 script=1", "");
  world.SetAlias("secret", "other=1", "script");
  world.SetAlias("gone", "nowhere=1", "free other script");
  CHECK(RouteOf(world.Chat(world.Ask("hello", "gone"))) == "alias=gone; model=other; fallback=2");  // Not `free`: it has no price.
  world.SetAlias("unpriced", "free=1", "script");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "unpriced"))) == "MODEL_UNPRICED");

  world.GrantOnly("script");
  CHECK(RouteOf(world.Chat(world.Ask("hello", "chat"))) == "alias=chat; model=script; share=1/1");  // The other target is not for this key.
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "secret"))) == "MODEL_NOT_GRANTED");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "gone"))) == "MODEL_NOT_GRANTED");
  world.CheckBooks();
}

TEST_CASE("Nothing is led around an emergency stop, not by a fallback that the key may use") {
  World world;
  world.LoadModel("other");
  world.SetAlias("there", "script=1", "other");
  world.SetAlias("away", "nowhere=1", "script other");
  world.journal.Hold();
  auto running = world.Start(world.Ask("hello", "there"), nullptr, std::make_shared<pipeline::Cancellation>());
  while (world.journal.waiting() == 0) std::this_thread::yield();
  world.StopModel();
  world.journal.Release();
  CHECK(ReasonOf(running.get()) == "EMERGENCY_STOP");  // It is seen when the record is there,
  CHECK(world.Kinds() == "REQUEST FINAL");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "there"))) == "EMERGENCY_STOP");  // and before there is one.
  CHECK(world.Kinds() == "REQUEST FINAL");
  CHECK(RouteOf(world.Chat(world.Ask("hello", "away"))) == "alias=away; model=other; fallback=2");
  world.CheckBooks();
}

TEST_CASE("Policy is that of the model that is used") {
  World world(R"(version: 1
name: house
rules:
  - id: not-on-other
    where: { model: other }
    detect: { keywords: [hello] }
    do: block
)");
  world.LoadModel("other");
  world.SetAlias("chat", "other=1", "script");
  world.SetAlias("gone", "nowhere=1", "script");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "chat"))) == "POLICY_BLOCKED");
  const v1::DenyBody deny = world.journal.entries()[0].record.deny();
  CHECK(deny.model_requested() == "chat");
  CHECK(deny.model() == "other");
  CHECK(deny.adapters().empty());
  CHECK(RouteOf(world.Chat(world.Ask("hello", "gone"))) == "alias=gone; model=script; fallback=1");
}

TEST_CASE("An alias is listed as a model with the context that all its targets give, if the key may use one of them") {
  World world;
  world.LoadModel("other", 2, 8, true, 1000);
  world.SetAlias("chat", "other=1 script=1", "");
  world.SetAlias("script", "other=1", "");
  world.SetAlias("nothing", "nowhere=1", "script");
  std::map<std::string, std::int64_t> listed;
  const v1::ListModelsReply reply = world.List();
  for (const v1::Model& model : reply.models()) {
    CHECK(model.created() > 0);
    listed[model.name()] = model.context_tokens();
  }
  CHECK(listed == std::map<std::string, std::int64_t>{{"chat", 1000}, {"other", 1000}, {"script", 1000}});
}

TEST_CASE("A retired model answers nobody from that moment on, although the pool holds it still; one that tollgate.yaml names does") {
  World world;
  world.LoadModel("legal");
  world.configured_models = {"script"};
  directory::Model legal;
  legal.name = "legal";
  legal.engine = "scripted";
  legal.restricted = legal.loaded = true;
  world.Register(legal);
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "legal"))) == "MODEL_NOT_GRANTED");
  legal.loaded = false;
  legal.retired = true;
  world.Register(legal);
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "legal"))) == "MODEL_NOT_FOUND");
  CHECK(world.List().models_size() == 1);
  world.SetAlias("chat", "legal=1", "");
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "chat"))) == "MODEL_NOT_FOUND");
  CHECK(world.List().models_size() == 1);

  directory::Model anew = legal;  // Under the old name, other weights that are not loaded yet, for everyone.
  anew.restricted = anew.retired = false;
  anew.loaded = true;
  anew.engine = "llama";
  anew.file = "other.gguf";
  anew.licence = "Apache-2.0";
  anew.sha256 = base::Sha256("other weights");
  world.Register(anew);
  CHECK(ReasonOf(world.Chat(world.Ask("hello", "legal"))) == "MODEL_NOT_LOADED");

  directory::Model namesake = legal;
  namesake.name = "script";
  world.Register(namesake);
  CHECK(RouteOf(world.Chat(world.Ask("hello", "script"))).empty());
  world.CheckBooks();
}
