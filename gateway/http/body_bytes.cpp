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

BodyBytes::BodyBytes(std::int64_t bytes_max, std::int64_t body_max) : shares_(std::max(bytes_max, body_max), body_max) {}

std::int64_t BodyBytes::held() const {
  const base::Lock lock(mu_);
  return shares_.held();
}

absl::Status BodyBytes::RoomFor(const pipeline::Tenant& tenant, std::int64_t bytes) const {
  using Lack = pipeline::TenantShares::Lack;
  switch (shares_.LackFor(tenant, bytes)) {
    case Lack::kNone: break;
    case Lack::kAll: return NoRoom("large requests");
    case Lack::kTeam: return NoRoom("your team's large requests");
    case Lack::kOrg: return NoRoom("your org's large requests");
  }
  return absl::OkStatus();
}

absl::Status BodyBytes::Take(const pipeline::Tenant& tenant, std::int64_t bytes) {
  const base::Lock lock(mu_);
  TG_RETURN_IF_ERROR(RoomFor(tenant, bytes));
  shares_.Take(tenant, bytes);
  return absl::OkStatus();
}

void BodyBytes::GiveBack(const pipeline::Tenant& tenant, std::int64_t bytes) {
  const base::Lock lock(mu_);
  shares_.GiveBack(tenant, bytes);
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
