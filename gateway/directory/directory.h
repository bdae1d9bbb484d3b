// Directory: the snapshot in force. Thread-safe.
#pragma once

#include <memory>

#include "base/status.h"
#include "gateway/directory/snapshot.h"

namespace tollgate::directory {

class Directory {
 public:
  virtual ~Directory() = default;
  // The snapshot that decides now. UNAVAILABLE when it is older than directory_stale_max_ms, or none was ever loaded.
  virtual absl::StatusOr<std::shared_ptr<const Snapshot>> InForce() const = 0;
};

}  // namespace tollgate::directory
