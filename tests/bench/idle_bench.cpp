// idle: what an instance costs that does nothing, and how soon it is there, with the scripted engine alone and no model.
//   idle.start_s   from exec to /readyz, median of 7 starts
//   idle.rss_mib   resident memory ten seconds after the start
#include <chrono>
#include <thread>

#include "tests/bench/figures.h"
#include "tests/bench/world.h"

namespace {

using namespace tollgate;
using Clock = std::chrono::steady_clock;

constexpr int kStarts = 7;

double SecondsSince(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

}  // namespace

int main() {
  e2e::Installation installation;
  std::vector<double> seconds;
  for (int i = 0; i < kStarts; ++i) {
    const auto began = Clock::now();
    e2e::Gateway gateway(installation);
    seconds.push_back(SecondsSince(began));
    if (gateway.Stop() != 0) bench::Fail("tollgate serve did not end in order");
  }
  bench::PrintMedian("idle.start_s", seconds, "s");
  e2e::Gateway gateway(installation);
  std::this_thread::sleep_for(std::chrono::seconds(10));
  bench::Print("idle.rss_mib", static_cast<double>(gateway.process().ResidentKib()) / 1024, "MiB", 1);
  return 0;
}
