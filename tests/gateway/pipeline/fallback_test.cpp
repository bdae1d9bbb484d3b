// Fallbacks that are taken after the REQUEST record: who goes on, what is on record of it, what it costs, and where it ends.
#include "gateway/pipeline/fallback.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <thread>

#include "tests/gateway/pipeline/embed_world.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using pipeline::Failure;
using pipeline::Outcome;
using pipeline::Reply;
using test::ReasonOf;
using test::World;
namespace v1 = tollgate::v1;

namespace {

// An alias that leads to script, which others stand behind.
struct Led : World {
  explicit Led(const std::string& fallbacks = "second", const std::string& policy = "") : World(policy) {
    LoadModel("second");
    LoadModel("third");
    SetAlias("chat", "script=1", fallbacks);
  }
  Outcome<Reply> Say(const std::string& prompt, pipeline::StreamWriter* writer = nullptr) { return Chat(Ask(prompt, "chat"), writer); }
};

std::string MessageOf(const Outcome<Reply>& outcome) {
  const auto* failure = std::get_if<Failure>(&outcome);
  return failure == nullptr ? "" : base::Message(failure->status);
}

// Who went on for whom, in order: "script>second>third", with "!" where a record does not name its neighbour.
std::string Chain(const World& world) {
  std::string chain, id, model, announced;
  for (const audit::Entry& entry : world.journal.entries()) {
    const v1::Record& record = entry.record;
    if (record.has_request()) {
      const v1::RequestBody& body = record.request();
      const bool linked = body.continues() == id && body.continues_model() == model && (chain.empty() || announced == record.request_id());
      chain += (chain.empty() ? "" : ">") + std::string(linked ? "" : "!") + body.model();
      id = record.request_id();
      model = body.model();
    }
    if (record.has_deny()) {
      const bool linked = record.deny().continues() == id && record.deny().continues_model() == model && announced == record.request_id();
      chain += linked ? ">denied" : ">!denied";
      announced.clear();
    }
    if (record.has_end()) announced = record.end().continued_as();
  }
  return chain + (announced.empty() ? "" : ">announced");
}

bool Runs(World& world, const std::string& model) {
  const auto stats = world.pool().stats();
  return std::any_of(stats.begin(), stats.end(), [&](const auto& s) { return s.model == model && s.running > 0; });
}

std::string IdOf(const std::string& bytes) { return base::Uuid::FromBytes(bytes)->ToString(); }

}  // namespace

TEST_CASE("A model that cannot be reached gives way before its first token, on every surface, and both requests are on record") {
  struct Row {
    bool stream;
    int choices;
  };
  for (const Row row : {Row{false, 1}, Row{true, 1}, Row{false, 2}, Row{true, 2}}) {
    Led world;
    test::RecordingWriter writer;
    v1::ChatRequest ask = world.Ask("!away script\n!say one two three", "chat");
    ask.set_choices(row.choices);
    const pipeline::Caller caller = world.NewCaller();
    const auto outcome = world.ChatAs(caller, ask, row.stream ? &writer : nullptr);
    const Reply& reply = test::ReplyOf(outcome);
    CHECK(writer.text + reply.text == "one two three");
    CHECK(writer.begins <= 1);
    CHECK(reply.head.model == "second");
    CHECK(reply.head.told_route == "alias=chat; model=second; fallback=1; after=script");
    CHECK(Chain(world) == "script>second");
    const auto requests = world.journal.Of(v1::RECORD_KIND_REQUEST);
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].record.request_id() == caller.request_id.Bytes());
    CHECK(IdOf(requests[1].record.request_id()) == reply.head.request_id);
    CHECK(requests[1].record.request().model_requested() == "chat");
    CHECK(world.Content(requests[1]).prompt(0).parts(0) == ask.messages(0).parts(0));
    const auto broken = world.journal.Of(v1::RECORD_KIND_ABORT);
    REQUIRE(broken.size() == 1);
    CHECK(broken[0].record.end().reason() == "ENGINE_FAILED");
    CHECK(broken[0].record.end().tokens().output() == 0);
    const v1::EndBody end = world.journal.Of(v1::RECORD_KIND_FINAL).at(0).record.end();
    CHECK(end.reason() == "STOP");
    CHECK(end.tokens().output() > 0);
    CHECK(world.pipe().counts().requests == 1);
    CHECK(world.pipe().counts().answered == 1);
    CHECK(world.pipe().counts().continued == 1);
    world.CheckBooks();
  }
}

