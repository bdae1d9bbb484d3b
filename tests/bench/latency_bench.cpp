// latency: what a client of a stream waits for the gateway. The real program with the scripted engine, which takes no time of its own, and
// everything on, as in overhead_bench.cpp, at a steady rate (open loop: a latency counts from when its request was due). The bare side is a
// server that sends as many messages of the same sizes at the same rate; a commit is the bare INSERT of one REQUEST record at that rate.
// Interleaved A B B A; medians.
//
//   latency.ttft_p99_ms              time to first text that the gateway adds to the bare server's: p99, streams of 64 tokens, 500 a second
//   latency.ttft_p99_bound_ms        what it may be at most: 2 x the p99 of one bare commit + 2 ms
//   latency.ttft_p99_over_bound      the one ÷ the other; at most 1
//   latency.stream_bound             whole stream ÷ (bare + segment_ms + 50 us a token), p99 of each; at most 1
//   latency.stream_bound.tokens1000  the same of streams of 1,000 tokens, 50 a second
//   latency.SURFACE.…                what they are made of, over gRPC and over HTTP; the figures above are the worse surface's
//
// TOLLGATE_BENCH_PAIRS (8), TOLLGATE_BENCH_SECONDS (2), TOLLGATE_BENCH_RATE (500).
#include <optional>

#include <fmt/format.h>

#include "tests/bench/bare_servers.h"
#include "tests/bench/figures.h"
#include "tests/bench/load.h"
#include "tests/bench/request_rows.h"
#include "tests/bench/world.h"

namespace tollgate::bench {
namespace {

constexpr int kClients = 256;          // At most so many streams at once.
constexpr int kSample = 2 * kClients;  // Requests whose rows are inserted again.
constexpr double kSegmentMs = 100;     // As ScriptedInstance has it.
constexpr double kTokenMs = 0.05;

struct Surface {
  const char* name;
  bool grpc;
};
constexpr Surface kSurfaces[] = {{"grpc", true}, {"http", false}};

struct Load {
  const char* suffix;  // Of the figures' names.
  std::vector<std::string> prompts;
  double rate_per_s;
  double seconds;
};

Traffic TrafficTo(const World& world, const Surface& surface, const Load& load) {
  return {.grpc = surface.grpc,
          .stream = true,
          .port = surface.grpc ? world.gateway().grpc_port() : world.gateway().http_port(),
          .key = world.key(),
          .prompts = load.prompts};
}

Outcome Good(const Traffic& traffic, const Load& load) {
  Outcome outcome = RunLoad(traffic, {.clients = kClients, .seconds = load.seconds, .rate_per_s = load.rate_per_s});
  if (outcome.failed * 100 > outcome.requests) Fail("too many requests failed");
  return outcome;
}

// Output tokens of a stream: gRPC's answers say so.
double Tokens(const World& world, const Load& load) {
  const Outcome outcome = Good(TrafficTo(world, kSurfaces[0], load), load);
  return static_cast<double>(outcome.tokens) / static_cast<double>(outcome.requests);
}

// What runs of one surface gave, run by run, in ms.
struct Runs {
  std::vector<double> first, bare_first, whole, bare_whole, commit;
  std::vector<double> usual_first, usual_commit;  // p50; the others are p99.

