// Whom preemption takes cells from: the order, and what holds for any holders at all.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <random>

#include "inference/preemption.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using Slots = std::vector<int>;

const std::array<char, 4> kTenants{};  // Their addresses.
const void* Tenant(int number) { return &kTenants[static_cast<std::size_t>(number)]; }

CellHolder Holder(int slot, int tenant, std::int64_t cells, int started = 0) {
  CellHolder holder;
  holder.slot = slot;
  holder.tenant = Tenant(tenant);
  holder.served = 10.0 * (tenant + 1);
  holder.cells = cells;
  holder.started = base::MonoTime(std::chrono::seconds(started));
  holder.grows = true;
  return holder;
}

TEST_CASE("Where the step fits nobody is suspended") {
  const CellPlan plan = PlanStep({Holder(0, 0, 40), Holder(1, 1, 58)}, 100);
  CHECK(plan.suspend.empty());
  CHECK(plan.hold.empty());
}

TEST_CASE("Of the tenants with more than one running the one served most gives its youngest") {
  CHECK(PlanStep({Holder(0, 0, 20, 1), Holder(1, 1, 30, 2), Holder(2, 1, 30, 9), Holder(3, 2, 20, 4)}, 100).suspend == Slots{2});
  // Served most, but it has one: another has two, and no less than its share.
  CHECK(PlanStep({Holder(0, 0, 17, 1), Holder(1, 0, 17, 2), Holder(2, 1, 33, 9), Holder(3, 2, 33, 4)}, 100).suspend == Slots{1});
}

TEST_CASE("Whoever is parked gives first, whatever its share") {
  std::vector<CellHolder> holders = {Holder(0, 0, 10), Holder(1, 1, 44), Holder(2, 1, 44)};
  holders[0].parked = true, holders[0].grows = false;
  CHECK(PlanStep(holders, 100).suspend.empty());
  CHECK(PlanStep(holders, 99).suspend == Slots{0});
}

TEST_CASE("A tenant below its share gives nothing while another is above its own") {
  // The least served is far above its share.
  CHECK(PlanStep({Holder(0, 0, 80), Holder(1, 1, 10), Holder(2, 1, 10)}, 100).suspend == Slots{0});
  // By weight: with nine times the weight it is below.
  std::vector<CellHolder> holders = {Holder(0, 0, 80), Holder(1, 1, 10), Holder(2, 1, 10)};
  holders[0].weight = 9;
  CHECK(PlanStep(holders, 100).suspend == Slots{2});
  // Its guard holds; who is below waits a step, and nobody is suspended.
  holders[0].weight = 1;
  holders[0].guarded = true, holders[0].grows = false;
  const CellPlan plan = PlanStep(holders, 100);
  CHECK(plan.suspend.empty());
  CHECK(plan.hold == Slots{1, 2});
}

TEST_CASE("A newcomer gets others' cells up to its share, and only if that is enough") {
  Slots suspend;
  const std::vector<CellHolder> holders = {Holder(0, 0, 50, 1), Holder(1, 0, 50, 2)};
  CHECK(RoomFor({Tenant(1), 1, 50}, holders, 100, suspend));
  CHECK(suspend == Slots{1});
  CHECK_FALSE(RoomFor({Tenant(1), 1, 51}, holders, 100, suspend));
  CHECK_FALSE(RoomFor({Tenant(0), 1, 10}, holders, 100, suspend));
  std::vector<CellHolder> guarded = holders;
  guarded[0].guarded = guarded[1].guarded = true;
  CHECK_FALSE(RoomFor({Tenant(1), 1, 50}, guarded, 100, suspend));
  CHECK(suspend.empty());
  CHECK(RoomFor({Tenant(1), 1, 50}, {Holder(0, 0, 50)}, 100, suspend));
  CHECK(suspend.empty());
}

