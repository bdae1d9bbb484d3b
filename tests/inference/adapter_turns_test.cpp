// Whose adapters a step computes with: no set starves, no tenant gains by bringing many, changes are few.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <random>

#include "inference/adapter_turns.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;
using test::Team;

struct Work {
  int tenant;
  AdapterSet set;
};

// Steps of sequences that always have work, and how they fell.
struct Run {
  AdapterTurns turns{milliseconds(100)};
  base::MonoTime now{milliseconds(1000)};
  std::map<AdapterSet, int> steps;
  std::map<AdapterSet, int> gap;  // The longest wait, in steps.
  std::map<int, int> took_part;

  void Go(const std::vector<Work>& work, int count, milliseconds a_step = milliseconds(1)) {
    std::map<AdapterSet, int> since;
    for (int i = 0; i < count; ++i, now += a_step) {
      std::vector<AdapterTurns::Runnable> runnable;
      for (const Work& w : work) runnable.push_back({&w.set, Team(w.tenant)});
      const AdapterSet set = turns.Next(runnable, now);
      ++steps[set];
      std::map<int, bool> in;
      for (const Work& w : work) {
        if (w.set == set) in[w.tenant] = true;
        if (w.set == set) since[w.set] = 0;
      }
      for (const auto& [tenant, there] : in) took_part[tenant] += there ? 1 : 0;
      for (const Work& w : work) {
        if (w.set != set) gap[w.set] = std::max(gap[w.set], i - since.try_emplace(w.set, -1).first->second);
      }
      since[set] = i;
    }
  }
};

TEST_CASE("Sequences of one set go together, with no changes") {
  Run run;
  run.Go({{1, {}}, {2, {}}, {3, {}}}, 100);
  CHECK(run.turns.changes() == 0);
  CHECK(run.took_part == std::map<int, int>{{1, 100}, {2, 100}, {3, 100}});
}

TEST_CASE("Two sets take turns of some steps, evenly; a slow step is a turn of its own") {
  Run quick;
  quick.Go({{1, {}}, {2, {7}}}, 800);
  CHECK(quick.steps[{}] == 400);
  CHECK(quick.steps[{7}] == 400);
  CHECK(quick.turns.changes() == 800 / AdapterTurns::kStepsMax - 1);
  Run slow;
  slow.Go({{1, {}}, {2, {7}}}, 100, milliseconds(90));
  CHECK(slow.turns.changes() == 99);
}

TEST_CASE("A tenant with many sets takes no more steps than one with a single set") {
  Run run;
  std::vector<Work> work{{1, {99}}};
  for (int set = 1; set <= 6; ++set) work.push_back({2, {set}});
  run.Go(work, 4800);
  CHECK(run.steps[{99}] == 2400);
  for (int set = 1; set <= 6; ++set) CHECK(run.steps[{set}] == 400);
  CHECK(run.gap[{99}] <= 2 * AdapterTurns::kStepsMax);
}

TEST_CASE("A set whose tenant's work in another uses up its share does not starve") {
  Run run;
  run.Go({{1, {}}, {2, {}}, {2, {5}}, {3, {6}}}, 6000);
  for (const auto& [set, steps] : run.steps)
    CHECK(steps >= 6000 / (3 * 3 + 2) - AdapterTurns::kStepsMax);  // Its last turn may not have come.
  CHECK(run.gap[{5}] <= (3 * 3 + 2) * AdapterTurns::kStepsMax);
}

TEST_CASE("A tenant that comes late starts beside the others and owes nobody anything") {
  Run run;
  run.Go({{1, {}}, {2, {4}}}, 1600);
  run.steps.clear();
  run.Go({{1, {}}, {2, {4}}, {3, {5}}}, 2400);
  for (const auto& [set, steps] : run.steps) CHECK(std::abs(steps - 800) <= AdapterTurns::kStepsMax);
  run.steps.clear();
  run.Go({{1, {}}}, 5000);  // Alone: nothing is saved up by the others, nothing owed by this one.
  run.steps.clear();
  run.Go({{1, {}}, {2, {4}}}, 160);
  CHECK(std::abs(run.steps[{}] - 80) <= AdapterTurns::kStepsMax);
}

TEST_CASE("Whatever has work and whoever asks, every set gets its turn in a bounded time") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<Work> work;
    std::map<int, bool> tenants;
    std::map<AdapterSet, bool> sets;
    for (std::uint64_t n = 1 + random() % 12; n > 0; --n) {
      AdapterSet set;
      for (int handle = 1; handle <= 3; ++handle) {
        if (random() % 2 == 0) set.push_back(handle);
      }
      work.push_back({1 + static_cast<int>(random() % 4), set});
      tenants[work.back().tenant] = sets[set] = true;
    }
    Run run;
    run.Go(work, 2000);
    const auto bound = static_cast<int>((tenants.size() * sets.size() + sets.size()) * AdapterTurns::kStepsMax);
    for (const auto& [set, there] : sets) {
      CHECK(run.steps[set] > 0);
      CHECK(run.gap[set] <= bound);
    }
  }
}

}  // namespace
}  // namespace tollgate::inference
