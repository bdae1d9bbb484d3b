// Stop signals wait until somebody asks for them.
#include "gateway/serve/stop_signals.h"

#include <signal.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

using namespace tollgate::serve;
using std::chrono::milliseconds;

TEST_CASE("A stop signal neither ends nor interrupts the program, and is taken once") {
  BlockStopSignals();
  CHECK_FALSE(StopSignalPending());
  CHECK_FALSE(TakeStopSignal(milliseconds(0)));
  for (const int signal : {SIGINT, SIGTERM}) {
    REQUIRE(kill(getpid(), signal) == 0);
    CHECK(StopSignalPending());
    CHECK(TakeStopSignal(milliseconds(60'000)));
    CHECK_FALSE(StopSignalPending());
    CHECK_FALSE(TakeStopSignal(milliseconds(0)));
  }
}
