// One list, and what tenants hold of it. Who is refused by its share is told so: others have places while it waits.
//
// Tested by tests/gateway/pipeline/pipeline_test.cpp.
#include "gateway/pipeline/inside.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/pipeline/admission.h"

namespace tollgate::pipeline {
namespace {

absl::Status Full(std::int64_t count, std::string_view whose, std::string_view takes) {
  return base::WithDetail(
      base::Unavailable(fmt::format("{} requests{} are under way, which is the most {}; try again in a second", count, whose, takes)),
      {.reason = "OVERLOADED", .retry_after_ms = 1000});
}

}  // namespace

absl::Status Inside::MayEnter(const Tenant& tenant) const {
  if (closed_) return ShuttingDown();
  switch (shares_.LackFor(tenant, 1)) {
    case TenantShares::Lack::kNone: break;
    case TenantShares::Lack::kAll: return Full(shares_.held(), "", "this instance takes");
    case TenantShares::Lack::kTeam: return Full(shares_.HeldOf(tenant.team), " of your team", "this instance now takes of one team");
    case TenantShares::Lack::kOrg: return Full(shares_.HeldOf(tenant.org), " of your org", "this instance now takes of one org");
  }
  return absl::OkStatus();
}

absl::StatusOr<Inside::Place> Inside::Enter(Tenant tenant, std::function<void()> wake) {
  const base::Lock lock(mu_);
  TG_RETURN_IF_ERROR(MayEnter(tenant));
  shares_.Take(tenant, 1);
  return inside_.insert(inside_.end(), One{std::move(tenant), std::move(wake)});
}

void Inside::Leave(Place place) {
  std::function<void()> empty;
  {
    const base::Lock lock(mu_);
    shares_.GiveBack(place->tenant, 1);
    inside_.erase(place);
    if (closed_ && inside_.empty()) empty = std::exchange(when_empty_, nullptr);
  }
  if (empty) empty();
}

void Inside::Close(std::function<void()> when_empty) {
  {
    const base::Lock lock(mu_);
    closed_ = true;
    if (!inside_.empty()) {
      when_empty_ = std::move(when_empty);
      return;
    }
  }
  when_empty();
}

void Inside::WakeAll() const {
  const base::Lock lock(mu_);
  for (const One& one : inside_) one.wake();
}

std::int64_t Inside::size() const {
  const base::Lock lock(mu_);
  return static_cast<std::int64_t>(inside_.size());
}

}  // namespace tollgate::pipeline
