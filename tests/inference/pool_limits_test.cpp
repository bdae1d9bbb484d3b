// The pool's limits with the scripted engine: the queue, deadlines, draining, and what is refused.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <array>

#include "base/error_detail.h"
#include "tests/inference/support.h"

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

TEST_CASE("The queue is bounded; a refusal says when to try again and the room comes back") {
  ModelOptions model = Scripted(1);
  model.queue_sequences_max = 2;
  const auto pool = MakePool(model);
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (int i = 0; i < 3; ++i) streams.push_back(Submit(*pool, Of(i, Ask(*pool, "!hang"))));
  CHECK(pool->stats()[0].full);
  const auto refused = pool->Submit(Of(3, Ask(*pool, "!hang")));
  CHECK(refused.status().code() == absl::StatusCode::kResourceExhausted);
  const auto detail = base::DetailOf(refused.status());
  REQUIRE(detail.has_value());
  CHECK(detail->reason == "QUEUE_FULL");
  CHECK(detail->retry_after_ms.value_or(0) > 0);
  CHECK(base::Message(refused.status()).find("1 sequences running and 2 waiting, all it may hold; try again in") != std::string::npos);
  CHECK(pool->stats()[0].refused == 1);
  streams[0]->Cancel();
  CHECK(HearAll(*streams[0]).end.reason == EndReason::kCancelled);
  CHECK(pool->Submit(Of(3, Ask(*pool, "!hang"))).ok());
}

TEST_CASE("However much one tenant asks for, another's first sequence is let in and runs at once in the kept slot") {
  ModelOptions model = Scripted(4);
  model.queue_sequences_max = 8;
  const auto pool = MakePool(model);
  const std::vector<std::uint64_t> two(2, 1);
  std::vector<std::shared_ptr<TokenStream>> streams;
  const bool groups = GENERATE(false, true);
  absl::Status refused;
  while (refused.ok()) {
    if (groups) {
      auto both = pool->SubmitGroup(Of(1, Ask(*pool, "!hang")), two);
      refused = both.status();
      if (both.ok()) streams.insert(streams.end(), both->begin(), both->end());
    } else {
      auto one = pool->Submit(Of(1, Ask(*pool, "!hang")));
      refused = one.status();
      if (one.ok()) streams.push_back(*one);
    }
  }
  CHECK(streams.size() == (groups ? 8 : 9));  // The slots, and two thirds of the queue: 5 of 8.
  const auto detail = base::DetailOf(refused);
  REQUIRE(detail.has_value());
  CHECK(detail->reason == "QUEUE_FULL");
  CHECK(detail->retry_after_ms.value_or(0) > 0);
  CHECK(base::Message(refused).find(groups ? "8 sequences of this team inside" : "9 sequences of this team inside") != std::string::npos);
  CHECK_FALSE(pool->stats()[0].full);
  CHECK_FALSE(pool->Takes("script", Team(1), groups ? 2 : 1));
  CHECK(pool->Takes("script", Team(2), 3));
  CHECK_FALSE(pool->Takes("script", Team(2), 5));
  CHECK_FALSE(pool->Takes("none", Team(2), 1));
  CHECK(HearAll(*Submit(*pool, Of(2, Ask(*pool, "at once")))).text == "at once");

  for (const auto& stream : streams) stream->Cancel();
  for (const auto& stream : streams) HearAll(*stream);
  CHECK(pool->Takes("script", Team(1), 12));  // What ended is forgotten.
}

TEST_CASE("A job of a tenant with nothing inside is let in beside one that brings jobs without end") {
  ModelOptions model = Scripted(4);
  model.pooling = Pooling::kMean;
  model.queue_sequences_max = 8;
  const auto pool = MakePool(model);
  const auto bring = [&](int tenant, const char* text) {
    EmbedJob job;
    job.model = "script";
    job.tenant = Team(tenant);
    job.inputs = {*pool->EmbedTokens("script", {text, {}})};
    return pool->Embed(std::move(job));
  };
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (auto job = bring(1, "!pace_ms 60000"); job.ok(); job = bring(1, "!pace_ms 60000")) streams.push_back(*job);
  CHECK(streams.size() == 9);
  CHECK(bring(2, "another's").ok());
}

