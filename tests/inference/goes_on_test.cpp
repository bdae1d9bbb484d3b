// Sequences that go on for others of their tenant's: what they left is kept for them, slot and place, and they find it wherever it was.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <fstream>
#include <thread>

#include "base/error_detail.h"
#include "tests/inference/support.h"
#include "tests/support/temp_dir.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Ask;
using test::Hear;
using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Of;
using test::Scripted;
using test::Submit;
using test::Team;
using test::Until;

SequenceRequest Rest(int tenant, SequenceRequest request) {
  request.goes_on = true;
  return Of(tenant, std::move(request));
}

// One of the first tenant's that stands at its allowance of four tokens.
std::shared_ptr<TokenStream> Stand(Pool& pool, const std::string& model = "script") {
  SequenceRequest first = Of(1, Ask(pool, "!tokens 100"));
  first.model = model;
  first.allowance = 4;
  auto stream = Submit(pool, first);
  Heard heard;
  CHECK(Hear(*stream, heard) == Taken::kParked);
  return stream;
}

// It ends there, or is cancelled, and another will go on for it.
void LeaveToGoOn(TokenStream& stream, bool cancelled = false) {
  if (cancelled) stream.Cancel(EndReason::kCancelled, true);
  if (!cancelled) stream.Allow(4, true, true);
  CHECK(HearAll(stream).end.reason == (cancelled ? EndReason::kCancelled : EndReason::kAllowance));
}

TEST_CASE("A sequence that goes on for one that ended is let in though its tenant has more than its part, unless the queue is full") {
  ModelOptions model = Scripted(4);
  model.queue_sequences_max = 8;
  const auto pool = MakePool(model);
  const SequenceRequest ask = Of(1, Ask(*pool, "!hang"));
  SequenceRequest rest = ask;
  rest.goes_on = true;
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (auto one = pool->Submit(ask); one.ok(); one = pool->Submit(ask)) streams.push_back(*one);
  REQUIRE(streams.size() == 9);
  const auto second = Submit(*pool, Of(2, Ask(*pool, "!hang")));
  for (int times = 0; times < 3; ++times) {
    streams.back()->Cancel();
    HearAll(*streams.back());
    CHECK(absl::IsResourceExhausted(pool->Submit(ask).status()));
    streams.back() = Submit(*pool, rest);
  }
  const auto third = Submit(*pool, Of(3, Ask(*pool, "!hang"))), fourth = Submit(*pool, Of(4, Ask(*pool, "!hang")));
  const auto full = pool->Submit(rest);
  CHECK(absl::IsResourceExhausted(full.status()));
  CHECK(base::Message(full.status()).find("all it may hold") != std::string::npos);
}

TEST_CASE("The place that a reply leaves to go on is kept for the rest of it and for nobody else") {
  base::ManualClock clock;
  ModelOptions model = Scripted(1);
  model.queue_sequences_max = 1;
  const auto pool = MakePool(model, clock);
  const bool cancelled = GENERATE(false, true);
  const auto stream = Stand(*pool);
  const auto other = Submit(*pool, Of(2, Ask(*pool, "other")));
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 1; });
  LeaveToGoOn(*stream, cancelled);
  CHECK(pool->stats()[0].full);
  CHECK(pool->stats()[0].waiting == 1);
  CHECK(absl::IsResourceExhausted(pool->Submit(Of(3, Ask(*pool, "third"))).status()));
  CHECK(absl::IsResourceExhausted(pool->Submit(Rest(3, Ask(*pool, "third"))).status()));
  CHECK(HearAll(*Submit(*pool, Rest(1, Ask(*pool, "rest")))).text == "rest");
  CHECK(HearAll(*other).text == "other");

  LeaveToGoOn(*Stand(*pool), cancelled);
  CHECK(pool->stats()[0].full == false);
  CHECK_FALSE(pool->Takes("script", Team(2), 2));
  clock.Advance(milliseconds(101));
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  while (!pool->Takes("script", Team(2), 2) && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  CHECK(pool->Takes("script", Team(2), 2));
}

