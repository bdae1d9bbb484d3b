// The pool with the scripted engine: what a sequence may count on, from Submit to its end.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>

#include "base/error_detail.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using test::Ask;
using test::Hear;
using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Scripted;
using test::Submit;
using test::Team;
using test::Until;

TEST_CASE("A reply comes whole, with exact counts") {
  const auto pool = MakePool(Scripted());
  SequenceRequest request = Ask(*pool, "one two three");
  const auto input = static_cast<std::int64_t>(request.prompt_tokens.size());
  const Heard heard = HearAll(*Submit(*pool, std::move(request)));
  CHECK(heard.text == "one two three");
  CHECK(heard.end.reason == EndReason::kStop);
  CHECK(heard.end.status.ok());
  CHECK(heard.end.input_tokens == input);
  CHECK(heard.end.input_tokens_evaluated == input);
  CHECK(heard.end.cached_input_tokens == 0);
  CHECK(heard.end.tokens_decoded == 3);
  CHECK(heard.end.tokens_delivered == 3);
  CHECK(heard.end.started_at >= heard.end.submitted_at);
  CHECK(heard.end.first_token_at >= *heard.end.started_at);
  CHECK(heard.end.ended_at >= *heard.end.first_token_at);
  const ReplicaStats stats = pool->stats()[0];
  CHECK(stats.running == 0);
  CHECK(stats.waiting == 0);
  CHECK(stats.sequences == 1);
  CHECK(stats.prompt_tokens == input);
  CHECK(stats.output_tokens == 3);
  CHECK(stats.kv_tokens_used == 0);
}

TEST_CASE("max_tokens ends a reply at the exact token") {
  const auto pool = MakePool(Scripted());
  for (const std::int64_t max : {1, 2, 7, 8, 9}) {
    SequenceRequest request = Ask(*pool, "!tokens 8");
    request.max_tokens = max;
    const Heard heard = HearAll(*Submit(*pool, std::move(request)));
    CHECK(heard.end.tokens_decoded == std::min<std::int64_t>(max, 8));
    CHECK(heard.end.reason == (max < 8 ? EndReason::kLength : EndReason::kStop));
  }
}

TEST_CASE("Without max_tokens the context ends a reply") {
  ModelOptions model = Scripted();
  model.context_tokens = 64;
  const auto pool = MakePool(model);
  SequenceRequest request = Ask(*pool, "!tokens 1000");
  const auto input = static_cast<std::int64_t>(request.prompt_tokens.size());
  const Heard heard = HearAll(*Submit(*pool, std::move(request)));
  CHECK(heard.end.reason == EndReason::kLength);
  CHECK(heard.end.tokens_decoded == 64 - input);
}

TEST_CASE("A sequence parks at its allowance, goes on when allowed, and ends exactly at the final one") {
  const auto pool = MakePool(Scripted());
  SequenceRequest request = Ask(*pool, "!tokens 100");
  request.allowance = 5;
  const auto stream = Submit(*pool, std::move(request));
  Heard heard;
  CHECK(Hear(*stream, heard) == Taken::kParked);
  CHECK(stream->tokens_decoded() == 5);
  Until(*pool, [](const ReplicaStats& s) { return s.parked == 1; });
  stream->Allow(12, false);
  CHECK(Hear(*stream, heard) == Taken::kParked);
  CHECK(stream->tokens_decoded() == 12);
  stream->Allow(20, true);
  CHECK(Hear(*stream, heard) == Taken::kEnd);
  CHECK(heard.end.reason == EndReason::kAllowance);
  CHECK(heard.end.status.ok());
  CHECK(heard.end.tokens_decoded == 20);
  CHECK(heard.end.tokens_delivered == 20);
  CHECK(heard.text.size() == 20 * std::string("word ").size());
}

TEST_CASE("A first allowance that is final ends the reply without parking") {
  const auto pool = MakePool(Scripted());
  SequenceRequest request = Ask(*pool, "!tokens 100");
  request.allowance = 3;
  request.allowance_final = true;
  const Heard heard = HearAll(*Submit(*pool, std::move(request)));
  CHECK(heard.parks == 0);
  CHECK(heard.end.reason == EndReason::kAllowance);
  CHECK(heard.end.tokens_decoded == 3);
}

TEST_CASE("A parked sequence can be ended where it stands") {
  const auto pool = MakePool(Scripted());
  SequenceRequest request = Ask(*pool, "!tokens 100");
  request.allowance = 4;
  const auto stream = Submit(*pool, std::move(request));
  Heard heard;
  CHECK(Hear(*stream, heard) == Taken::kParked);
  stream->Allow(4, true);
  CHECK(Hear(*stream, heard) == Taken::kEnd);
  CHECK(heard.end.reason == EndReason::kAllowance);
  CHECK(heard.end.tokens_decoded == 4);
}