TEST_CASE("A model that is away is told from one that may have met its end by the prompt, and from stops of all") {
  const auto with = [](const char* reason, const char* subject = "") {
    return base::WithDetail(base::Unavailable("away"), {.reason = reason, .subject = subject});
  };
  CHECK(pipeline::IsOfTheModel(pipeline::Broken("ENGINE_FAILED", base::Unavailable("its servers are away"))));
  CHECK(pipeline::IsOfTheModel(pipeline::Broken("POOL_REFUSED", with("ENGINE_RESTARTING"))));
  CHECK_FALSE(pipeline::IsOfTheModel(pipeline::Broken("ENGINE_FAILED", with("ENGINE_LOST"))));
  CHECK_FALSE(pipeline::IsOfTheModel(pipeline::Broken("POOL_REFUSED", with("MODEL_CHANGED"))));
  CHECK_FALSE(pipeline::IsOfTheModel(pipeline::Broken("KEYS_UNAVAILABLE", base::Unavailable("the keys database is away"))));
  CHECK(pipeline::IsOfTheModel(with("EMERGENCY_STOP", "model second")));
  CHECK_FALSE(pipeline::IsOfTheModel(with("EMERGENCY_STOP", "everything")));
  CHECK_FALSE(pipeline::IsOfTheModel(with("EMERGENCY_STOP", "team search")));
}

TEST_CASE("Nothing goes on once a token was decoded, after an error that is not the model's absence, or where nobody is left") {
  struct Row {
    const char* prompt;
    const char* fallbacks;
    const char* reason;
  };
  for (const Row& row : {Row{"!say one \n!away script", "second", "UNAVAILABLE"}, Row{"!fail", "second", "INTERNAL"},
                         Row{"!away script", "", "UNAVAILABLE"}, Row{"!away script", "script", "UNAVAILABLE"}}) {
    for (const bool stream : {false, true}) {
      Led world(row.fallbacks);
      test::RecordingWriter writer;
      const auto outcome = world.Say(row.prompt, stream ? &writer : nullptr);
      INFO(row.prompt << " " << row.fallbacks);
      CHECK(ReasonOf(outcome) == row.reason);
      CHECK(std::get<Failure>(outcome).head->request_id.empty());
      CHECK(Chain(world) == "script");
      world.CheckBooks();
    }
  }
}

TEST_CASE("Fallbacks have their turn in order, each once, and the last one's error is the caller's") {
  Led world("second script third");
  CHECK(test::ReplyOf(world.Say("!away script\n!away second\n!say here")).text == "here");
  CHECK(Chain(world) == "script>second>third");
  Led all("second script third");
  const auto outcome = all.Say("!away script\n!away second\n!away third\n!say never");
  CHECK(ReasonOf(outcome) == "UNAVAILABLE");
  const auto& head = std::get<Failure>(outcome).head;
  REQUIRE(head.has_value());
  CHECK(head->model == "third");
  CHECK(head->told_route == "alias=chat; model=third; fallback=3; after=second");
  CHECK(head->request_id == IdOf(all.journal.entries().back().record.request_id()));
  CHECK(Chain(all) == "script>second>third");
  CHECK(all.pipe().counts().failed == 1);
  all.CheckBooks();
}

TEST_CASE("A queue that filled up behind the record, and a wait in it that was too long, lead on") {
  World world;
  world.LoadModel("small", 1, 0);
  world.LoadModel("spare");
  world.SetAlias("busy", "small=1", "spare");
  world.pipe();
  world.journal.Hold();
  const auto cancellation = std::make_shared<pipeline::Cancellation>();
  const auto cancellation_of_slow = std::make_shared<pipeline::Cancellation>();
  auto hung = world.Start(world.Ask("!hang", "small"), nullptr, cancellation);
  while (world.journal.waiting() < 1) std::this_thread::yield();
  auto late = world.Start(world.Ask("hello", "busy"), nullptr, nullptr);
  while (world.journal.waiting() < 2) std::this_thread::yield();
  world.journal.Release(1);
  while (!world.Full("small")) std::this_thread::yield();
  world.journal.Release();
  CHECK(test::ReplyOf(late.get()).head.told_route == "alias=busy; model=spare; fallback=1; after=small");
  const v1::EndBody end = world.journal.Of(v1::RECORD_KIND_ABORT).at(0).record.end();
  CHECK(end.reason() == "POOL_REFUSED");
  CHECK(end.amount_nanos() == 0);

  world.LoadModel("slow");  // For its price: it is loaded anew with less patience.
  REQUIRE(world.pool().Unload("slow", base::MonoTime()).ok());
  REQUIRE(world.pool()
              .Load({.name = "slow",
                     .engine = inference::EngineKind::kScripted,
                     .slots = 1,
                     .context_tokens = 4096,
                     .queue_timeout = std::chrono::milliseconds(300)})
              .ok());
  world.SetAlias("waits", "slow=1", "spare");
  auto runs = world.Start(world.Ask("!hang", "slow"), nullptr, cancellation_of_slow);
  while (!Runs(world, "slow")) std::this_thread::yield();
  CHECK(test::ReplyOf(world.Chat(world.Ask("hello", "waits"))).head.told_route == "alias=waits; model=spare; fallback=1; after=slow");
  CHECK(world.journal.Of(v1::RECORD_KIND_ABORT).at(1).record.end().reason() == "QUEUE_TIMEOUT");
  cancellation->Cancel();
  cancellation_of_slow->Cancel();
  hung.get();
  runs.get();
  world.CheckBooks();
}

