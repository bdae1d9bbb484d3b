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

BodyBytes::BodyBytes(std::int64_t bytes_max, std::int64_t body_max) : bytes_max_(std::max(bytes_max, body_max)), body_max_(body_max) {}

std::int64_t BodyBytes::held() const {
  const base::Lock lock(mu_);
  return held_;
}

std::int64_t BodyBytes::HeldOf(const std::string& whose) const {
  const auto found = held_of_.find(whose);
  return found == held_of_.end() ? 0 : found->second;
}

absl::Status BodyBytes::RoomFor(const pipeline::Tenant& tenant, std::int64_t bytes) const {
  const std::int64_t left = bytes_max_ - held_ - bytes;
  if (left < 0) return NoRoom("large requests");
  if (HeldOf(tenant.team) + bytes > std::max(body_max_, left)) return NoRoom("your team's large requests");
  if (HeldOf(tenant.org) + bytes > std::max(body_max_, 3 * left)) return NoRoom("your org's large requests");
  return absl::OkStatus();
}

absl::Status BodyBytes::Take(const pipeline::Tenant& tenant, std::int64_t bytes) {
  const base::Lock lock(mu_);
  TG_RETURN_IF_ERROR(RoomFor(tenant, bytes));
  for (const std::string& whose : {tenant.team, tenant.org}) held_of_[whose] += bytes;
  held_ += bytes;
  return absl::OkStatus();
}

void BodyBytes::GiveBack(const pipeline::Tenant& tenant, std::int64_t bytes) {
  const base::Lock lock(mu_);
  held_ -= bytes;
  for (const std::string& whose : {tenant.team, tenant.org}) {
    const auto own = held_of_.find(whose);
    own->second -= bytes;
    if (own->second == 0) held_of_.erase(own);
  }
}

void HeldBody::Of(pipeline::Tenant tenant) {
  Release();
  tenant_ = std::move(tenant);
}

absl::Status HeldBody::RoomFor(std::int64_t bytes) const {
  const std::int64_t more = bytes - BodyBytes::kFreeBytes - taken_;
  if (more <= 0) return absl::OkStatus();
  const base::Lock lock(all_->mu_);
  return all_->RoomFor(tenant_, more);
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
