// Plain POSIX: a blocked signal stays pending until sigtimedwait takes it.
//
// Tested by tests/gateway/serve/stop_signals_test.cpp.
#include "gateway/serve/stop_signals.h"

#include <pthread.h>
#include <signal.h>

namespace tollgate::serve {
namespace {
sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}
}  // namespace

void BlockStopSignals() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

bool StopSignalPending() {
  sigset_t pending;
  return sigpending(&pending) == 0 && (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1);
}

bool TakeStopSignal(std::chrono::milliseconds within) {
  const sigset_t set = StopSignals();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(within);
  const timespec limit{seconds.count(), std::chrono::nanoseconds(within - seconds).count()};
  const int taken = sigtimedwait(&set, nullptr, &limit);
  return taken == SIGINT || taken == SIGTERM;
}

}  // namespace tollgate::serve
