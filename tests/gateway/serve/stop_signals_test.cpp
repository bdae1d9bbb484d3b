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
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    REQUIRE(kill(getpid(), signal) == 0);
    CHECK(StopSignalPending());
    CHECK(TakeStopSignal(milliseconds(60'000)));
    CHECK_FALSE(StopSignalPending());
    CHECK_FALSE(TakeStopSignal(milliseconds(0)));
  }
}

TEST_CASE("Of the signals that come while the program stops a hangup hurries nobody: a terminal that closes sends several") {
  BlockStopSignals();
  REQUIRE(kill(getpid(), SIGHUP) == 0);
  CHECK_FALSE(TakeFurtherSignal());
  REQUIRE(kill(getpid(), SIGTERM) == 0);
  CHECK(TakeFurtherSignal());
  CHECK(TakeStopSignal(milliseconds(0)));  // The hangup.
  CHECK_FALSE(TakeFurtherSignal());
}

TEST_CASE("A hangup that the program was started to ignore stops nothing") {
  BlockStopSignals();
  REQUIRE(signal(SIGHUP, SIG_IGN) != SIG_ERR);
  REQUIRE(kill(getpid(), SIGHUP) == 0);
  CHECK_FALSE(StopSignalPending());
  CHECK_FALSE(TakeStopSignal(milliseconds(0)));
  REQUIRE(signal(SIGHUP, SIG_DFL) != SIG_ERR);
  TakeStopSignal(milliseconds(0));  // What was kept of it.
}
