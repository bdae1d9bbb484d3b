// The soft limit is low for the sake of programs that use select(); nothing here does, nor do the libraries.
//
// Tested by tests/gateway/net/listener_test.cpp.
#include "gateway/net/descriptors.h"

#include <sys/resource.h>

#include <limits>

namespace tollgate::net {

std::int64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  constexpr auto kMost = static_cast<rlim_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(limit.rlim_cur < kMost ? limit.rlim_cur : kMost);
}

}  // namespace tollgate::net