TEST_CASE("A fallback that the key may not use, without a price or with too small a window, is passed over, and the error names it") {
  const std::string prompt = "!away script\n!say a b c\n" + std::string(400, 'x');
  {
    Led world;
    world.GrantOnly("script");
    const auto outcome = world.Say("!away script");
    CHECK(ReasonOf(outcome) == "UNAVAILABLE");
    CHECK_THAT(MessageOf(outcome), ContainsSubstring("no fallback of chat can take it: fallback 1: this key may not use it"));
    CHECK(Chain(world) == "script");
    world.GrantOnly("third");
    world.SetAlias("chat", "script=1", "second third");
    CHECK(test::ReplyOf(world.Say("!away script\n!say here")).head.model == "third");
    world.CheckBooks();
  }
  {
    Led world("free tiny third");
    world.LoadModel("free", 2, 8, false);
    world.LoadModel("tiny", 2, 8, true, 64);
    const auto outcome = world.Say(prompt);
    CHECK(test::ReplyOf(outcome).head.told_route == "alias=chat; model=third; fallback=3; after=script");
    CHECK(Chain(world) == "script>third");
    world.CheckBooks();
  }
  {
    Led world("tiny");
    world.LoadModel("tiny", 2, 8, true, 64);
    const auto outcome = world.Say(prompt);
    CHECK(ReasonOf(outcome) == "UNAVAILABLE");
    CHECK_THAT(MessageOf(outcome), ContainsSubstring("cannot be reached") && ContainsSubstring("tiny: messages: the prompt is"));
    CHECK(std::get<Failure>(outcome).head->model == "script");
    CHECK(Chain(world) == "script>announced");
    world.CheckBooks();
  }
}

TEST_CASE("Policy of the model that goes on judges the prompt anew, and may refuse it on record, or change what it sees") {
  const std::string prompt = "!away script\n!say a secret";
  {
    Led world("second", test::HousePolicy("  - {id: not-there, where: {model: second}, detect: {keywords: secret}, do: block}\n"));
    const auto outcome = world.Say(prompt);
    CHECK(ReasonOf(outcome) == "POLICY_BLOCKED");
    CHECK(Chain(world) == "script>denied");
    CHECK(world.Kinds() == "REQUEST ABORT DENY");
    CHECK(std::get<Failure>(outcome).head->request_id == IdOf(world.journal.entries().back().record.request_id()));
    world.CheckBooks();
  }
  {
    Led world("second", test::HousePolicy("  - {id: not-there, where: {model: second}, detect: {keywords: secret}, do: redact}\n"));
    CHECK(test::ReplyOf(world.Say(prompt)).text == "a [REDACTED]");
    CHECK(world.Kinds() == "REQUEST ABORT REQUEST FINAL");
    world.CheckBooks();
  }
}

TEST_CASE("One call is one request of its windows and of the rates of rules; tokens are those that were used") {
  Led world("second",
            test::HousePolicy("  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 1, per: hour, by: team}}}\n"));
  world.SetQuota("requests", "minute", 2);
  world.SetQuota("tokens", "month", 1000);
  const auto outcome = world.Say("!away script\n!say a report");
  const Reply& reply = test::ReplyOf(outcome);
  CHECK(reply.head.limits.requests->remaining == 1);
  std::int64_t used = 0;
  for (const audit::Entry& entry : world.journal.entries()) {
    if (entry.record.has_end()) used += entry.record.end().tokens().input() + entry.record.end().tokens().output();
  }
  CHECK(reply.head.limits.tokens->remaining == 1000 - used);
  CHECK(ReasonOf(world.Say("a report")) == "RATE_LIMITED");  // By the rule: it counted once, and counts.
  CHECK(ReasonOf(world.Say("hello")) == "RATE_LIMITED");     // By the quota: what a rule refuses was a request.
  world.CheckBooks();
}

