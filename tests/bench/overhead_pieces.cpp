// What a piece costs that leaves by itself: streams whose engine takes its time, beside streams of the same text that may leave at once, in
// two or three pieces, at the same rate; ours and the bare side's.
#include <vector>

#include <fmt/format.h>

#include "tests/bench/cpu.h"
#include "tests/bench/figures.h"
#include "tests/bench/overhead.h"

namespace tollgate::bench {
namespace {

constexpr int kPieces = 64;
constexpr int kPaceMs = 20;        // More than a commit takes.
constexpr double kPacedRate = 50;  // Streams a second.

// Of one stream.
struct Used {
  double gateway_us, postgres_us, bare_us, messages;

  // Of one piece, where `few` has fewer.
  Used PieceBeside(const Used& few) const {
    const double pieces = messages - few.messages;
    return {(gateway_us - few.gateway_us) / pieces, (postgres_us - few.postgres_us) / pieces, (bare_us - few.bare_us) / pieces, 1};
  }
};

Used StreamsUse(const Traffic& traffic, const Plan& plan) {
  const CpuSince cpu;
  const Outcome outcome = Good(traffic, plan);
  auto seconds = cpu.Used();
  const double gateway = seconds["tollgate"], postgres = seconds["postgres"], load = seconds["load"];
  const double us = 1e6 / static_cast<double>(outcome.requests);
  return {gateway * us, postgres * us, (Total(seconds) - gateway - postgres - load) * us,
          static_cast<double>(outcome.messages) / static_cast<double>(outcome.requests)};
}

}  // namespace

void MeasurePieces(int pairs, double seconds) {
  e2e::InstanceOptions options = ScriptedInstance();
  options.extra["segment_ms"] = "1";
  World world(options);
  const std::string together = fmt::format("!tokens {}", kPieces), paced = fmt::format("!pace_ms {}\n{}", kPaceMs, together);
  const auto AnswersTo = [&](const std::string& prompt) {
    return Capture(world.gateway().grpc_port(), world.gateway().http_port(), world.key(), prompt);
  };
  const BareServers bare_together(AnswersTo(together)), bare_paced(AnswersTo(paced));
  const Plan plan{.clients = 256, .seconds = seconds, .rate_per_s = kPacedRate};
  for (const Surface& surface : {kSurfaces[1], kSurfaces[3]}) {
    Traffic few = TrafficTo(world, surface), many = few;
    few.prompts = {together};
    many.prompts = {paced};
    std::vector<double> gateway, postgres, bare, added, messages;
    const auto OneByOne = [&](const Traffic& traffic) {
      const Used used = StreamsUse(traffic, plan);
      MustHave(surface, kPieces, used.messages);
      return used;
    };
    OneByOne(many);
    Interleave(
        pairs,
        [&] {
          const Used one_by_one = OneByOne(many), piece = one_by_one.PieceBeside(StreamsUse(few, plan));
          messages.push_back(one_by_one.messages);
          gateway.push_back(piece.gateway_us);
          postgres.push_back(piece.postgres_us);
        },
        [&] {
          const Used one_by_one = OneByOne(BareTraffic(many, bare_paced));
          bare.push_back(one_by_one.PieceBeside(StreamsUse(BareTraffic(few, bare_together), plan)).bare_us);
        });
    for (std::size_t i = 0; i < bare.size(); ++i) added.push_back(gateway[i] + postgres[i] - bare[i]);
    const std::string name = fmt::format("overhead.{}.", surface.grpc ? "grpc" : "http");
    PrintMedian(name + "paced.messages", messages, "messages/stream", 1);
    PrintMedian(name + "piece.cpu_us.gateway", gateway, "us", 1);
    PrintMedian(name + "piece.cpu_us.postgres", postgres, "us", 1);
    PrintMedian(name + "piece.cpu_us.bare", bare, "us", 1);
    PrintMedian(name + "piece.added_cpu_us", added, "us", 1);
  }
}

}  // namespace tollgate::bench
