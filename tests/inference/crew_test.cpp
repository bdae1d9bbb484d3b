// Jobs shared between threads: each piece once, no two at a time under one worker's name, any number of jobs and helpers.
#include <catch2/catch_test_macros.hpp>

#include <array>
#include <atomic>
#include <vector>

#include "inference/crew.h"

namespace tollgate::inference {
namespace {

TEST_CASE("Each piece of each job is done once, and a worker does one at a time") {
  for (const int helpers : {0, 1, 3, 7}) {
    INFO(helpers << " helpers");
    Crew crew(helpers);
    REQUIRE(crew.workers() == helpers + 1);
    std::array<std::atomic<int>, 8> busy{};
    std::atomic<int> overlaps{0};
    for (int job = 0; job < 500; ++job) {
      std::vector<int> done(static_cast<std::size_t>(job % 20), 0);
      crew.Run(static_cast<int>(done.size()), [&](int piece, int worker) {
        if (busy[static_cast<std::size_t>(worker)].fetch_add(1) != 0) ++overlaps;
        ++done[static_cast<std::size_t>(piece)];
        --busy[static_cast<std::size_t>(worker)];
      });
      REQUIRE(done == std::vector<int>(done.size(), 1));
    }
    CHECK(overlaps == 0);
  }
}

TEST_CASE("Nobody helps with one row, and never more than rows and half of the processors ask for") {
  CHECK(SamplingHelpers(1) == 0);
  CHECK(SamplingHelpers(256) <= 7);
  for (int rows = 1; rows < 20; ++rows) CHECK(SamplingHelpers(rows) < rows);
}

}  // namespace
}  // namespace tollgate::inference