  std::vector<double> Added() const {
    std::vector<double> added;
    for (std::size_t i = 0; i < first.size(); ++i) added.push_back(first[i] - bare_first[i]);
    return added;
  }
  std::vector<double> Bounds() const {
    std::vector<double> bounds;
    for (const double ms : commit) bounds.push_back(2 * ms + 2);
    return bounds;
  }
  std::vector<double> StreamBound(double tokens) const {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < whole.size(); ++i) ratios.push_back(whole[i] / (bare_whole[i] + kSegmentMs + kTokenMs * tokens));
    return ratios;
  }
};

Runs Measure(const World& world, const BareServers& bare, const Surface& surface, const Load& load, RequestRows& rows, int pairs) {
  const Traffic gateway = TrafficTo(world, surface, load);
  Traffic echo = gateway;
  echo.port = surface.grpc ? bare.grpc_port() : bare.http_port();
  Good(gateway, load);
  Good(echo, load);
  rows.CommitAtRate(load.seconds / 4, load.rate_per_s);
  Runs runs;
  const auto ours = [&] {
    const Outcome outcome = Good(gateway, load);
    runs.first.push_back(Quantile(outcome.first_ms, 0.99));
    runs.usual_first.push_back(Quantile(outcome.first_ms, 0.5));
    runs.whole.push_back(Quantile(outcome.ms, 0.99));
  };
  for (int i = 0; i < pairs; ++i) {
    if (i % 2 == 0) ours();
    const Outcome outcome = Good(echo, load);
    runs.bare_first.push_back(Quantile(outcome.first_ms, 0.99));
    runs.bare_whole.push_back(Quantile(outcome.ms, 0.99));
    const std::vector<double> commits = rows.CommitAtRate(load.seconds, load.rate_per_s);
    runs.commit.push_back(Quantile(commits, 0.99));
    runs.usual_commit.push_back(Quantile(commits, 0.5));
    if (i % 2 != 0) ours();
  }
  return runs;
}

// The runs of the surface that is nearer to its bound, or further beyond it.
const Runs& Worse(const Runs& a, const Runs& b, double (*share)(const Runs&)) { return share(a) >= share(b) ? a : b; }

void MeasureFirst(const Runs (&by_surface)[2]) {
  for (std::size_t s = 0; s < 2; ++s) {
    const std::string name = fmt::format("latency.{}.", kSurfaces[s].name);
    PrintMedian(name + "client_ttft_p50_ms", by_surface[s].usual_first, "ms");
    PrintMedian(name + "commit_p50_ms", by_surface[s].usual_commit, "ms");
    PrintMedian(name + "client_ttft_p99_ms", by_surface[s].first, "ms");
    PrintMedian(name + "bare_ttft_p99_ms", by_surface[s].bare_first, "ms");
    PrintMedian(name + "commit_p99_ms", by_surface[s].commit, "ms");
    PrintMedian(name + "ttft_p99_ms", by_surface[s].Added(), "ms");
    PrintMedian(name + "ttft_p99_bound_ms", by_surface[s].Bounds(), "ms");
  }
  const auto share = [](const Runs& runs) { return Median(runs.Added()) / Median(runs.Bounds()); };
  const Runs& worse = Worse(by_surface[0], by_surface[1], share);
  PrintMedian("latency.ttft_p99_ms", worse.Added(), "ms");
  PrintMedian("latency.ttft_p99_bound_ms", worse.Bounds(), "ms");
  Print("latency.ttft_p99_over_bound", share(worse), "ratio", 3);
}

void PrintStreams(const Runs (&by_surface)[2], const Load& load, double tokens) {
  std::vector<double> worse;
  for (std::size_t s = 0; s < 2; ++s) {
    const std::string name = fmt::format("latency.{}.", kSurfaces[s].name);
    PrintMedian(name + "stream_p99_ms" + load.suffix, by_surface[s].whole, "ms");
    PrintMedian(name + "bare_stream_p99_ms" + load.suffix, by_surface[s].bare_whole, "ms");
    const std::vector<double> ratios = by_surface[s].StreamBound(tokens);
    if (Median(ratios) > Median(worse)) worse = ratios;
  }
  PrintMedian(std::string("latency.stream_bound") + load.suffix, worse, "ratio", 3);
}

int Main() {
  const int pairs = static_cast<int>(FromEnvironment("TOLLGATE_BENCH_PAIRS", 8));
  const double length = FromEnvironment("TOLLGATE_BENCH_SECONDS", 2);
  const double rate = FromEnvironment("TOLLGATE_BENCH_RATE", 500);
  World world(ScriptedInstance());
  const Load loads[] = {{"", Prompts(), rate, length}, {".tokens1000", {"!tokens 1000"}, rate / 10, 2 * length}};
  std::optional<RequestRows> rows;
  for (const Load& load : loads) {
    const double tokens = Tokens(world, load);
    const BareServers bare(Capture(world.gateway().grpc_port(), world.gateway().http_port(), world.key(), load.prompts[0]));
    if (!rows) rows.emplace(world.databases(), world.NewDatabases(), kSample);
    const Runs by_surface[] = {Measure(world, bare, kSurfaces[0], load, *rows, pairs),
                               Measure(world, bare, kSurfaces[1], load, *rows, pairs)};
    if (&load == loads) MeasureFirst(by_surface);
    PrintStreams(by_surface, load, tokens);
  }
  return 0;
}

}  // namespace
}  // namespace tollgate::bench

int main(int argc, char** argv) {
  tollgate::bench::ServeBareIfAsked(argc, argv);
  return tollgate::bench::Main();
}
