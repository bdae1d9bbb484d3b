#include "tests/bench/overhead.h"

#include <cmath>

#include <fmt/format.h>

#include "tests/bench/figures.h"

namespace tollgate::bench {

Traffic TrafficTo(const World& world, const Surface& surface) {
  return {.grpc = surface.grpc,
          .stream = surface.stream,
          .port = surface.grpc ? world.gateway().grpc_port() : world.gateway().http_port(),
          .key = world.key(),
          .prompts = Prompts()};
}

Traffic BareTraffic(Traffic traffic, const BareServers& bare) {
  traffic.port = traffic.grpc ? bare.grpc_port() : bare.http_port();
  return traffic;
}

Outcome Good(const Traffic& traffic, const Plan& plan) {
  Outcome outcome = RunLoad(traffic, plan);
  if (outcome.failed * 100 > outcome.requests) Fail("too many requests failed");
  return outcome;
}

void MustHave(const Surface& surface, double pieces, double messages) {
  const double expected = surface.frame + pieces;
  if (std::abs(messages - expected) > 0.5 + 0.05 * pieces)
    Fail(fmt::format("{}: a stream has {:.1f} messages, not {:.0f}", surface.name, messages, expected));
}

}  // namespace tollgate::bench