TEST_CASE("A slot that a reply leaves to go on is kept for the rest of it, and goes to who waits where that does not come") {
  base::ManualClock clock;
  const auto pool = MakePool(Scripted(1), clock);
  const auto leave = [&] {
    SequenceRequest first = Of(1, Ask(*pool, "!tokens 100"));
    first.allowance = 4;
    const auto stream = Submit(*pool, first);
    Heard heard;
    CHECK(Hear(*stream, heard) == Taken::kParked);
    return stream;
  };
  auto stream = leave();
  const auto other = Submit(*pool, Of(2, Ask(*pool, "!tokens 1\n!hang")));
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 1; });
  stream->Allow(4, true, true);
  CHECK(HearAll(*stream).end.reason == EndReason::kAllowance);
  SequenceRequest rest = Of(1, Ask(*pool, "!tokens 1\n!hang"));
  rest.goes_on = true;
  stream = Submit(*pool, rest);
  while (stream->tokens_decoded() + other->tokens_decoded() == 0) std::this_thread::yield();
  CHECK(stream->tokens_decoded() == 1);
  CHECK(other->tokens_decoded() == 0);
  stream->Cancel();
  while (other->tokens_decoded() == 0) std::this_thread::yield();
  other->Cancel();

  stream = leave();
  const auto third = Submit(*pool, Of(2, Ask(*pool, "third")));
  stream->Allow(4, true, true);
  HearAll(*stream);
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 1 && s.running == 0; });
  clock.Advance(milliseconds(101));
  CHECK(HearAll(*third).text == "third");
}

TEST_CASE("A slot is kept where slots share cells, too, and what goes on waits in the queue where its cells are others'") {
  base::ManualClock clock;
  ModelOptions model = Scripted(2);
  model.context_tokens = 100;
  model.kv_tokens = 130;
  model.step_tokens_max = 64;
  const auto pool = MakePool(model, clock);
  const auto hung = Submit(*pool, Of(3, Ask(*pool, "!tokens 1\n!hang")));
  const auto stream = Stand(*pool);
  const auto other = Submit(*pool, Of(2, Ask(*pool, "!tokens 1\n!hang")));
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 1; });
  LeaveToGoOn(*stream, GENERATE(false, true));
  const auto rest = Submit(*pool, Rest(1, Ask(*pool, "!tokens 1\n!hang")));
  while (rest->tokens_decoded() + other->tokens_decoded() == 0) std::this_thread::yield();
  CHECK(rest->tokens_decoded() == 1);
  CHECK(other->tokens_decoded() == 0);
  rest->Cancel();
  while (other->tokens_decoded() == 0) std::this_thread::yield();
  other->Cancel();

  LeaveToGoOn(*Stand(*pool));
  const auto small = Submit(*pool, Of(2, Ask(*pool, "!tokens 1\n!hang")));
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 1; });
  CHECK(small->tokens_decoded() == 0);
  SequenceRequest large = Rest(1, Ask(*pool, "!tokens 1\n!hang"));
  large.prompt_tokens.insert(large.prompt_tokens.begin(), 95 - large.prompt_tokens.size(), 65);
  const auto waits = Submit(*pool, large);
  while (small->tokens_decoded() == 0) std::this_thread::yield();  // The slot is kept no more, though the clock stands.
  CHECK(waits->tokens_decoded() == 0);
  hung->Cancel();
  small->Cancel();
  while (waits->tokens_decoded() == 0) std::this_thread::yield();
}

TEST_CASE("While a tenant's slot is kept for it, the last free one is for who holds none") {
  base::ManualClock clock;
  const auto pool = MakePool(Scripted(4), clock);
  const auto hang = [&](int tenant) { return Submit(*pool, Of(tenant, Ask(*pool, "!tokens 1\n!hang"))); };
  const auto one = hang(2), two = hang(2), stream = Stand(*pool);
  Until(*pool, [](const ReplicaStats& s) { return s.running == 3; });
  const auto second = hang(1);
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 1; });
  LeaveToGoOn(*stream);
  const auto rest = Submit(*pool, Rest(1, Ask(*pool, "!tokens 1\n!hang")));
  while (rest->tokens_decoded() == 0) std::this_thread::yield();
  CHECK(second->tokens_decoded() == 0);
  CHECK(HearAll(*Submit(*pool, Of(3, Ask(*pool, "at once")))).text == "at once");
}

TEST_CASE("What goes on for a reply waits for a slot as long as its deadline allows, whatever the queue's is") {
  base::ManualClock clock;
  ModelOptions model = Scripted(1);
  model.queue_timeout = seconds(30);
  const auto pool = MakePool(model, clock);
  const auto running = Submit(*pool, Of(2, Ask(*pool, "!tokens 1\n!hang")));
  while (running->tokens_decoded() < 1) std::this_thread::yield();
  SequenceRequest rest = Of(1, Ask(*pool, "rest"));
  const auto plain = Submit(*pool, rest);
  rest.goes_on = true;
  const auto endless = Submit(*pool, rest);
  rest.deadline = clock.Mono() + seconds(60);
  const auto stream = Submit(*pool, rest), late = Submit(*pool, rest);
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 4; });
  clock.Advance(seconds(40));
  CHECK(HearAll(*plain).end.reason == EndReason::kQueueTimeout);
  CHECK(HearAll(*endless).end.reason == EndReason::kQueueTimeout);
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 2; });
  running->Cancel();
  CHECK(HearAll(*stream).text == "rest");
  CHECK(HearAll(*late).text == "rest");
}