TEST_CASE("A quota that has no room for another attempt refuses it, and gives all back that is not used") {
  const std::string prompt = "!away script\n!tokens 100";
  Led free;
  free.Say(prompt);
  Led world;
  world.SetQuota("tokens", "month", free.journal.entries().at(0).record.request().input_tokens() + 5);
  const auto outcome = world.Say(prompt);
  CHECK(ReasonOf(outcome) == "QUOTA_SPENT");
  CHECK(Chain(world) == "script>announced");
  world.CheckBooks();
}

TEST_CASE("A client that goes between two attempts gets no second one, and a deadline is that of the call") {
  {
    Led world;
    const auto cancellation = std::make_shared<pipeline::Cancellation>();
    world.journal.SetFault([&](const audit::Entry& entry) {
      if (entry.record.kind() == v1::RECORD_KIND_ABORT) cancellation->Cancel();
      return absl::OkStatus();
    });
    const auto outcome = world.ChatAs(world.NewCaller(), world.Ask("!away script\n!say late", "chat"), nullptr, cancellation);
    CHECK(ReasonOf(outcome) == "UNAVAILABLE");
    CHECK(Chain(world) == "script>announced");
    CHECK(world.Kinds() == "REQUEST ABORT");
    world.CheckBooks();
  }
  {
    Led world("second third");
    pipeline::Caller caller = world.NewCaller();
    caller.deadline = caller.received + std::chrono::seconds(1);
    const auto outcome = world.ChatAs(caller, world.Ask("!away script\n!hang", "chat"));
    CHECK(absl::IsDeadlineExceeded(std::get<Failure>(outcome).status));
    CHECK(Chain(world) == "script>second");
    CHECK(world.journal.entries().back().record.end().reason() == "DEADLINE");
    world.CheckBooks();
  }
}

TEST_CASE("A request that a rule sent to its model, or that goes under an approval, does not go on") {
  {
    Led world("second", test::HousePolicy("  - {id: there, detect: {keywords: secret}, do: {route: chat}}\n"));
    CHECK(ReasonOf(world.Chat(world.Ask("!away script\n!say a secret", "third"))) == "UNAVAILABLE");
    CHECK(Chain(world) == "script");
  }
  {
    Led world("second", test::HousePolicy("  - {id: dump, detect: {keywords: secret}, do: {approval: {minutes: 30}}}\n"));
    CHECK(ReasonOf(world.Say("!away script\n!say a secret")) == "APPROVAL_NEEDED");
    const auto waits = world.gates.ListApprovals(base::OrgId());
    REQUIRE(world.gates.Grant(base::OrgId(), waits->all.at(0).id, "bert").ok());
    CHECK(ReasonOf(world.Say("!away script\n!say a secret")) == "UNAVAILABLE");
    CHECK(world.Kinds() == "DENY REQUEST ABORT");
    world.CheckBooks();
  }
}

TEST_CASE("Nothing goes on behind a terminal record that is not written, and a journal that is away is no model's failure") {
  Led world;
  world.journal.SetFault([](const audit::Entry& entry) {
    return entry.record.kind() == v1::RECORD_KIND_ABORT ? base::Unavailable("no database") : absl::OkStatus();
  });
  CHECK(ReasonOf(world.Say("!away script\n!say late")) == "UNAVAILABLE");
  CHECK(world.Kinds() == "REQUEST");
  Led other;
  test::RecordingWriter writer;
  other.journal.SetFault([](const audit::Entry& entry) {
    return entry.record.kind() == v1::RECORD_KIND_SEGMENT ? base::Unavailable("no database") : absl::OkStatus();
  });
  CHECK(ReasonOf(other.Say("one two three", &writer)) == "UNAVAILABLE");
  CHECK(Chain(other) == "script");
}

TEST_CASE("Vectors and relevance go on as chats do") {
  test::EmbedWorld world;
  world.LoadEmbedder("vec2");
  world.LoadEmbedder("rank2", inference::Pooling::kRank);
  world.SetAlias("embed", "vec=1", "script vec2");
  world.SetAlias("rerank", "rank=1", "rank2");
  const auto vectors = world.Vectors(test::Texts({"hello", "!away vec"}, "embed"));
  CHECK(vectors.head.model == "vec2");
  CHECK(vectors.head.told_route == "alias=embed; model=vec2; fallback=2; after=vec");
  CHECK_FALSE(vectors.head.request_id.empty());
  const auto ranked = world.Rerank(test::Rank("hello", {"hello", "!away rank"}, "rerank"));
  REQUIRE(std::holds_alternative<pipeline::RerankAnswer>(ranked));
  CHECK(std::get<pipeline::RerankAnswer>(ranked).head.model == "rank2");
  CHECK(world.Kinds() == "REQUEST ABORT REQUEST FINAL REQUEST ABORT REQUEST FINAL");
  world.CheckBooks();
}
