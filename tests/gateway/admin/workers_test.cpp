#include "gateway/admin/workers.h"

#include <atomic>
#include <future>

#include <catch2/catch_test_macros.hpp>

using tollgate::admin::Workers;

TEST_CASE("Jobs run, and those that find the queue full are refused at once") {
  std::atomic<int> done = 0;
  {
    Workers workers(1, 2);
    std::promise<void> go, running;
    REQUIRE(workers
                .Submit([&, gate = go.get_future().share()] {
                  running.set_value();
                  gate.wait();
                  ++done;
                })
                .ok());
    running.get_future().wait();
    CHECK(workers.Submit([&] { ++done; }).ok());
    CHECK(workers.Submit([&] { ++done; }).ok());
    CHECK(absl::IsResourceExhausted(workers.Submit([&] { ++done; })));
    go.set_value();
  }
  CHECK(done == 3);
}
