// What the parts of overhead_bench.cpp share: surfaces, traffic to them, and the order of runs.
#pragma once

#include "tests/bench/bare_servers.h"
#include "tests/bench/load.h"
#include "tests/bench/world.h"

namespace tollgate::bench {

struct Surface {
  const char* name;
  bool grpc;
  bool stream;
  double frame = 0;  // Messages of a stream before its first piece. The last piece leaves with the end.
};
inline constexpr Surface kSurfaces[] = {
    {"grpc.unary", true, false}, {"grpc.stream", true, true}, {"http.unary", false, false}, {"http.stream", false, true, 1}};

Traffic TrafficTo(const World& world, const Surface& surface);
Traffic BareTraffic(Traffic traffic, const BareServers& bare);

// Ends the program if more than one in a hundred fails.
Outcome Good(const Traffic& traffic, const Plan& plan);

// Ends the program unless streams, of ours or of the bare side, have the messages of so many pieces, on the average. Some have one more or
// less: where policy acts or holds the last, and where a busy machine joins two.
void MustHave(const Surface& surface, double pieces, double messages);

// Calls a() and b() so many times each, in the order A B B A.
template <typename A, typename B>
void Interleave(int pairs, const A& a, const B& b) {
  for (int i = 0; i < pairs; ++i) {
    if (i % 2 == 0) a();
    b();
    if (i % 2 != 0) a();
  }
}

// The part "pieces".
void MeasurePieces(int pairs, double seconds);

}  // namespace tollgate::bench