TEST_CASE("Parking is told even where all the text is held by a stop string") {
  const auto pool = MakePool(Scripted());
  SequenceRequest request = Ask(*pool, "!say ab\\|cd\\|ef\\|gh");
  request.stop = {"abcdX"};
  request.allowance = 2;
  const auto stream = Submit(*pool, std::move(request));
  Heard heard;
  CHECK(Hear(*stream, heard) == Taken::kParked);
  CHECK(heard.text.empty());
  CHECK(stream->tokens_decoded() == 2);
  stream->Allow(100, false);
  CHECK(Hear(*stream, heard) == Taken::kEnd);
  CHECK(heard.text == "abcdefgh");
  CHECK(heard.end.tokens_delivered == 4);
}

TEST_CASE("A stop string ends the reply across tokens and is not part of it") {
  const auto pool = MakePool(Scripted());
  SequenceRequest request = Ask(*pool, "!say keep this ST\\|OP not this");
  request.stop = {"never", "STOP"};
  const Heard heard = HearAll(*Submit(*pool, std::move(request)));
  CHECK(heard.text == "keep this ");
  CHECK(heard.end.reason == EndReason::kStop);
  CHECK(heard.end.stop_index == 1);
  CHECK(heard.end.tokens_decoded == 4);
  CHECK(heard.end.tokens_delivered == 2);
}

TEST_CASE("Cancelling before the first token, in the middle and in the queue ends with what was decoded") {
  const auto pool = MakePool(Scripted(1));
  SequenceRequest first = Ask(*pool, "!hang");
  const auto hung = Submit(*pool, std::move(first));
  Until(*pool, [](const ReplicaStats& s) { return s.running == 1; });
  const auto queued = Submit(*pool, Ask(*pool, "queued"));
  queued->Cancel();
  Heard heard = HearAll(*queued);
  CHECK(heard.end.reason == EndReason::kCancelled);
  CHECK(heard.end.status.code() == absl::StatusCode::kCancelled);
  CHECK_FALSE(heard.end.started_at.has_value());
  hung->Cancel();
  heard = HearAll(*hung);
  CHECK(heard.end.reason == EndReason::kCancelled);
  CHECK(heard.end.tokens_decoded == 0);

  const auto middle = Submit(*pool, [&] {
    SequenceRequest r = Ask(*pool, "!tokens 3\n!hang");
    return r;
  }());
  heard = Heard{};
  while (middle->tokens_decoded() < 3) std::this_thread::yield();
  middle->Cancel(EndReason::kDeadline);
  CHECK(Hear(*middle, heard) == Taken::kEnd);
  CHECK(heard.end.reason == EndReason::kDeadline);
  CHECK(heard.end.tokens_decoded == 3);
  CHECK(HearAll(*Submit(*pool, Ask(*pool, "the slot is free"))).text == "the slot is free");
}

TEST_CASE("Dropping a stream frees its slot") {
  const auto pool = MakePool(Scripted(1));
  Submit(*pool, Ask(*pool, "!hang")).reset();
  CHECK(HearAll(*Submit(*pool, Ask(*pool, "next"))).text == "next");
}

TEST_CASE("A reader that takes nothing parks its own sequence in bounded memory and no other") {
  ModelOptions model = Scripted(2);
  model.stream_buffer_bytes = 64;
  const auto pool = MakePool(model);
  const auto slow = Submit(*pool, Ask(*pool, "!tokens 2000"));
  Until(*pool, [](const ReplicaStats& s) { return s.parked == 1; });
  const std::int64_t decoded = slow->tokens_decoded();
  CHECK(decoded <= 64);
  CHECK(HearAll(*Submit(*pool, Ask(*pool, "!tokens 500"))).end.tokens_decoded == 500);
  CHECK(slow->tokens_decoded() == decoded);
  const Heard heard = HearAll(*slow);
  CHECK(heard.end.reason == EndReason::kStop);
  CHECK(heard.end.tokens_decoded == 2000);
  for (const Piece& piece : heard.pieces) CHECK(piece.text.size() <= 64 + std::string("word ").size());
}

TEST_CASE("An engine that fails on a sequence ends that one; the others go on and its slot is used again") {
  const auto pool = MakePool(Scripted(2));
  const auto good = Submit(*pool, Ask(*pool, "!tokens 20000"));
  const Heard bad = HearAll(*Submit(*pool, Ask(*pool, "!say it breaks\n!fail")));
  CHECK(bad.end.reason == EndReason::kEngineFailed);
  CHECK(bad.end.status.code() == absl::StatusCode::kInternal);
  CHECK(bad.text == "it breaks");
  CHECK(bad.end.tokens_decoded == 2);
  CHECK(HearAll(*Submit(*pool, Ask(*pool, "again"))).text == "again");
  CHECK(HearAll(*good).end.tokens_decoded == 20000);
  CHECK(pool->stats()[0].failed == 1);
}

