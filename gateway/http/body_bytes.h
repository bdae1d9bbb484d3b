// What the bodies of all connections of a listener hold in memory, together: bounded, and no team and no org has all of it. Thread-safe.
//
//   HeldBody held(bytes);                        // A connection's.
//   held.Of(tenant);                             // Whose request comes.
//   TG_RETURN_IF_ERROR(held.RoomFor(600'000));   // That it says to be so long takes nothing,
//   TG_RETURN_IF_ERROR(held.GrowTo(64'000));     // only what has come.
//   held.Release();                              // It was parsed, and is gone.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "gateway/pipeline/tenant_shares.h"

namespace tollgate::http_front {

class BodyBytes {
 public:
  static constexpr std::int64_t kFreeBytes = 64 * 1024;  // Of each body: what a connection costs anyhow.

  // Shared as tenant_shares.h says, so that a body of `body_max` has room where nothing else is held.
  BodyBytes(std::int64_t bytes_max, std::int64_t body_max);

  std::int64_t held() const;

 private:
  friend class HeldBody;

  absl::Status RoomFor(const pipeline::Tenant& tenant, std::int64_t bytes) const REQUIRES(mu_);
  absl::Status Take(const pipeline::Tenant& tenant, std::int64_t bytes);
  void GiveBack(const pipeline::Tenant& tenant, std::int64_t bytes);

  mutable base::Mutex mu_;
  pipeline::TenantShares shares_ GUARDED_BY(mu_);
};

// One connection's part. Its own thread or strand only; gives back what it holds when it goes.
class HeldBody {
 public:
  explicit HeldBody(std::shared_ptr<BodyBytes> all) : all_(std::move(all)) {}
  ~HeldBody() { Release(); }
  HeldBody(const HeldBody&) = delete;
  HeldBody& operator=(const HeldBody&) = delete;

  void Of(pipeline::Tenant tenant);                // Releases, too.
  absl::Status RoomFor(std::int64_t bytes) const;  // As GrowTo would say now.
  absl::Status GrowTo(std::int64_t bytes);         // UNAVAILABLE (OVERLOADED): there is no room; what was held still is.
  void Release();

 private:
  const std::shared_ptr<BodyBytes> all_;
  pipeline::Tenant tenant_;
  std::int64_t taken_ = 0;
};

}  // namespace tollgate::http_front
