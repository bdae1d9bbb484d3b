// What a request needs on its way and does not get: a key, quota, the gates' store, a record. It is refused or broken off in words that
// name the remedy, nothing is billed that was not decoded, and what it held goes back.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "base/error_detail.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"
#include "tests/support/memory_keys.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;
using pipeline::Failure;
using pipeline::Outcome;
using pipeline::Reply;
using test::ReasonOf;
using test::ReplyOf;
namespace v1 = tollgate::v1;

namespace {

absl::Status Away(const std::string& reason, const std::string& text) {
  return base::WithDetail(base::Unavailable(text), {.reason = reason, .retry_after_ms = 1000});
}

const std::string kFewRule = "  - {id: few, detect: {keywords: report}, do: {rate_limit: {requests: 9, per: hour, by: key}}}\n";
const std::string kDumpRule = "  - {id: dump, detect: {keywords: all records}, do: approval}\n";

// A quota that the next request, and nothing else, fits into: `output` tokens behind its prompt. Its lease then holds no token more.
void LimitToOne(test::World& world, const v1::ChatRequest& ask, std::int64_t output) {
  test::World alike;
  v1::ChatRequest short_one = ask;
  short_one.set_max_tokens(1);
  short_one.clear_max_reasoning_tokens();
  ReplyOf(alike.Chat(short_one));
  world.options.extension_tokens = output;
  world.SetQuota("tokens", "month", alike.journal.entries()[0].record.request().input_tokens() + output + 9);
}

// The store of leases is away once a request is on record.
void LoseLeases(test::World& world) {
  world.journal.SetFault([&](const audit::Entry& entry) {
    if (entry.record.kind() == v1::RECORD_KIND_REQUEST) world.leases.SetAway(true);
    return absl::OkStatus();
  });
}

// Asks, and somebody approves of it.
void Approve(test::World& world, const v1::ChatRequest& ask) {
  REQUIRE(ReasonOf(world.Chat(ask)) == "APPROVAL_NEEDED");
  REQUIRE(world.gates.Grant({}, world.gates.ListApprovals({})->all.back().id, "second").ok());
}
std::string Approval(test::World& world) { return world.gates.ListApprovals({})->all.back().state; }

}  // namespace

TEST_CASE("What policy blocks, and cannot be put on record, is refused as that is; the instance goes on") {
  struct Row {
    const char* prompt;
    const char* reason;
  };
  for (const Row& row : {Row{"a swordfish", "POLICY_BLOCKED"}, Row{"all records", "APPROVAL_NEEDED"}}) {
    INFO(row.prompt);
    test::World world(test::CodeAndFish("input") + kDumpRule);
    world.journal.SetFault([](const audit::Entry&) { return Away("AUDIT_UNAVAILABLE", "ask the operator to check Postgres"); });
    const auto outcome = world.Chat(world.Ask(row.prompt));
    CHECK(ReasonOf(outcome) == "AUDIT_UNAVAILABLE");
    CHECK_THAT(base::Message(std::get<Failure>(outcome).status), ContainsSubstring("check Postgres"));
    CHECK_FALSE(std::get<Failure>(outcome).head.has_value());
    CHECK(world.Kinds().empty());
    world.journal.SetFault(nullptr);
    CHECK(ReasonOf(world.Chat(world.Ask(row.prompt))) == row.reason);
    CHECK(world.Kinds() == "DENY");
    CHECK(ReasonOf(world.Chat(world.Ask("hello"))) == "answered");
    world.CheckBooks();
  }
}

TEST_CASE("A request that no key can be made for is refused before anything is done, and does not count") {
  test::World world;
  world.SetQuota("requests", "minute", 1);
  auto& keys = dynamic_cast<test::MemoryKeys&>(world.keys());
  keys.SetMakes(Away("KEYS_UNAVAILABLE", "the keys database cannot be reached"));
  for (int i = 0; i < 3; ++i) CHECK(ReasonOf(world.Chat(world.Ask("hello"))) == "KEYS_UNAVAILABLE");
  CHECK(world.Kinds().empty());
  keys.SetMakes(absl::OkStatus());
  CHECK(ReasonOf(world.Chat(world.Ask("hello"))) == "answered");
  world.CheckBooks();
}

TEST_CASE("A request whose gates cannot be asked is refused, and what it held goes back") {
  test::World world(test::HousePolicy(kFewRule));
  const v1::ChatRequest ask = world.Ask("a report");
  LimitToOne(world, ask, 8);
  world.SetQuota("requests", "minute", 1);
  world.gates.passes = Away("", "the database of the gates cannot be reached");
  for (int i = 0; i < 3; ++i) {
    const auto outcome = world.Chat(ask);
    REQUIRE(std::holds_alternative<Failure>(outcome));
    CHECK(absl::IsUnavailable(std::get<Failure>(outcome).status));
    CHECK_THAT(base::Message(std::get<Failure>(outcome).status), ContainsSubstring("cannot be reached"));
  }
  CHECK(world.Kinds().empty());
  world.gates.passes = absl::OkStatus();
  CHECK(ReasonOf(world.Chat(ask)) == "answered");
  world.CheckBooks();
}

