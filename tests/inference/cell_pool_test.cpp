// Sequences that share cells, on the scripted engine, which fails a step that takes more cells than there are: whatever is suspended, each
// gives what it gives with a context of its own.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <numeric>
#include <random>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "inference/cell_pool.h"
#include "inference/engines/script_engine.h"
#include "inference/preemption.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::Hear;
using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Submit;
using test::Team;
using test::Until;

ModelOptions Sharing(int slots, std::int64_t context_tokens, std::int64_t kv_tokens) {
  ModelOptions model = test::Scripted(slots);
  model.context_tokens = context_tokens;
  model.kv_tokens = kv_tokens;
  model.step_tokens_max = 64;
  model.queue_sequences_max = 1000;
  return model;
}

// `words` words that nobody else says.
std::string Words(int number, int words) {
  std::string text = "!say ";
  for (int i = 0; i < words; ++i) text += fmt::format("{}s{}w{}", i == 0 ? "" : " ", number, i);
  return text;
}
std::string Reply(int number, int words) { return Words(number, words).substr(5); }

SequenceRequest Asking(const Pool& pool, int team, const std::string& text) {
  SequenceRequest request = test::Ask(pool, text);
  request.tenant = Team(team);
  return request;
}

struct Said {
  std::string text;
  std::int64_t decoded = 0;
  std::int64_t input_evaluated = 0;
  EndReason reason{};
};

// The same requests, all at once; read a piece here and a piece there, so that with small buffers they park.
std::vector<Said> Run(Pool& pool, std::uint64_t seed, int requests) {
  std::mt19937_64 random(seed);
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (int i = 0; i < requests; ++i) {
    SequenceRequest request = Asking(pool, 1 + static_cast<int>(random() % 3), Words(i, 20 + static_cast<int>(random() % 40)));
    if (random() % 3 == 0) request.max_tokens = 10 + static_cast<std::int64_t>(random() % 40);
    request.weight = request.tenant == Team(3) ? 2 : 1;
    streams.push_back(Submit(pool, std::move(request)));
  }
  std::vector<Said> all(streams.size());
  std::vector<std::size_t> open(streams.size());
  std::iota(open.begin(), open.end(), 0);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!open.empty()) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    const std::size_t at = random() % open.size();
    const std::size_t i = open[at];
    Piece piece;
    const Taken taken = streams[i]->Take(piece);
    if (taken == Taken::kPiece) all[i].text += piece.text;
    if (taken == Taken::kEmpty) std::this_thread::yield();
    if (taken != Taken::kEnd) continue;
    const StreamEnd& end = streams[i]->end();
    INFO(end.status.ToString());
    CHECK(end.status.ok());
    all[i].decoded = end.tokens_decoded, all[i].input_evaluated = end.input_tokens_evaluated, all[i].reason = end.reason;
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return all;
}

void CheckSame(ModelOptions model, std::uint64_t seed, bool bound) {
  constexpr int kRequests = 60;
  const auto pool = MakePool(model);
  model.kv_tokens = 0;
  const auto own = MakePool(model);
  const std::vector<Said> said = Run(*pool, seed, kRequests), expected = Run(*own, seed, kRequests);
  std::int64_t most = 0;
  for (std::size_t i = 0; i < said.size(); ++i) {
    INFO("request " << i);
    REQUIRE(said[i].text == expected[i].text);
    REQUIRE(said[i].decoded == expected[i].decoded);
    REQUIRE(said[i].input_evaluated == expected[i].input_evaluated);
    REQUIRE(said[i].reason == expected[i].reason);
    most += 1 + said[i].decoded / kGuardTokens;
  }
  const ReplicaStats stats = pool->stats()[0];
  CHECK(stats.failed == 0);
  CHECK(stats.preemptions > 0);
  CHECK((!bound || stats.preemptions <= most));
  CHECK(stats.prompt_tokens == own->stats()[0].prompt_tokens);
  CHECK((model.prefix_cache_bytes > 0 || stats.recomputed_tokens > 0));
  CHECK(stats.suspended == 0);
  CHECK(stats.suspended_bytes == 0);
  CHECK(stats.kv_tokens_used == 0);
}

