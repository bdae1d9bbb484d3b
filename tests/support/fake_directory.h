// A directory whose answer a test sets: whoever asks what is in force gets that snapshot, or that error. Thread-safe.
#pragma once

#include <memory>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "gateway/directory/directory.h"

namespace tollgate::test {

class FakeDirectory final : public directory::Directory {
 public:
  absl::StatusOr<std::shared_ptr<const directory::Snapshot>> InForce() const override {
    base::Lock lock(mu_);
    return answer_;
  }
  void Set(absl::StatusOr<std::shared_ptr<const directory::Snapshot>> answer) {
    base::Lock lock(mu_);
    answer_ = std::move(answer);
  }

 private:
  mutable base::Mutex mu_;
  absl::StatusOr<std::shared_ptr<const directory::Snapshot>> answer_ GUARDED_BY(mu_) = base::Unavailable("no snapshot yet");
};

}  // namespace tollgate::test
