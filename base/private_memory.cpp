// "Not dumpable" is also what decides who may look into /proc/PID (proc(5), ptrace(2)).
// Tested by tests/base/private_memory_test.cpp.
#include "base/private_memory.h"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace tollgate::base {

void KeepMemoryPrivate() {
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::prctl(PR_SET_DUMPABLE, 0);
}

}  // namespace tollgate::base
