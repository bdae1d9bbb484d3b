// How much each tenant may have inside a replica at once.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "inference/door.h"
#include "tests/inference/support.h"

namespace tollgate::inference {
namespace {

using test::Team;
using Answer = Door::Answer;

// Lets a tenant in, one by one, until it is refused; what it has then.
std::int64_t Fill(Door& door, int tenant) {
  while (door.Ask(Team(tenant), 1) == Answer::kIn) door.Enter(Team(tenant), 1);
  return door.inside(Team(tenant));
}

// Tenants from 1 on that ask without end, each in turn, and whose sequences end at random; what is inside of each after many.
std::vector<std::int64_t> Settle(Door& door, int tenants, std::mt19937_64& random) {
  for (int round = 0; round < 8000; ++round) {
    for (int tenant = 1; tenant <= tenants; ++tenant) Fill(door, tenant);
    const int of = 1 + static_cast<int>(random() % static_cast<std::uint64_t>(tenants));
    if (door.inside(Team(of)) > 0) door.Leave(Team(of));
  }
  std::vector<std::int64_t> inside;
  for (int tenant = 1; tenant <= tenants; ++tenant) inside.push_back(Fill(door, tenant));
  return inside;
}

}  // namespace

TEST_CASE("One tenant alone gets the slots and two thirds of the queue, whatever their sizes, and leaves a place") {
  struct Row {
    int slots, queue;
    std::int64_t alone;
  };
  for (const Row& row : {Row{8, 64, 50}, Row{256, 1024, 938}, Row{1, 2, 2}, Row{2, 8, 7}, Row{1, 64, 43}, Row{4, 3, 6}, Row{1, 1, 1},
                         Row{1, 0, 1}, Row{3, 0, 3}, Row{4, 0, 3}, Row{8, 0, 7}, Row{4, 1, 4}, Row{8, 100'000, 66'674}}) {
    INFO(row.slots << " slots, queue " << row.queue);
    Door door(row.slots, row.queue);
    CHECK(Fill(door, 1) == row.alone);
    const bool another = row.alone < row.slots + row.queue;
    CHECK((door.Ask(Team(2), 1) == Answer::kIn) == another);
    CHECK(door.Ask(Team(1), 1) == (another ? Answer::kOwnShare : Answer::kFull));
    CHECK(door.full() != another);
  }
}

TEST_CASE("A place that is kept is its tenant's, counts as one inside, and is taken by what goes on or given up, once") {
  Door door(1, 1);
  door.Enter(Team(1), 1);
  door.Enter(Team(2), 1);
  door.Keep(Team(1));
  CHECK(door.full());
  CHECK(door.kept() == 1);
  CHECK(door.AskToGoOn(Team(2), 1) == Answer::kFull);
  CHECK(door.AskToGoOn(Team(1), 2) == Answer::kFull);
  CHECK(door.AskToGoOn(Team(1), 1) == Answer::kIn);
  door.GoOn(Team(1), 1);
  CHECK(door.inside(Team(1)) == 1);
  CHECK(door.kept(Team(1)) == 0);
  door.Lapse(Team(1));  // It was taken.
  CHECK(door.inside() == 2);
  door.Keep(Team(1));
  door.Leave(Team(2));
  CHECK(door.AskToGoOn(Team(1), 2) == Answer::kIn);
  door.GoOn(Team(1), 2);
  CHECK(door.inside(Team(1)) == 2);
  door.Keep(Team(1));
  door.Lapse(Team(1));
  CHECK(door.inside() == 1);
  CHECK(door.kept() == 0);
}

TEST_CASE("Who has nothing inside is refused only where there is no room, as a group too") {
  Door door(8, 64);
  CHECK(door.Ask(Team(1), 73) == Answer::kFull);
  CHECK(door.Ask(Team(1), 72) == Answer::kIn);
  CHECK(door.Ask(Team(1), INT64_C(1) << 31) == Answer::kFull);
  Fill(door, 1);
  CHECK(door.Ask(Team(2), 22) == Answer::kIn);
  CHECK(door.Ask(Team(2), 23) == Answer::kFull);
  door.Enter(Team(2), 22);
  CHECK(door.full());
  CHECK(door.Ask(Team(3), 1) == Answer::kFull);
  door.Leave(Team(1));
  CHECK(door.Ask(Team(1), 1) == Answer::kOwnShare);  // For one more the place is another's that has none,
  CHECK(door.Ask(Team(2), 1) == Answer::kOwnShare);
  CHECK(door.Ask(Team(3), 1) == Answer::kIn);
  CHECK(door.AskToGoOn(Team(1), 1) == Answer::kIn);  // but for what goes on it is there.
  CHECK(door.AskToGoOn(Team(1), 2) == Answer::kFull);
  door.Enter(Team(1), 1);
  CHECK(door.AskToGoOn(Team(1), 1) == Answer::kFull);
}

TEST_CASE("What goes on needs room and no part of its own, however much its tenant has and whoever comes") {
  Door door(8, 64);
  REQUIRE(Fill(door, 1) == 50);
  for (int tenant = 2; tenant <= 11; ++tenant) {
    door.Enter(Team(tenant), 2);
    INFO("with team " << tenant);
    for (int times = 0; times < 100; ++times) {
      door.Leave(Team(1));
      CHECK(door.Ask(Team(1), 1) == Answer::kOwnShare);
      REQUIRE(door.AskToGoOn(Team(1), 1) == Answer::kIn);
      door.Enter(Team(1), 1);
    }
    CHECK(door.inside(Team(1)) == 50);
  }
  CHECK(door.inside() == 70);
}

TEST_CASE("Slots that are free are filled by anybody, but for the one that is kept") {
  Door door(8, 0);
  door.Enter(Team(1), 6);
  door.Enter(Team(2), 1);
  CHECK(door.Ask(Team(1), 1) == Answer::kOwnShare);
  CHECK(door.Ask(Team(3), 1) == Answer::kIn);
  door.Leave(Team(2));
  CHECK(door.Ask(Team(1), 1) == Answer::kIn);
  Door small(3, 0);
  small.Enter(Team(1), 2);
  CHECK(small.Ask(Team(1), 1) == Answer::kIn);
}

TEST_CASE("Tenants that ask without end share alike, and what stays free is as much as is said") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  for (const auto& [slots, queue] : {std::pair(8, 64), std::pair(4, 8), std::pair(1, 3), std::pair(16, 300)}) {
    for (const int tenants : {1, 2, 3, 5, 9, 20}) {
      const int free = queue / (1 + 2 * tenants);
      if (free == 0) continue;
      INFO(slots << " slots, queue " << queue << ", tenants " << tenants);
      Door door(slots, queue);
      const std::vector<std::int64_t> inside = Settle(door, tenants, random);
      CHECK(slots + queue - door.inside() >= free);
      CHECK(door.Ask(Team(99), free) == Answer::kIn);
      const auto [least, most] = std::minmax_element(inside.begin(), inside.end());
      CHECK(*least >= 1);
      CHECK(*most - *least <= 2);
    }
  }
}

TEST_CASE("What has left is forgotten: the counts are those of what is inside, for any order") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  Door door(5, 20);
  std::map<int, std::int64_t> inside;
  std::int64_t all = 0;
  for (int round = 0; round < 20'000; ++round) {
    const int tenant = 1 + static_cast<int>(random() % 12);
    const auto group = static_cast<std::int64_t>(1 + random() % 5);
    if (random() % 2 == 0 && inside[tenant] > 0) {
      door.Leave(Team(tenant));
      --inside[tenant];
      --all;
    } else {
      const Answer answer = door.Ask(Team(tenant), group);
      REQUIRE((answer == Answer::kFull) == (all + group > 25));
      if (inside[tenant] == 0) REQUIRE(answer != Answer::kOwnShare);
      if (answer != Answer::kIn) continue;
      door.Enter(Team(tenant), group);
      inside[tenant] += group;
      all += group;
    }
    REQUIRE(door.inside() == all);
    REQUIRE(door.inside(Team(tenant)) == inside[tenant]);
    REQUIRE(door.full() == (all >= 25));
  }
}

}  // namespace tollgate::inference
