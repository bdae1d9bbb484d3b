// A body counts from its 65th KiB, so that ordinary requests take no lock and are never refused here.
//
// Tested by tests/gateway/http/body_bytes_test.cpp.
#include "gateway/http/body_bytes.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::http_front {
namespace {

absl::Status NoRoom(std::string_view who) {
  return base::WithDetail(
      base::Unavailable(fmt::format("{} that are being read take all the memory that is set aside for them; try again in a second", who)),
      {.reason = "OVERLOADED", .retry_after_ms = 1000});
}

}  // namespace

BodyBytes::BodyBytes(std::int64_t bytes_max, std::int64_t body_max)
    : bytes_max_(std::max(bytes_max, body_max)), tenant_max_(std::max(bytes_max_ / 2, body_max)) {}

std::int64_t BodyBytes::held() const {
  const base::Lock lock(mu_);
  return held_;
}

absl::Status BodyBytes::Take(const std::string& tenant, std::int64_t bytes) {
  const base::Lock lock(mu_);
  if (bytes > bytes_max_ - held_) return NoRoom("large requests");
  const auto own = held_of_.find(tenant);
  if (own != held_of_.end() && bytes > tenant_max_ - own->second) return NoRoom("your team's large requests");
  held_of_[tenant] += bytes;
  held_ += bytes;
  return absl::OkStatus();
}

void BodyBytes::GiveBack(const std::string& tenant, std::int64_t bytes) {
  const base::Lock lock(mu_);
  held_ -= bytes;
  const auto own = held_of_.find(tenant);
  own->second -= bytes;
  if (own->second == 0) held_of_.erase(own);
}

void HeldBody::Of(std::string tenant) {
  Release();
  tenant_ = std::move(tenant);
}

absl::Status HeldBody::GrowTo(std::int64_t bytes) {
  const std::int64_t more = bytes - BodyBytes::kFreeBytes - taken_;
  if (more <= 0) return absl::OkStatus();
  TG_RETURN_IF_ERROR(all_->Take(tenant_, more));
  taken_ += more;
  return absl::OkStatus();
}

void HeldBody::Release() {
  if (taken_ > 0) all_->GiveBack(tenant_, std::exchange(taken_, 0));
}

}  // namespace tollgate::http_front
