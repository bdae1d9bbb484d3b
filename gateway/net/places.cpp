// gRPC owns the descriptors it is given and does not say when it closes them. A socket is recognised by (descriptor, device, inode): when
// the number names another file, or none, the connection is over. One fstat a connection, done only when a place is wanted and none is
// free, at most every 20 ms, so that a flood at the limit costs no more than that.
//
// Tested by tests/gateway/net/listener_test.cpp.
#include "gateway/net/places.h"

#include <sys/stat.h>

#include <algorithm>

namespace tollgate::net {
namespace {

constexpr std::chrono::milliseconds kSweepEvery{20};

}  // namespace

std::shared_ptr<void> Places::Take(const std::string& source) {
  const base::Lock lock(mu_);
  if (!TakeLocked(source)) return nullptr;
  return std::shared_ptr<void>(this, [self = shared_from_this(), source](void*) {
    const base::Lock release_lock(self->mu_);
    self->ReleaseLocked(source);
  });
}

bool Places::TakeWhileOpen(int fd, const std::string& source) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return false;
  const base::Lock lock(mu_);
  if (!TakeLocked(source)) {
    const auto now = std::chrono::steady_clock::now();
    if (now - swept_ < kSweepEvery) return false;
    swept_ = now;
    SweepLocked();
    if (!TakeLocked(source)) return false;
  }
  watched_.push_back({fd, info.st_dev, info.st_ino, source});
  return true;
}

std::int64_t Places::open() {
  const base::Lock lock(mu_);
  SweepLocked();
  return total_;
}

bool Places::TakeLocked(const std::string& source) {
  if (total_ >= total_max_) return false;
  int& count = by_source_[source];
  if (count >= per_source_max_ && !source.empty()) return false;
  ++count;
  ++total_;
  return true;
}

void Places::ReleaseLocked(const std::string& source) {
  --total_;
  const auto it = by_source_.find(source);
  if (it != by_source_.end() && --it->second == 0) by_source_.erase(it);
}

void Places::SweepLocked() {
  const auto over = [this](const Watched& w) REQUIRES(mu_) {
    struct stat info {};
    const bool same = fstat(w.fd, &info) == 0 && info.st_dev == w.device && info.st_ino == w.inode;
    if (!same) ReleaseLocked(w.source);
    return !same;
  };
  watched_.erase(std::remove_if(watched_.begin(), watched_.end(), over), watched_.end());
}

}  // namespace tollgate::net
