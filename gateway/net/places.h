// The places that a listener's connections hold: how many in total and by source, and when one is free again. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"

namespace tollgate::net {

class Places : public std::enable_shared_from_this<Places> {
 public:
  Places(int total_max, int per_source_max) : total_max_(total_max), per_source_max_(per_source_max) {}

  // A place that is free again when the pointer's last copy dies; null when none is free. Of the empty source there are as many as in
  // total.
  std::shared_ptr<void> Take(const std::string& source);

  // A place that is free again once `fd`, open now, is closed by whomever; false when none is free. Closing is noticed when places run
  // short and by open().
  bool TakeWhileOpen(int fd, const std::string& source);

  std::int64_t open();

 private:
  struct Watched {
    int fd;
    std::uint64_t device;
    std::uint64_t inode;
    std::string source;
  };

  bool TakeLocked(const std::string& source) REQUIRES(mu_);
  void ReleaseLocked(const std::string& source) REQUIRES(mu_);
  void SweepLocked() REQUIRES(mu_);

  const int total_max_;
  const int per_source_max_;
  base::Mutex mu_;
  std::int64_t total_ GUARDED_BY(mu_) = 0;
  std::unordered_map<std::string, int> by_source_ GUARDED_BY(mu_);
  std::vector<Watched> watched_ GUARDED_BY(mu_);
  std::chrono::steady_clock::time_point swept_ GUARDED_BY(mu_){};
};

}  // namespace tollgate::net