TEST_CASE("What shares cells says what it says with a context of its own, and is suspended once in so many tokens at most") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 12; ++round) {
    const std::int64_t context = 320;  // A prompt of 60 words takes some 120.
    ModelOptions model = Sharing(6 + static_cast<int>(random() % 4), context, context + static_cast<std::int64_t>(random() % 60));
    const std::array<std::int64_t, 3> bytes = {0, 60'000, 256 << 20};  // Nothing kept, some, all.
    model.prefix_cache_bytes = bytes[static_cast<std::size_t>(round % 3)];
    INFO("round " << round << ": " << model.slots << " slots, " << model.kv_tokens << " cells");
    CheckSame(model, random(), true);
  }
}

TEST_CASE("Slow readers are suspended first and hold nobody up") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 6; ++round) {
    ModelOptions model = Sharing(6, 320, 330);
    model.stream_buffer_bytes = 1 + static_cast<std::int64_t>(random() % 200);
    model.prefix_cache_bytes = round % 2 == 0 ? 0 : 256 << 20;
    INFO("round " << round);
    CheckSame(model, random(), false);
  }
}

// One that is parked with most of the cells, then suspended for a second one, which is parked too.
struct Two {
  std::unique_ptr<Pool> pool;
  std::shared_ptr<TokenStream> first;
  std::shared_ptr<TokenStream> second;
  Heard heard;
};
Two SuspendFirst(std::optional<std::chrono::milliseconds> deadline = std::nullopt, std::int64_t prefix_cache_bytes = 256 << 20) {
  Two two;
  ModelOptions model = Sharing(4, 360, 360);
  model.prefix_cache_bytes = prefix_cache_bytes;
  two.pool = MakePool(model);
  SequenceRequest request = Asking(*two.pool, 1, Words(1, 80));
  request.allowance = 75;
  if (deadline) request.deadline = base::SystemClock().Mono() + *deadline;
  two.first = Submit(*two.pool, request);
  if (!deadline) REQUIRE(Hear(*two.first, two.heard) == Taken::kParked);
  request = Asking(*two.pool, 2, Words(2, 80));
  request.allowance = 70;
  two.second = Submit(*two.pool, std::move(request));
  if (deadline) return two;
  Until(*two.pool, [](const ReplicaStats& s) { return s.suspended == 1 && s.parked == 2; });
  return two;
}

TEST_CASE("What is suspended can be cancelled, and goes on where it stood when it may") {
  Two two = SuspendFirst();
  const ReplicaStats stats = two.pool->stats()[0];
  CHECK(stats.preemptions == 1);
  CHECK(stats.suspended_bytes > 0);
  CHECK(stats.running == 2);
  CHECK(stats.kv_tokens_total == 360);
  CHECK(stats.kv_tokens_used <= 360);
  two.first->Cancel();
  CHECK(HearAll(*two.first).end.reason == EndReason::kCancelled);
  Until(*two.pool, [](const ReplicaStats& s) { return s.suspended == 0 && s.suspended_bytes == 0; });

  Two again = SuspendFirst();
  again.first->Allow(200, true);
  Until(*again.pool, [](const ReplicaStats& s) { return s.preemptions == 2; });  // The second is parked: it gives way now.
  again.second->Allow(200, true);
  REQUIRE(Hear(*again.first, again.heard) == Taken::kEnd);
  CHECK(again.heard.text == Reply(1, 80));
  CHECK(again.heard.end.tokens_decoded >= 80);
  CHECK(HearAll(*again.second).text == Reply(2, 80));
}

TEST_CASE("What is suspended ends at its deadline, and when the pool is drained") {
  Two late = SuspendFirst(std::chrono::milliseconds(400));
  const Heard heard = [&] {
    Heard all;
    while (Hear(*late.first, all) == Taken::kParked) {
    }
    return all;
  }();
  CHECK(heard.end.reason == EndReason::kDeadline);
  late.second->Cancel();

  Two two = SuspendFirst();
  two.pool->Drain(base::SystemClock().Mono());
  CHECK(HearAll(*two.first).end.reason == EndReason::kShutdown);
}