TEST_CASE("A reply that its quota cannot be asked for any more breaks off, and what was decoded is billed") {
  struct Row {
    const char* name;
    const char* prompt;
    int bound;  // Of the thought.
  };
  const Row row = GENERATE(Row{"as it is decoded", "!tokens 500", 0}, Row{"behind a thought", "!think a b c d e f g h i j k\n!say so", 8});
  const bool streamed = GENERATE(false, true);
  INFO(row.name << (streamed ? ", streamed" : ""));
  test::World world;
  v1::ChatRequest ask = world.Ask(row.prompt);
  ask.set_max_reasoning_tokens(row.bound);
  LimitToOne(world, ask, 8);
  LoseLeases(world);
  test::RecordingWriter writer;
  const auto outcome = world.Chat(ask, streamed ? &writer : nullptr);
  CHECK(ReasonOf(outcome) == "QUOTA_UNAVAILABLE");
  const v1::Record last = world.journal.entries().back().record;
  CHECK(last.kind() == v1::RECORD_KIND_ABORT);
  CHECK(last.end().reason() == "QUOTA_UNAVAILABLE");
  CHECK(last.end().tokens().output() == 8);
  world.CheckBooks();
  world.journal.SetFault(nullptr);
  world.leases.SetAway(false);
  world.clock.Advance(std::chrono::seconds(1));
  CHECK(ReasonOf(world.Chat(world.Ask("!tokens 500"))) != "QUOTA_UNAVAILABLE");  // It comes back unaided.
}

