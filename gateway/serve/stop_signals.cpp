// Plain POSIX: a blocked signal stays pending until sigtimedwait takes it; one that is ignored too, since it is blocked.
//
// Tested by tests/gateway/serve/stop_signals_test.cpp.
#include "gateway/serve/stop_signals.h"

#include <pthread.h>
#include <signal.h>

namespace tollgate::serve {
namespace {

bool HangupIsIgnored() {
  struct sigaction now {};
  return sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (!HangupIsIgnored()) sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

void BlockStopSignals() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

bool StopSignalPending() {
  sigset_t pending;
  if (sigpending(&pending) != 0) return false;
  const sigset_t set = StopSignals();
  sigset_t both;
  return sigandset(&both, &set, &pending) == 0 && sigisemptyset(&both) == 0;
}

bool TakeFurtherSignal() {
  sigset_t set = StopSignals();
  sigdelset(&set, SIGHUP);
  const timespec now{};
  return sigtimedwait(&set, nullptr, &now) > 0;
}

bool TakeStopSignal(std::chrono::milliseconds within) {
  const sigset_t set = StopSignals();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(within);
  const timespec limit{seconds.count(), std::chrono::nanoseconds(within - seconds).count()};
  return sigtimedwait(&set, nullptr, &limit) > 0;
}

}  // namespace tollgate::serve
