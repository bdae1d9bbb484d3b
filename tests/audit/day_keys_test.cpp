#include "audit/day_keys.h"

#include <catch2/catch_test_macros.hpp>

namespace tollgate::audit {
namespace {

using std::chrono::seconds;

DayKeyPtr KeyOf(base::TeamId team, std::int64_t day) {
  return std::make_shared<const DayKey>(team, day, std::make_shared<const StoredDay>(1, "w"), std::string(32, 'k'), std::string(32, 's'));
}

TEST_CASE("A day's key is known for a minute, read again beside its use after twenty seconds, and good for its day alone") {
  DayKeys keys(10);
  const base::TeamId team = base::TeamId::New();
  const base::MonoTime start{seconds(1000)};
  CHECK(keys.Find(team, 7, start).key == nullptr);
  keys.Put(team, KeyOf(team, 7), start);
  CHECK(keys.Find(team, 7, start + seconds(19)).key != nullptr);
  CHECK_FALSE(keys.Find(team, 7, start + seconds(19)).look_again);
  CHECK(keys.Find(team, 7, start + seconds(20)).key != nullptr);
  CHECK(keys.Find(team, 7, start + seconds(20)).look_again);
  CHECK(keys.Find(team, 7, start + seconds(60)).key == nullptr);
  CHECK(keys.Find(team, 8, start).key == nullptr);
  keys.Forget(team);
  CHECK(keys.Find(team, 7, start).key == nullptr);
}

TEST_CASE("A day's key that the database is found to lack is not given any more, until one was read again") {
  DayKeys keys(10);
  const base::TeamId team = base::TeamId::New();
  const base::MonoTime start{seconds(1000)};
  const DayKeyPtr lost = KeyOf(team, 7);
  keys.Put(team, lost, start);
  lost->stored->gone = true;
  CHECK(keys.Find(team, 7, start).key == nullptr);
  keys.Put(team, KeyOf(team, 7), start);
  CHECK(keys.Find(team, 7, start).key != nullptr);
}

TEST_CASE("Keys of another day, and those that nobody asked for in a minute, are held no longer, nor more than there may be") {
  DayKeys keys(4);
  const base::TeamId a = base::TeamId::New(), b = base::TeamId::New(), c = base::TeamId::New();
  base::MonoTime now{seconds(1000)};
  keys.Put(a, KeyOf(a, 7), now);
  std::weak_ptr<const DayKey> of_a = keys.Find(a, 7, now).key;
  now += seconds(30);
  keys.Put(b, KeyOf(b, 7), now);
  CHECK(keys.size() == 2);
  now += seconds(30);
  keys.Put(b, KeyOf(b, 7), now);
  CHECK(keys.size() == 1);
  CHECK(of_a.expired());
  now += seconds(20);
  keys.Put(c, KeyOf(c, 8), now);  // Midnight.
  CHECK(keys.size() == 1);
  for (int i = 0; i < 20; ++i) {
    const base::TeamId team = base::TeamId::New();
    keys.Put(team, KeyOf(team, 8), now);
    CHECK(keys.size() <= 4);
    CHECK(keys.Find(team, 8, now).key != nullptr);
  }
}

}  // namespace
}  // namespace tollgate::audit