TEST_CASE("A prompt longer than a step is worked through in chunks beside a running sequence") {
  ModelOptions model = Scripted(2);
  model.step_tokens_max = 16;
  const auto pool = MakePool(model);
  const auto running = Submit(*pool, Ask(*pool, "!tokens 5000"));
  SequenceRequest request = Ask(*pool, std::string(3000, 'x') + "\n!say done");
  const auto input = static_cast<std::int64_t>(request.prompt_tokens.size());
  CHECK(input > 600);
  const Heard heard = HearAll(*Submit(*pool, std::move(request)));
  CHECK(heard.text == "done");
  CHECK(heard.end.input_tokens_evaluated == input);
  CHECK(HearAll(*running).end.tokens_decoded == 5000);
}

TEST_CASE("Two tenants with unequal load are served in turns") {
  const auto pool = MakePool(Scripted(1));
  const auto gate = Submit(*pool, Ask(*pool, "!hang"));
  Until(*pool, [](const ReplicaStats& s) { return s.running == 1; });
  std::vector<std::shared_ptr<TokenStream>> streams;
  std::vector<int> tenants;
  for (int i = 0; i < 12; ++i) {
    SequenceRequest request = Ask(*pool, "!tokens 10");
    tenants.push_back(i < 9 ? 1 : 2);
    request.tenant = Team(tenants.back());
    streams.push_back(Submit(*pool, std::move(request)));
  }
  gate->Cancel();
  std::vector<std::pair<base::MonoTime, int>> order;
  for (std::size_t i = 0; i < streams.size(); ++i) order.emplace_back(*HearAll(*streams[i]).end.started_at, tenants[i]);
  std::sort(order.begin(), order.end());
  int of_second = 0;
  for (std::size_t i = 0; i < 6; ++i) of_second += order[i].second == 2 ? 1 : 0;
  CHECK(of_second == 3);
}

TEST_CASE("The last of four slots is kept for a tenant that holds none, though only one was ever seen") {
  const auto pool = MakePool(Scripted(4));
  const auto submit = [&](int team, const char* script) {
    SequenceRequest request = Ask(*pool, script);
    request.tenant = Team(team);
    return Submit(*pool, std::move(request));
  };
  std::vector<std::shared_ptr<TokenStream>> greedy;
  for (int i = 0; i < 6; ++i) greedy.push_back(submit(1, "!hang"));
  Until(*pool, [](const ReplicaStats& s) { return s.running == 3 && s.waiting == 3; });
  CHECK(HearAll(*submit(2, "there is room")).text == "there is room");
}

TEST_CASE("Many consumers on many threads: every token of every sequence is counted once") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  ModelOptions model = Scripted(4);
  model.stream_buffer_bytes = 128;
  const auto pool = MakePool(model);
  std::vector<std::thread> threads;
  std::array<std::string, 4> faults;
  for (std::size_t t = 0; t < faults.size(); ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + t);
      for (int i = 0; i < 60; ++i) {
        const auto tokens = static_cast<std::int64_t>(1 + random() % 200);
        SequenceRequest request;
        request.model = "script";
        const Turn turn{"user", "", "!tokens " + std::to_string(tokens)};
        request.prompt_tokens = *pool->Render("script", std::span(&turn, 1));
        request.tenant = Team(static_cast<int>(t % 2));
        request.allowance = static_cast<std::int64_t>(1 + random() % 50);
        const bool cancel = random() % 5 == 0;
        auto stream = pool->Submit(std::move(request));
        if (!stream.ok()) continue;
        Heard heard;
        std::int64_t allowed = 0;
        while (Hear(**stream, heard) == Taken::kParked)
          (*stream)->Allow(allowed = (*stream)->tokens_decoded() + static_cast<std::int64_t>(1 + random() % 50), false);
        if (cancel) (*stream)->Cancel();
        if (heard.end.reason != EndReason::kStop) faults[t] = "ended with " + std::string(Name(heard.end.reason));
        if (heard.end.tokens_decoded != tokens || heard.text.size() != static_cast<std::size_t>(tokens) * 5) faults[t] = "lost text";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& fault : faults) CHECK(fault.empty());
  Until(*pool, [](const ReplicaStats& s) { return s.running == 0 && s.waiting == 0; });
}

}  // namespace
}  // namespace tollgate::inference