TEST_CASE("Who is idle makes room for anybody, its own tenant included") {
  Slots suspend;
  std::vector<CellHolder> holders = {Holder(0, 0, 60)};
  holders[0].parked = true, holders[0].grows = false;
  CHECK_FALSE(RoomFor({Tenant(0), 1, 80}, holders, 100, suspend));
  holders[0].idle = true;
  CHECK(RoomFor({Tenant(0), 1, 80}, holders, 100, suspend));
  CHECK(suspend == Slots{0});
}

struct Simulated {
  std::int64_t total = 0;
  std::vector<CellHolder> holders;
};

// What CellPool lets come about: all that is held and promised fits.
Simulated Any(std::mt19937_64& random) {
  Simulated any;
  any.total = 50 + static_cast<std::int64_t>(random() % 200);
  std::int64_t left = any.total;
  const int count = 1 + static_cast<int>(random() % 10);
  for (int slot = 0; slot < count; ++slot) {
    const int tenant = static_cast<int>(random() % 4);
    CellHolder holder = Holder(slot, tenant, 0, static_cast<int>(random() % 20));
    holder.served = static_cast<double>(random() % 5);
    holder.weight = 1 + tenant % 3;
    holder.suspended = random() % 5 == 0;
    holder.parked = random() % 5 == 0;
    holder.guarded = !holder.parked && !holder.suspended && random() % 3 == 0;
    holder.grows = !holder.suspended && !holder.parked && !holder.guarded;
    if (!holder.suspended) holder.cells = std::min<std::int64_t>(left, 1 + static_cast<std::int64_t>(random() % 80));
    if (slot + 1 == count && !holder.suspended && random() % 2 == 0) holder.cells = left;
    if (holder.grows) holder.cells = std::max<std::int64_t>(std::min(holder.cells, any.total - 1), 0);
    left -= holder.cells;
    any.holders.push_back(holder);
  }
  return any;
}

std::map<const void*, double> AboveShare(const Simulated& s) {  // Cells less share, by tenant.
  std::map<const void*, double> cells, weight;
  for (const CellHolder& h : s.holders) cells[h.tenant] += static_cast<double>(h.cells), weight[h.tenant] = h.weight;
  double weights = 0;
  for (const auto& [tenant, w] : weight) weights += w;
  for (auto& [tenant, c] : cells) c -= static_cast<double>(s.total) * weight[tenant] / weights;
  return cells;
}

TEST_CASE("Whatever is held, a plan fits, keeps guards and shares, and leaves somebody who gets on") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  int suspended = 0, held = 0;
  for (int round = 0; round < 20'000; ++round) {
    Simulated s = Any(random);
    INFO("round " << round);
    const CellPlan plan = PlanStep(s.holders, s.total);
    const auto runs = [&] {
      return std::count_if(s.holders.begin(), s.holders.end(), [](const CellHolder& h) { return !h.suspended && !h.parked; });
    };
    for (const int slot : plan.suspend) {
      CellHolder& victim = s.holders[static_cast<std::size_t>(slot)];
      REQUIRE_FALSE(victim.suspended);
      REQUIRE_FALSE(victim.guarded);
      if (!victim.parked) {
        REQUIRE(runs() > 1);
        auto above = AboveShare(s);
        const bool any = std::any_of(above.begin(), above.end(), [](const auto& item) { return item.second > 1e-9; });
        REQUIRE((!any || above[victim.tenant] >= -1e-9));
      }
      victim.cells = 0, victim.grows = false, victim.suspended = true;
      ++suspended;
    }
    std::int64_t cells = 0;
    bool gets_on = false;
    for (const CellHolder& h : s.holders) {
      const bool holds = std::find(plan.hold.begin(), plan.hold.end(), h.slot) != plan.hold.end();
      REQUIRE((h.grows || !holds));
      cells += h.cells + (h.grows && !holds ? 1 : 0);
      gets_on = gets_on || h.guarded || (h.grows && !holds);
    }
    held += static_cast<int>(plan.hold.size());
    REQUIRE(cells <= s.total);
    REQUIRE((gets_on || runs() == 0));
  }
  CHECK(suspended > 1000);
  CHECK(held > 0);
}

}  // namespace
}  // namespace tollgate::inference
