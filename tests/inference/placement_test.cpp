// Where a model goes on GPUs.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>
#include <set>

#include "base/error_detail.h"
#include "inference/placement.h"
#include "tests/support/random.h"

namespace tollgate::inference {
namespace {

constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kGiB = 1 << 30;

std::vector<DeviceRoom> Rooms(std::vector<std::int64_t> gib) {
  std::vector<DeviceRoom> rooms;
  for (const std::int64_t g : gib) rooms.push_back({"GPU " + std::to_string(rooms.size()), g * kGiB});
  return rooms;
}

using Shares = std::vector<std::pair<std::size_t, std::int64_t>>;

TEST_CASE("A model goes whole on the roomiest device, else over the fewest that hold it") {
  struct Row {
    const char* what;
    std::int64_t weights_gib;
    std::vector<std::int64_t> rooms;
    Shares shares;  // Device and layers, of 31 and the output.
  };
  for (const Row& row : std::vector<Row>{{"one", 10, {16}, {{0, 32}}},
                                         {"the roomier of two", 10, {16, 24}, {{1, 32}}},
                                         {"the first of two alike", 10, {24, 24}, {{0, 32}}},
                                         {"in halves", 32, {24, 24}, {{0, 16}, {1, 16}}},
                                         {"by room, the largest first", 32, {12, 30}, {{1, 23}, {0, 9}}},
                                         {"over two of three", 60, {24, 40, 40}, {{1, 16}, {2, 16}}},
                                         {"a full one has no share", 32, {24, 0, 24}, {{0, 16}, {2, 16}}}}) {
    INFO(row.what);
    const auto placed = Place({row.weights_gib * kGiB, 0, 0, 31}, Rooms(row.rooms));
    REQUIRE(placed.ok());
    Shares shares;
    for (const DeviceShare& share : *placed) shares.emplace_back(share.device, share.layers);
    CHECK(shares == row.shares);
  }
}

TEST_CASE("What does not fit is refused with every number and what to lower") {
  const auto placed = Place({80 * kGiB, 8 * kGiB, kGiB, 80}, Rooms({24, 24}));
  REQUIRE_FALSE(placed.ok());
  CHECK(placed.status().code() == absl::StatusCode::kResourceExhausted);
  const std::string message(base::Message(placed.status()));
  for (const char* part : {"80 layers", "90112 MiB", "weights 81920", "context 8192", "1024 MiB more",
                           "GPU 0 has 24576 MiB free, of which 1536", "GPU 1", "context_tokens"}) {
    INFO(part);
    CHECK(message.find(part) != std::string::npos);
  }
  CHECK(Place({kGiB, 0, 0, 1}, {}).status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("Something is always left free: a sixteenth, at least 512 MiB") {
  CHECK(Headroom(0) == 512 * kMiB);
  CHECK(Headroom(80 * kGiB) == 5 * kGiB);
  CHECK(Place({7 * kGiB, 0, 0, 1}, Rooms({8})).ok());
  CHECK_FALSE(Place({8 * kGiB - 256 * kMiB, 0, 0, 1}, Rooms({8})).ok());
}

TEST_CASE("Beside a model there is the room of the fullest GPU that it lies on, less what is always left free") {
  struct Row {
    const char* what;
    std::vector<std::size_t> devices;  // That it has shares of.
    std::vector<std::int64_t> free_mib;
    std::int64_t room_mib;
  };
  for (const Row& row : std::vector<Row>{{"one", {0}, {16 * 1024}, 15 * 1024},
                                         {"an empty one that it does not lie on", {0}, {600, 80 * 1024}, 88},
                                         {"the second alone", {1}, {600, 16 * 1024}, 15 * 1024},
                                         {"the fuller of two", {1, 0}, {2048, 16 * 1024}, 1536},
                                         {"less than is left free", {0, 1}, {16 * 1024, 500}, 0},
                                         {"one that is gone", {1}, {16 * 1024}, 0},
                                         {"none", {}, {16 * 1024}, 0}}) {
    INFO(row.what);
    std::vector<DeviceShare> shares;
    for (const std::size_t device : row.devices) shares.push_back({device, 16, kGiB});
    std::vector<DeviceRoom> rooms;
    for (const std::int64_t mib : row.free_mib) rooms.push_back({"GPU", mib * kMiB});
    CHECK(RoomBeside(shares, rooms) == row.room_mib * kMiB);
  }
}

TEST_CASE("Whatever is placed fits everywhere, is complete, and is on no more devices than it needs") {
  const std::uint64_t seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto draw = [&](std::int64_t least, std::int64_t most) { return std::uniform_int_distribution<std::int64_t>(least, most)(random); };
  int placed_count = 0;
  for (int i = 0; i < 3000; ++i) {
    const DeviceNeed need{draw(1, 200) * kGiB, draw(0, 40) * kGiB, draw(0, 4000) * kMiB, draw(1, 120)};
    std::vector<DeviceRoom> rooms;
    for (std::int64_t n = draw(1, 8); n > 0; --n) rooms.push_back({"GPU", draw(0, 80 * 1024) * kMiB});
    const auto placed = Place(need, rooms);
    if (!placed.ok()) continue;
    ++placed_count;
    std::int64_t layers = 0;
    std::set<std::size_t> devices;
    for (const DeviceShare& share : *placed) {
      layers += share.layers;
      devices.insert(share.device);
      CHECK(share.layers >= 1);
      CHECK(share.bytes <= rooms[share.device].free_bytes - Headroom(rooms[share.device].free_bytes));
    }
    CHECK(layers == need.layers + 1);
    CHECK(devices.size() == placed->size());
    if (placed->size() < 2) continue;
    // The largest of them, one fewer than were taken, do not hold it.
    std::sort(rooms.begin(), rooms.end(), [](const DeviceRoom& a, const DeviceRoom& b) { return a.free_bytes > b.free_bytes; });
    CHECK_FALSE(Place(need, std::span(rooms).first(placed->size() - 1)).ok());
  }
  CHECK(placed_count > 500);
}

}  // namespace
}  // namespace tollgate::inference