TEST_CASE("What a request on record held stays counted where its end cannot be recorded: the log's next owner counts anew") {
  test::World world;
  world.SetQuota("tokens", "month", 1'000);
  world.journal.SetFault([](const audit::Entry& entry) {
    return audit::IsTerminal(entry.record.kind()) ? base::Internal("the log is broken") : absl::OkStatus();
  });
  CHECK(std::holds_alternative<Failure>(world.Chat(world.Ask("hello"))));
  world.journal.SetFault(nullptr);
  const std::int64_t held = world.journal.entries()[0].record.request().reserved_tokens();
  CHECK(held > world.options.extension_tokens);
  const auto outcome = world.Chat(world.Ask("hello"));
  const Reply& reply = ReplyOf(outcome);
  REQUIRE(reply.head.limits.tokens.has_value());
  CHECK(reply.head.limits.tokens->remaining == 1'000 - held - reply.end.usage().input() - reply.end.usage().output());
}

TEST_CASE("A reply of several that is blocked decodes no more, while the others go on") {
  const bool streamed = GENERATE(false, true);
  test::World world(test::CodeAndFish("output"));
  test::WatchedPool pool;
  pool.inner = &world.pool();
  pool.each = [&](std::size_t i, inference::SequenceRequest& one) {
    inference::Turn turn{.role = "user"};
    turn.text = i == 0 ? "!say a swordfish b\n!hang" : "!say all is well\n!hang";
    one.prompt_tokens = *world.pool().Render("script", std::span(&turn, 1));
  };
  world.pool_between = &pool;
  v1::ChatRequest ask = world.Ask("hello");
  ask.set_choices(2);
  ask.set_max_tokens(100);
  const auto stop = std::make_shared<pipeline::Cancellation>();
  test::RecordingWriter writer;
  auto running = world.Start(ask, streamed ? &writer : nullptr, stop);
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto ended = [&] { return world.pool().stats()[0].sequences; };
  while (ended() == 0 && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
  CHECK(ended() == 1);
  stop->Cancel();
  const auto outcome = running.get();
  UNSCOPED_INFO(base::Message(std::get<Failure>(outcome).status));
  CHECK(absl::IsCancelled(std::get<Failure>(outcome).status));
  const v1::EndBody end = world.journal.entries().back().record.end();
  REQUIRE(end.choices_size() == 2);
  CHECK(end.choices(0).reason() == "CONTENT_FILTER");
  CHECK(end.choices(1).reason() == "CLIENT_GONE");
  world.CheckBooks();
}

TEST_CASE("An approval for one request is not used up by one whose authority ends before the pool sees it") {
  test::World world(test::HousePolicy(kDumpRule));
  const v1::ChatRequest ask = world.Ask("all records");
  Approve(world, ask);
  const auto in_force = world.directory.InForce();
  world.gates.on_pass = [&] { world.directory.Set(Away("DIRECTORY_STALE", "last confirmed long ago")); };
  CHECK(ReasonOf(world.Chat(ask)) == "DIRECTORY_STALE");
  CHECK(world.Kinds() == "DENY");
  CHECK(Approval(world) == "granted");
  world.directory.Set(in_force);
  world.gates.on_pass = nullptr;
  CHECK(ReasonOf(world.Chat(ask)) == "answered");
  CHECK(ReasonOf(world.Chat(ask)) == "APPROVAL_NEEDED");  // Once.
  world.CheckBooks();
}

TEST_CASE("An approval for one request is not used up by one that is on record and that the pool does not see") {
  struct Row {
    const char* name;
    const char* rule;
    const char* prompt;
    const char* reason;
    std::function<void(test::World&, test::WatchedPool&)> begins, ends;
  };
  const auto keys = [](test::World& world) -> test::MemoryKeys& { return dynamic_cast<test::MemoryKeys&>(world.keys()); };
  const Row rows[] = {
      {"a guard blocks it",
       "  - {id: guard, where: {direction: input}, detect: {guard: {model: judge, prompt: '{{text}}', answer: {hit: yes, pass: no}}}, "
       "do: block}\n",
       "all records", "POLICY_BLOCKED", [](auto&, auto&) {}, [](auto& world, auto&) { world.SetPolicy(test::HousePolicy(kDumpRule)); }},
      {"what its pseudonyms stand for cannot be kept", "  - {id: mail, detect: {personal_data: email}, do: pseudonymise}\n",
       "all records of bob@example.com", "KEYS_UNAVAILABLE",
       [&](auto& world, auto&) { keys(world).SetKeeps(Away("KEYS_UNAVAILABLE", "the keys database cannot be reached")); },
       [&](auto& world, auto&) { keys(world).SetKeeps(absl::OkStatus()); }},
      {"the pool is full", "", "all records", "QUEUE_FULL",
       [](auto&, auto& pool) { pool.chats = base::WithDetail(base::ResourceExhausted("full"), {.reason = "QUEUE_FULL"}); },
       [](auto&, auto& pool) { pool.chats = absl::OkStatus(); }},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    test::World world(test::HousePolicy(kDumpRule + row.rule));
    world.LoadModel("judge");
    test::WatchedPool pool;
    pool.inner = &world.pool();
    world.pool_between = &pool;
    const v1::ChatRequest ask = world.Ask(row.prompt);
    Approve(world, ask);
    row.begins(world, pool);
    CHECK(ReasonOf(world.Chat(ask)) == row.reason);
    CHECK(world.journal.Of(v1::RECORD_KIND_REQUEST).size() == 1);
    CHECK(Approval(world) == "granted");
    row.ends(world, pool);
    CHECK(ReasonOf(world.Chat(ask)) == "answered");
    CHECK(ReasonOf(world.Chat(ask)) == "APPROVAL_NEEDED");  // Once.
    world.CheckBooks();
  }
}

TEST_CASE("An answer for which the store can hold no more begins with what is held, and asks again on its way") {
  test::World world;
  test::WatchedPool pool;
  pool.inner = &world.pool();
  pool.resumes = false;
  world.pool_between = &pool;
  v1::ChatRequest ask = world.Ask("!tokens 40");
  ask.set_max_tokens(500);
  LimitToOne(world, ask, 80);
  LoseLeases(world);
  CHECK(ReasonOf(world.Chat(ask)) == "answered");
  REQUIRE(pool.Take().size() == 1);
  CHECK(world.journal.entries().back().record.end().tokens().output() == 40);
  world.CheckBooks();
}

TEST_CASE("An answer held to a form, with which a server cannot go on, begins with all that it may take, or not at all") {
  for (const bool away : {true, false}) {
    test::WatchedPool pool;
    test::World world(test::HousePolicy(kDumpRule));
    pool.inner = &world.pool();
    pool.resumes = false;
    pool.forms = true;
    world.pool_between = &pool;
    v1::ChatRequest ask = world.Ask("!say {} all records");
    ask.set_max_tokens(500);
    LimitToOne(world, ask, 80);
    ask.mutable_output_form()->set_json_object(true);
    Approve(world, ask);
    if (away) LoseLeases(world);
    CHECK(ReasonOf(world.Chat(ask)) == (away ? "QUOTA_UNAVAILABLE" : "answered"));
    CHECK(Approval(world) == (away ? "granted" : "used"));
    const auto work = pool.Take();
    REQUIRE(work.size() == (away ? 0 : 1));
    if (!away) CHECK(work[0].allowance_final);
    world.CheckBooks();
  }
}
