// std::mutex with clang's thread-safety attributes: `make lint` checks them with clang's -Wthread-safety, GCC ignores them. Debian's abseil
// is not instrumented for TSan, so its mutex would give false races; this one does not.
#pragma once

#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"  // GUARDED_BY

#if defined(__clang__)
#define TG_ATTRIBUTE(x) __attribute__((x))
#else
#define TG_ATTRIBUTE(x)
#endif
#define REQUIRES(...) TG_ATTRIBUTE(requires_capability(__VA_ARGS__))

namespace tollgate::base {

class TG_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  void lock() TG_ATTRIBUTE(acquire_capability()) { mu_.lock(); }
  void unlock() TG_ATTRIBUTE(release_capability()) { mu_.unlock(); }
  std::mutex& native() { return mu_; }

 private:
  std::mutex mu_;
};

class TG_ATTRIBUTE(scoped_lockable) Lock {
 public:
  explicit Lock(Mutex& mu) TG_ATTRIBUTE(acquire_capability(mu)) : lock_(mu.native()) {}
  ~Lock() TG_ATTRIBUTE(release_capability()) = default;
  std::unique_lock<std::mutex>& native() { return lock_; }  // For std::condition_variable.

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace tollgate::base
