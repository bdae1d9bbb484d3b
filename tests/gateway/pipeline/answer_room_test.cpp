// What large answers take of the memory that all share. How requests take it is in embed_test.cpp.
#include "gateway/pipeline/answer_room.h"

#include <catch2/catch_test_macros.hpp>

#include <optional>
#include <utility>
#include <vector>

#include "base/error_detail.h"

using namespace tollgate;
using pipeline::AnswerRoom;
using pipeline::Room;

namespace {

constexpr std::int64_t kFree = AnswerRoom::kFreeBytes;

std::int64_t HowMany(AnswerRoom& room, const pipeline::Tenant& tenant, std::vector<Room>& held) {
  std::int64_t many = 0;
  for (;; ++many) {
    auto taken = room.Take(tenant, 10 + kFree);
    if (!taken.ok()) {
      CHECK(absl::IsUnavailable(taken.status()));
      CHECK(base::DetailOf(taken.status())->reason == "OVERLOADED");
      CHECK(base::DetailOf(taken.status())->retry_after_ms == 1000);
      return many;
    }
    held.push_back(*std::move(taken));
  }
}

}  // namespace

TEST_CASE("However many answers a team or an org does not read, there is room for another's") {
  AnswerRoom room(1000, 10);
  std::vector<Room> held;
  CHECK(HowMany(room, {"a", "a1"}, held) == 50);
  CHECK(HowMany(room, {"a", "a2"}, held) == 25);
  CHECK(HowMany(room, {"a", "a3"}, held) == 0);
  CHECK(HowMany(room, {"b", "b1"}, held) > 0);
  held.clear();
  CHECK(room.held() == 0);
}

TEST_CASE("Room is given back with the last who holds it; small answers take none, and a large one has room alone") {
  std::optional<AnswerRoom> room(std::in_place, 100, 100);
  Room small = *room->Take({"a", "a1"}, kFree);
  CHECK(small == nullptr);
  Room large = *room->Take({"a", "a1"}, kFree + 100);
  CHECK_FALSE(room->Take({"b", "b1"}, kFree + 1).ok());
  CHECK(room->Take({"b", "b1"}, kFree).ok());
  Room copy = large;
  large.reset();
  CHECK(room->held() == 100);
  copy.reset();
  CHECK(room->held() == 0);
  large = *room->Take({"b", "b1"}, kFree + 100);
  room.reset();
  large.reset();  // It may outlive it.
}
