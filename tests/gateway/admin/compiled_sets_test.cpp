// Sets that replays compiled are kept for the next page, and not for ever: each may take gigabytes.
#include <catch2/catch_test_macros.hpp>

#include <string>

#include "gateway/admin/replay.h"

using namespace tollgate;
using admin::CompiledSets;
using namespace std::chrono_literals;

namespace {

std::vector<policy::PolicySource> Policy(int i) {
  return {{"house", "version: 1\nname: house\nrules:\n  - {id: r" + std::to_string(i) + ", detect: {keywords: a}, do: flag}\n"}};
}

}  // namespace

TEST_CASE("A compiled set is given again while it is asked for, and let go ten minutes after it was last") {
  CompiledSets sets;
  const base::MonoTime start(1h);
  const auto first = sets.Get(Policy(1), policy::RunTests::kYes, start);
  REQUIRE(first.ok());
  CHECK(*sets.Get(Policy(1), policy::RunTests::kYes, start + 9min) == *first);
  sets.Forget(start + 18min);
  CHECK(sets.size() == 1);
  CHECK(*sets.Get(Policy(1), policy::RunTests::kYes, start + 18min) == *first);
  sets.Forget(start + 28min);
  CHECK(sets.size() == 0);
  CHECK(*sets.Get(Policy(1), policy::RunTests::kYes, start + 28min) != *first);
}

TEST_CASE("Of compiled sets the one that was asked for first goes where there are too many, and the old ones go first") {
  CompiledSets sets;
  const base::MonoTime start(1h);
  for (int i = 0; i < 4; ++i) REQUIRE(sets.Get(Policy(i), policy::RunTests::kYes, start + std::chrono::minutes(i)).ok());
  const auto kept = sets.Get(Policy(0), policy::RunTests::kYes, start + 4min);
  REQUIRE(sets.Get(Policy(4), policy::RunTests::kYes, start + 5min).ok());
  CHECK(sets.size() == 4);
  CHECK(*sets.Get(Policy(0), policy::RunTests::kYes, start + 5min) == *kept);  // Not the one in whose place it came.
  sets.Forget(start + 13min);
  CHECK(sets.size() == 2);  // Those of minutes 2 and 3 are gone.
}