TEST_CASE("What goes on is let in though its model is being unloaded meanwhile, and nothing else is") {
  base::ManualClock clock;
  ModelOptions model = Scripted(2);
  model.strict = true;
  const auto pool = MakePool(model, clock);
  SequenceRequest ask = Of(1, Ask(*pool, "rest"));
  ask.strict = GENERATE(false, true);
  SequenceRequest first = ask;
  first.prompt_tokens = Ask(*pool, "!tokens 100").prompt_tokens;
  first.allowance = 4;
  const auto stream = Submit(*pool, first);
  Heard heard;
  CHECK(Hear(*stream, heard) == Taken::kParked);
  std::thread unload([&, deadline = clock.Mono() + seconds(5)] { CHECK(pool->Unload("script", deadline).ok()); });
  while (pool->Find("script").ok()) std::this_thread::yield();
  LeaveToGoOn(*stream);
  SequenceRequest rest = ask;
  rest.goes_on = true;
  CHECK(absl::IsNotFound(pool->Submit(ask).status()));
  CHECK(absl::IsNotFound(pool->Submit(Of(2, rest)).status()));
  auto went_on = pool->Submit(rest);
  INFO(went_on.status().ToString());
  CHECK(went_on.ok());
  if (went_on.ok()) CHECK(HearAll(**went_on).text == "rest");
  unload.join();
  CHECK(absl::IsNotFound(pool->Submit(rest).status()));
}

TEST_CASE("A model is unloaded as soon as nobody has come for what was kept") {
  base::ManualClock clock;
  const auto pool = MakePool(Scripted(1), clock);
  const auto stream = Stand(*pool);
  std::thread unload([&, deadline = clock.Mono() + seconds(5)] { CHECK(pool->Unload("script", deadline).ok()); });
  while (pool->Find("script").ok()) std::this_thread::yield();
  LeaveToGoOn(*stream);
  clock.Advance(milliseconds(101));
  unload.join();
}

TEST_CASE("What goes on runs with an adapter that is being unloaded meanwhile, and it is freed behind that") {
  base::ManualClock clock;
  const tollgate::test::TempDir folder;
  const auto pool = MakePool(Scripted(2), clock);
  AdapterOptions adapter{.name = "script:a", .base = "script", .file = folder.File("a"), .sha256 = {}};
  std::ofstream(adapter.file) << "a";
  adapter.sha256 = *DigestOfFile(adapter.file);
  REQUIRE(pool->LoadAdapter(adapter).ok());
  const auto stream = Stand(*pool, "script:a");
  std::thread unload([&, deadline = clock.Mono() + seconds(5)] { CHECK(pool->Unload("script:a", deadline).ok()); });
  while (pool->Find("script:a").ok()) std::this_thread::yield();
  LeaveToGoOn(*stream);
  SequenceRequest rest = Rest(1, Ask(*pool, "!tokens 1\n!hang"));
  rest.model = "script:a";
  auto went_on = pool->Submit(rest);
  INFO(went_on.status().ToString());
  CHECK(went_on.ok());
  rest.goes_on = false;
  CHECK(absl::IsNotFound(pool->Submit(rest).status()));
  if (went_on.ok()) {
    while ((*went_on)->tokens_decoded() == 0) std::this_thread::yield();
    clock.Advance(seconds(6));
    CHECK(HearAll(**went_on).end.reason == EndReason::kShutdown);
  }
  unload.join();
  rest.goes_on = true;
  CHECK(absl::IsNotFound(pool->Submit(rest).status()));
}

TEST_CASE("What goes on is let in while the pool drains") {
  base::ManualClock clock;
  const auto pool = MakePool(Scripted(1), clock);
  const auto stream = Stand(*pool);
  std::thread drain([&, deadline = clock.Mono() + seconds(5)] { pool->Drain(deadline); });
  while (!absl::IsUnavailable(pool->Submit(Of(2, Ask(*pool, "late"))).status())) std::this_thread::yield();
  LeaveToGoOn(*stream);
  auto went_on = pool->Submit(Rest(1, Ask(*pool, "rest")));
  CHECK(went_on.ok());
  if (went_on.ok()) CHECK(HearAll(**went_on).text == "rest");
  drain.join();
}

}  // namespace
}  // namespace tollgate::inference
