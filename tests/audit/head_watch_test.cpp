#include <catch2/catch_test_macros.hpp>

#include "audit/head_watch.h"

namespace tollgate::audit {
namespace {

TEST_CASE("A log that reaches less far than it did is told once, with what is missing; one that grows, or comes anew, is not") {
  HeadWatch watch;
  const auto look = [&watch](std::vector<HeadSeen> heads) { return watch.Look(heads); };
  CHECK(look({{1, 5, 10}, {2, 6, 20}, {3, 7, 30}}).empty());
  CHECK(look({{1, 5, 10}, {2, 8, 25}, {3, 7, 31}, {4, 9, 0}}).empty());
  CHECK(look({{1, 5, 8}, {2, 8, 25}, {3, 4, 12}, {4, 9, 0}}) ==
        std::vector<std::string>{"log 1: records 8 to 9, which were on record here, are lost",
                                 "log 3: records 12 to 30 at least, which were on record here, are lost"});
  CHECK(look({{1, 5, 8}, {2, 8, 25}, {3, 4, 12}}).empty());
  CHECK(look({{1, 5, 9}, {3, 4, 13}}) == std::vector<std::string>{"log 2: records 0 to 24, which were on record here, are lost"});
  CHECK(look({{1, 5, 9}, {3, 4, 13}}).empty());
}

}  // namespace
}  // namespace tollgate::audit
