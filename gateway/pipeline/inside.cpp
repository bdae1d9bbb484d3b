// One list, and two counts for each tenant in it. Who is refused by its share is told so: others have places while it waits.
//
// Tested by tests/gateway/pipeline/pipeline_test.cpp.
#include "gateway/pipeline/inside.h"

#include <algorithm>
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

std::int64_t Inside::Of(const std::string& whose) const {
  const auto found = inside_of_.find(whose);
  return found == inside_of_.end() ? 0 : found->second;
}

absl::Status Inside::MayEnter(const Tenant& tenant) const {
  if (closed_) return ShuttingDown();
  const auto all = static_cast<std::int64_t>(inside_.size());
  const std::int64_t left = most_ - all - 1;
  if (left < 0) return Full(all, "", "this instance takes");
  if (tenant.team.empty()) return absl::OkStatus();
  const std::int64_t team = Of(tenant.team), org = Of(tenant.org);
  if (team + 1 > std::max<std::int64_t>(1, left)) return Full(team, " of your team", "this instance now takes of one team");
  if (org + 1 > std::max<std::int64_t>(1, 3 * left)) return Full(org, " of your org", "this instance now takes of one org");
  return absl::OkStatus();
}

absl::StatusOr<Inside::Place> Inside::Enter(Tenant tenant, std::function<void()> wake) {
  const base::Lock lock(mu_);
  TG_RETURN_IF_ERROR(MayEnter(tenant));
  if (!tenant.team.empty()) {
    for (const std::string& whose : {tenant.team, tenant.org}) ++inside_of_[whose];
  }
  return inside_.insert(inside_.end(), One{std::move(tenant), std::move(wake)});
}

void Inside::Leave(Place place) {
  std::function<void()> empty;
  {
    const base::Lock lock(mu_);
    if (!place->tenant.team.empty()) {
      for (const std::string& whose : {place->tenant.team, place->tenant.org}) {
        const auto own = inside_of_.find(whose);
        if (--own->second == 0) inside_of_.erase(own);
      }
    }
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
