#include "base/private_memory.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include <catch2/catch_test_macros.hpp>

namespace tollgate::base {
namespace {

// In a process of an ordinary user: what `act` gives, 0 to 255.
template <typename Act>
int AsOrdinaryUser(const Act& act) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (::getuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(99);
    ::prctl(PR_SET_DUMPABLE, 1);  // As after the start of a program; changing the user takes it away.
    ::_exit(act());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

// Of the things that a child of this process finds open in its parent: 1 the environment, 2 the memory's map.
int SeenByAChild() {
  const std::string parent = "/proc/" + std::to_string(::getpid());
  const pid_t child = ::fork();
  if (child == 0) {
    int seen = 0;
    if (::open((parent + "/environ").c_str(), O_RDONLY) >= 0) seen |= 1;
    if (::open((parent + "/maps").c_str(), O_RDONLY) >= 0) seen |= 2;
    ::_exit(seen);
  }
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

TEST_CASE("A process that keeps its memory private shows it to no other of its user, and leaves no core file") {
  CHECK(AsOrdinaryUser(SeenByAChild) == 3);
  CHECK(AsOrdinaryUser([] {
          KeepMemoryPrivate();
          return SeenByAChild();
        }) == 0);
  CHECK(AsOrdinaryUser([] {
          KeepMemoryPrivate();
          rlimit core{};
          return ::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0 ? 7 : 8;
        }) == 7);
}

}  // namespace
}  // namespace tollgate::base