TEST_CASE("Tokens of what is suspended can be taken back, with its state kept or not") {
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{256 << 20}}) {
    Two two = SuspendFirst(std::nullopt, bytes);
    REQUIRE(two.first->Rewind(20, {}));
    two.first->Allow(200, true);
    two.second->Cancel();
    while (Hear(*two.first, two.heard) == Taken::kParked) {
    }
    std::string text;
    for (const Piece& piece : two.heard.pieces) {
      text.resize(static_cast<std::size_t>(piece.text_at));
      text += piece.text;
    }
    CHECK(text == Reply(1, 80));
    CHECK(two.heard.end.reason == EndReason::kStop);
    CHECK((bytes > 0) == (two.pool->stats()[0].recomputed_tokens == 0));
  }
}

TEST_CASE("A tenant's burst gives way to another up to its share, before any of it has ended") {
  ModelOptions model = Sharing(8, 400, 420);
  const auto pool = MakePool(model);
  std::vector<std::shared_ptr<TokenStream>> burst;
  for (int i = 0; i < 6; ++i) burst.push_back(Submit(*pool, Asking(*pool, 1, "!pace_ms 2\n!tokens 250")));
  Until(*pool, [](const ReplicaStats& s) { return s.preemptions > 0 && s.kv_tokens_used > 380; });
  const auto other = Submit(*pool, Asking(*pool, 2, "!tokens 60"));
  const Heard heard = HearAll(*other);
  CHECK(heard.end.reason == EndReason::kStop);
  for (const auto& stream : burst) {
    const Heard one = HearAll(*stream);
    CHECK(one.end.status.ok());
    CHECK(one.end.tokens_decoded >= 250);
    CHECK(one.end.ended_at > heard.end.ended_at);
  }
}

TEST_CASE("Who is suspended lets urgent requests of others pass for a while, not for ever") {
  const ModelOptions model = Sharing(4, 100, 150);
  const auto engine = MakeScriptedEngine(model, base::SystemClock());
  const auto at = [](int seconds) { return base::MonoTime(std::chrono::seconds(seconds)); };
  TenantAccount patient, urgent;
  patient.served = 10, urgent.served = 20;
  CellPool::Slots slots(4);
  ReplicaStats stats;
  CellPool cells(model, *engine, slots, stats, [](Sequence& /*failed*/, const absl::Status& status) { FAIL(status.ToString()); });
  SequenceRequest request;
  request.tenant = Team(1);
  request.band = 2;
  Sequence& waits = *(slots[1] = std::make_unique<Sequence>(request));
  waits.slot = 1;
  waits.account = &patient;
  waits.end.started_at = waits.suspended_at = at(0);
  waits.end.input_tokens = 50;
  waits.output_limit = 10;
  waits.suspended = true;
  stats.suspended = 1;
  request.tenant = Team(2);
  request.band = 0;
  Sequence next(request);
  next.end.input_tokens = 50;
  next.output_limit = 10;
  const FairQueue::Head head{&next, &urgent, 0};
  for (const int seconds : {0, 10, 19}) {
    CHECK(cells.Admits(head, at(seconds)));
    CHECK(waits.suspended);
  }
  CHECK(cells.Admits(head, at(20)));  // Two bands up: now it is the tenant served least that comes first.
  CHECK_FALSE(waits.suspended);
  CHECK(stats.suspended == 0);
}

TEST_CASE("How many cells are shared is checked with the numbers, when the model is loaded") {
  const auto refusal = [](ModelOptions model) {
    PoolOptions options;
    options.models = {std::move(model)};
    const auto pool = Pool::Create(std::move(options));
    REQUIRE_FALSE(pool.ok());
    return std::string(pool.status().message());
  };
  CHECK_THAT(refusal(Sharing(4, 400, 399)), ContainsSubstring("kv_tokens is 399; it must be at least context_tokens, 400"));
  CHECK_THAT(refusal(Sharing(4, 400, 1600)), ContainsSubstring("less than slots x context_tokens, 1600"));
  ModelOptions embeds = Sharing(4, 400, 800);
  embeds.pooling = Pooling::kMean;
  CHECK_THAT(refusal(embeds), ContainsSubstring("leave kv_tokens out"));
  const auto pool = MakePool(Sharing(4, 400, 400));
  SequenceRequest request = Asking(*pool, 1, "hello");
  request.max_tokens = 400;
  CHECK_THAT(std::string(pool->Submit(std::move(request)).status().message()), ContainsSubstring("has a context of 400"));
}

}  // namespace
}  // namespace tollgate::inference
