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
#include <string>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"
#include "base/status.h"
#include "gateway/pipeline/service.h"

namespace tollgate::http_front {

class BodyBytes {
 public:
  static constexpr std::int64_t kFreeBytes = 64 * 1024;  // Of each body: what a connection costs anyhow.

  // A team may hold as much as it leaves to others, an org three times that, and either one body of `body_max`. One always has room where
  // nothing else is held.
  BodyBytes(std::int64_t bytes_max, std::int64_t body_max);

  std::int64_t held() const;

 private:
  friend class HeldBody;

  absl::Status RoomFor(const pipeline::Tenant& tenant, std::int64_t bytes) const REQUIRES(mu_);
  std::int64_t HeldOf(const std::string& whose) const REQUIRES(mu_);
  absl::Status Take(const pipeline::Tenant& tenant, std::int64_t bytes);
  void GiveBack(const pipeline::Tenant& tenant, std::int64_t bytes);

  const std::int64_t bytes_max_;
  const std::int64_t body_max_;
  mutable base::Mutex mu_;
  std::int64_t held_ GUARDED_BY(mu_) = 0;
  std::unordered_map<std::string, std::int64_t> held_of_ GUARDED_BY(mu_);  // By team and by org; none holds 0.
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
