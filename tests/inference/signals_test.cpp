// What a pool says of its speed: histograms, rates and the engine's share.
#include <catch2/catch_test_macros.hpp>

#include "inference/throughput.h"
#include "inference/time_histogram.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Ask;
using test::Hear;
using test::HearAll;
using test::Heard;
using test::MakePool;
using test::Scripted;
using test::Submit;
using test::Until;

TEST_CASE("A duration falls into the first bucket whose bound it does not exceed") {
  struct Row {
    microseconds took;
    std::size_t bucket;
  };
  const std::size_t last = TimeHistogram::kBoundsMicros.size();
  for (const Row& row : {Row{microseconds(-5), 0}, Row{microseconds(0), 0}, Row{microseconds(100), 0}, Row{microseconds(101), 1},
                         Row{milliseconds(20), 7}, Row{seconds(200), last - 1}, Row{seconds(201), last}, Row{seconds(1'000'000), last}}) {
    TimeHistogram times;
    times.Add(row.took);
    CHECK(times.counts()[row.bucket] == 1);
    CHECK(times.count() == 1);
    CHECK(times.sum_micros() == std::max<std::int64_t>(row.took.count(), 0));
  }
}

TEST_CASE("Rates are those of the last whole window, and the engine's share is kept while nothing is done") {
  Throughput throughput;
  base::MonoTime now{};
  throughput.Look(now, {});
  CHECK(throughput.efficiency() == 1);
  throughput.Look(now + seconds(9), {1000, 500, 4'000'000, 3'000'000});
  CHECK(throughput.output_tokens_per_second() == 0);
  throughput.Look(now + seconds(10), {1000, 500, 4'000'000, 3'000'000});
  CHECK(throughput.prompt_tokens_per_second() == 100);
  CHECK(throughput.output_tokens_per_second() == 50);
  CHECK(throughput.efficiency() == 0.75);
  throughput.Look(now + seconds(30), {1000, 500, 4'000'000, 3'000'000});
  CHECK(throughput.output_tokens_per_second() == 0);
  CHECK(throughput.efficiency() == 0.75);
}

TEST_CASE("Each sequence is counted once in the waits, each token but the first between two, each step once") {
  const auto pool = MakePool(Scripted());
  const Heard one = HearAll(*Submit(*pool, Ask(*pool, "!tokens 5")));
  const Heard two = HearAll(*Submit(*pool, Ask(*pool, "!tokens 1")));
  CHECK(one.end.tokens_decoded == 5);
  CHECK(two.end.tokens_decoded == 1);
  const ReplicaStats stats = pool->stats()[0];
  CHECK(stats.opened == 2);
  CHECK(stats.queue_wait.count() == 2);
  CHECK(stats.first_token.count() == 2);
  CHECK(stats.inter_token.count() == 4);
  CHECK(stats.step.count() == stats.steps);
  CHECK(stats.step.sum_micros() <= stats.step_micros + stats.steps);
  CHECK(stats.step_micros <= stats.busy_micros);
}

TEST_CASE("What a parked sequence waits for its quota is not between tokens") {
  base::ManualClock clock;
  const auto pool = MakePool(Scripted(), clock);
  SequenceRequest request = Ask(*pool, "!tokens 4");
  request.allowance = 2;
  const auto stream = Submit(*pool, std::move(request));
  Heard heard;
  REQUIRE(Hear(*stream, heard) == Taken::kParked);
  clock.Advance(seconds(100));
  stream->Allow(100, true);
  REQUIRE(Hear(*stream, heard) == Taken::kEnd);
  CHECK(heard.end.tokens_decoded == 4);
  const ReplicaStats stats = pool->stats()[0];
  CHECK(stats.inter_token.count() == 2);
  CHECK(stats.inter_token.sum_micros() == 0);
}

TEST_CASE("A sequence that waits behind others shows in the queue's times by the pool's clock") {
  base::ManualClock clock;
  const auto pool = MakePool(Scripted(1), clock);
  const auto first = Submit(*pool, Ask(*pool, "!hang"));
  Until(*pool, [](const ReplicaStats& stats) { return stats.running == 1; });
  const auto second = Submit(*pool, Ask(*pool, "word"));
  clock.Advance(seconds(3));
  first->Cancel();
  HearAll(*second);
  const ReplicaStats stats = pool->stats()[0];
  CHECK(stats.queue_wait.sum_micros() == 3'000'000);
  CHECK(stats.first_token.sum_micros() == 3'000'000);
}

}  // namespace
}  // namespace tollgate::inference