TEST_CASE("Without a queue slots are filled all the same, the kept one by another tenant") {
  for (const int slots : {2, 4}) {
    ModelOptions model = Scripted(slots);
    model.queue_sequences_max = 0;
    const auto pool = MakePool(model);
    const int of_one = slots == 4 ? 3 : slots;
    std::vector<std::shared_ptr<TokenStream>> streams;
    for (int i = 0; i < of_one; ++i) streams.push_back(Submit(*pool, Of(1, Ask(*pool, "!hang"))));
    Until(*pool, [&](const ReplicaStats& s) { return s.running == of_one; });
    CHECK(absl::IsResourceExhausted(pool->Submit(Of(1, Ask(*pool, "!hang"))).status()));
    if (slots == 4) CHECK(HearAll(*Submit(*pool, Of(2, Ask(*pool, "in the kept slot")))).text == "in the kept slot");
    if (slots == 2) CHECK(absl::IsResourceExhausted(pool->Submit(Of(2, Ask(*pool, "x"))).status()));
  }
}

TEST_CASE("A group is queued whole or not at all") {
  ModelOptions model = Scripted(1);
  model.queue_sequences_max = 2;
  const auto pool = MakePool(model);
  const std::vector<std::uint64_t> four(4, 1);
  const std::vector<std::uint64_t> three(3, 1);
  CHECK(pool->SubmitGroup(Ask(*pool, "x"), four).status().code() == absl::StatusCode::kResourceExhausted);
  const auto streams = pool->SubmitGroup(Ask(*pool, "all three"), three);
  REQUIRE(streams.ok());
  for (const auto& stream : *streams) CHECK(HearAll(*stream).text == "all three");
  CHECK(pool->SubmitGroup(Ask(*pool, "x"), {}).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(pool->SubmitGroup(Ask(*pool, "x"), std::vector<std::uint64_t>(17, 1)).status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("Deadlines end a sequence in the queue, parked and while it decodes; the queue has a deadline of its own") {
  base::ManualClock clock;
  ModelOptions model = Scripted(1);
  model.queue_timeout = seconds(20);
  const auto pool = MakePool(model, clock);
  SequenceRequest running = Ask(*pool, "!tokens 2\n!hang");
  running.deadline = clock.Mono() + seconds(30);
  const auto decoding = Submit(*pool, std::move(running));
  Until(*pool, [](const ReplicaStats& s) { return s.running == 1; });
  SequenceRequest waiting = Ask(*pool, "late");
  waiting.deadline = clock.Mono() + seconds(10);
  const auto late = Submit(*pool, std::move(waiting));
  const auto patient = Submit(*pool, Ask(*pool, "patient"));
  while (decoding->tokens_decoded() < 2) std::this_thread::yield();
  Until(*pool, [](const ReplicaStats& s) { return s.waiting == 2; });

  clock.Advance(seconds(11));
  Heard heard = HearAll(*late);
  CHECK(heard.end.reason == EndReason::kDeadline);
  CHECK(heard.end.status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_FALSE(base::DetailOf(heard.end.status).value_or(base::ErrorDetail{}).may_retry);
  CHECK(heard.end.tokens_decoded == 0);
  clock.Advance(seconds(10));
  heard = HearAll(*patient);
  CHECK(heard.end.reason == EndReason::kQueueTimeout);
  CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
  CHECK(base::DetailOf(heard.end.status)->retry_after_ms.has_value());
  clock.Advance(seconds(10));
  heard = HearAll(*decoding);
  CHECK(heard.end.reason == EndReason::kDeadline);
  CHECK(heard.end.tokens_decoded == 2);
  CHECK(heard.text == "word word ");

  SequenceRequest parked = Ask(*pool, "!tokens 9");
  parked.allowance = 1;
  parked.deadline = clock.Mono() + seconds(5);
  const auto stream = Submit(*pool, std::move(parked));
  heard = Heard{};
  CHECK(Hear(*stream, heard) == Taken::kParked);
  clock.Advance(seconds(6));
  CHECK(Hear(*stream, heard) == Taken::kEnd);
  CHECK(heard.end.reason == EndReason::kDeadline);
}

TEST_CASE("Requests out of range are refused with the numbers, before anything is queued") {
  ModelOptions model = Scripted();
  model.context_tokens = 32;
  const auto pool = MakePool(model);
  struct Row {
    void (*spoil)(SequenceRequest&);
    absl::StatusCode code;
    const char* says;
  };
  const Row rows[] = {
      {[](SequenceRequest& r) { r.model = "none"; }, absl::StatusCode::kNotFound, "no such model"},
      {[](SequenceRequest& r) { r.prompt_tokens.clear(); }, absl::StatusCode::kInvalidArgument, "no tokens"},
      {[](SequenceRequest& r) { r.prompt_tokens[0] = -1; }, absl::StatusCode::kInvalidArgument, "prompt token -1"},
      {[](SequenceRequest& r) { r.prompt_tokens[0] = 1 << 30; }, absl::StatusCode::kInvalidArgument, "prompt token 1073741824"},
      {[](SequenceRequest& r) { r.prompt_tokens.assign(32, 65); }, absl::StatusCode::kInvalidArgument, "the prompt has 32 tokens"},
      {[](SequenceRequest& r) { r.prompt_tokens.assign(20, 65), r.max_tokens = 13; }, absl::StatusCode::kInvalidArgument,
       "20 tokens and max_tokens asks for 13"},
      {[](SequenceRequest& r) { r.max_tokens = INT64_MAX; }, absl::StatusCode::kInvalidArgument, "context of 32"},
      {[](SequenceRequest& r) { r.max_tokens = -1; }, absl::StatusCode::kInvalidArgument, "max_tokens"},
      {[](SequenceRequest& r) { r.allowance = 0; }, absl::StatusCode::kInvalidArgument, "allowance"},
      {[](SequenceRequest& r) { r.sampling.top_p = 2; }, absl::StatusCode::kInvalidArgument, "top_p"},
      {[](SequenceRequest& r) { r.stop = {""}; }, absl::StatusCode::kInvalidArgument, "stop string"},
      {[](SequenceRequest& r) { r.stop = {"\xFF"}; }, absl::StatusCode::kInvalidArgument, "UTF-8"},
      {[](SequenceRequest& r) { r.stop.assign(17, "x"); }, absl::StatusCode::kInvalidArgument, "17 strings"},
  };
  for (const Row& row : rows) {
    SequenceRequest request = Ask(*pool, "x");
    row.spoil(request);
    const auto stream = pool->Submit(std::move(request));
    CHECK(stream.status().code() == row.code);
    CHECK(base::Message(stream.status()).find(row.says) != std::string::npos);
  }
  SequenceRequest fits = Ask(*pool, "x");
  fits.prompt_tokens.assign(31, 65);
  fits.max_tokens = 1;
  CHECK(HearAll(*Submit(*pool, std::move(fits))).end.tokens_decoded == 1);
}

TEST_CASE("Draining lets what runs finish, refuses what is new, and ends the rest at the deadline") {
  base::ManualClock clock;
  const auto pool = MakePool(Scripted(2), clock);
  const auto finishing = Submit(*pool, Ask(*pool, "!tokens 100"));
  const auto hung = Submit(*pool, Ask(*pool, "!tokens 1\n!hang"));
  while (hung->tokens_decoded() < 1) std::this_thread::yield();
  std::thread drain([&, deadline = clock.Mono() + seconds(5)] { pool->Drain(deadline); });
  CHECK(HearAll(*finishing).end.reason == EndReason::kStop);
  while (pool->Submit(Ask(*pool, "late")).status().code() != absl::StatusCode::kUnavailable) std::this_thread::yield();
  clock.Advance(seconds(6));
  const Heard heard = HearAll(*hung);
  CHECK(heard.end.reason == EndReason::kShutdown);
  CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
  CHECK(heard.end.tokens_decoded == 1);
  drain.join();
}

TEST_CASE("A stream may outlive its pool") {
  std::shared_ptr<TokenStream> stream;
  {
    const auto pool = MakePool(Scripted(1));
    stream = Submit(*pool, Ask(*pool, "!hang"));
  }
  CHECK(HearAll(*stream).end.reason == EndReason::kShutdown);
  stream->Allow(10, true);
  stream->Cancel();
}

TEST_CASE("Options out of range refuse the start and name the model and the field") {
  struct Row {
    void (*spoil)(ModelOptions&);
    const char* says;
  };
  const Row rows[] = {
      {[](ModelOptions& m) { m.slots = 0; }, "model script: slots is 0"},
      {[](ModelOptions& m) { m.context_tokens = 8; }, "context_tokens is 8"},
      {[](ModelOptions& m) { m.step_tokens_max = 1 << 20; }, "step_tokens_max"},
      {[](ModelOptions& m) { m.queue_timeout = milliseconds(0); }, "queue_timeout"},
      {[](ModelOptions& m) { m.engine = EngineKind::kLlama; }, "names no file"},
  };
  for (const Row& row : rows) {
    PoolOptions options;
    options.models = {Scripted()};
    row.spoil(options.models[0]);
    const auto pool = Pool::Create(std::move(options));
    CHECK_FALSE(pool.ok());
    CHECK(base::Message(pool.status()).find(row.says) != std::string::npos);
  }
  PoolOptions twice;
  twice.models = {Scripted(), Scripted()};
  CHECK(base::Message(Pool::Create(std::move(twice)).status()).find("stands twice") != std::string::npos);
}

}  // namespace
}  // namespace tollgate::inference
