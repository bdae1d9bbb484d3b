// How it works. One after the other is suspended on paper until what is left fits. That always comes to an end: guards are promised cells
// when they are given, so a guarded sequence never needs one that is not there; who is not guarded and not parked may be suspended, but
// for the last that runs, which fits alone. Where only tenants below their share could give, they are held back for some steps instead:
// whoever is above its own is guarded, and so is soon through with that.
//
// Tested by tests/inference/preemption_test.cpp.
#include "inference/preemption.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace tollgate::inference {
namespace {

struct Tenant {
  std::int64_t cells = 0;
  double weight = 0;
  double share = 0;
  int running = 0;
};
using Tenants = std::map<const void*, Tenant>;

Tenants TenantsOf(std::span<const CellHolder> holders, std::int64_t total, const Newcomer* newcomer = nullptr) {
  Tenants tenants;
  if (newcomer != nullptr) tenants[newcomer->tenant].weight = newcomer->weight;
  for (const CellHolder& holder : holders) {
    Tenant& tenant = tenants[holder.tenant];
    tenant.cells += holder.cells;
    tenant.weight = std::max(tenant.weight, holder.weight);
    tenant.running += holder.suspended || holder.parked ? 0 : 1;
  }
  double weights = 0;
  for (const auto& [id, tenant] : tenants) weights += tenant.weight;
  for (auto& [id, tenant] : tenants) tenant.share = static_cast<double>(total) * tenant.weight / weights;
  return tenants;
}

bool IsAbove(const Tenant& tenant) { return static_cast<double>(tenant.cells) > tenant.share; }

// Null: nobody may be. `modest`: the newcomer's tenant stays within its share.
CellHolder* NextVictim(std::vector<CellHolder>& holders, std::int64_t total, const Newcomer* newcomer, bool modest) {
  const Tenants tenants = TenantsOf(holders, total, newcomer);
  const bool above = std::any_of(tenants.begin(), tenants.end(), [](const auto& item) { return IsAbove(item.second); });
  int running = 0;
  for (const auto& [id, tenant] : tenants) running += tenant.running;
  const auto may_be = [&](const CellHolder& holder) {
    if (holder.suspended || holder.guarded || holder.cells == 0) return false;
    if (holder.parked) return holder.idle || newcomer == nullptr;
    const Tenant& tenant = tenants.at(holder.tenant);
    if (newcomer != nullptr) return modest && holder.tenant != newcomer->tenant && IsAbove(tenant);
    return running > 1 && (!above || static_cast<double>(tenant.cells) >= tenant.share);
  };
  const auto order = [&](const CellHolder& holder) {
    return std::tuple(holder.parked, tenants.at(holder.tenant).running > 1, holder.served, holder.started, holder.slot);
  };
  CellHolder* victim = nullptr;
  for (CellHolder& holder : holders) {
    if (may_be(holder) && (victim == nullptr || order(holder) > order(*victim))) victim = &holder;
  }
  return victim;
}

void Suspend(CellHolder& holder, std::vector<int>& suspend) {
  suspend.push_back(holder.slot);
  holder.cells = 0;
  holder.grows = false;
  holder.suspended = true;
}

std::int64_t Held(std::span<const CellHolder> holders) {
  std::int64_t cells = 0;
  for (const CellHolder& holder : holders) cells += holder.cells;
  return cells;
}

}  // namespace

CellPlan PlanStep(std::vector<CellHolder> holders, std::int64_t total) {
  CellPlan plan;
  const auto growing = [&] { return std::count_if(holders.begin(), holders.end(), [](const CellHolder& h) { return h.grows; }); };
  while (Held(holders) + growing() > total) {
    CellHolder* victim = NextVictim(holders, total, nullptr, false);
    if (victim == nullptr) break;
    Suspend(*victim, plan.suspend);
  }
  std::int64_t room = total - Held(holders);
  std::sort(holders.begin(), holders.end(), [](const CellHolder& a, const CellHolder& b) {
    return std::tie(a.served, a.started, a.slot) < std::tie(b.served, b.started, b.slot);
  });
  for (const CellHolder& holder : holders) {
    if (holder.grows && --room < 0) plan.hold.push_back(holder.slot);
  }
  return plan;
}

bool RoomFor(const Newcomer& newcomer, std::vector<CellHolder> holders, std::int64_t total, std::vector<int>& suspend) {
  suspend.clear();
  if (Held(holders) + newcomer.need <= total) return true;
  const Tenant tenant = TenantsOf(holders, total, &newcomer).at(newcomer.tenant);
  const bool modest = static_cast<double>(tenant.cells + newcomer.need) <= tenant.share;
  while (Held(holders) + newcomer.need > total) {
    CellHolder* victim = NextVictim(holders, total, &newcomer, modest);
    if (victim == nullptr) {
      suspend.clear();
      return false;
    }
    Suspend(*victim, suspend);
  }
  return true;
}

}  // namespace tollgate::inference
