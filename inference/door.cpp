// How it works. A dynamic threshold, as switches share their buffers by ("Dynamic Queue Length Thresholds for Shared-Memory Packet
// Switches", Choudhury and Hahne, 1998): what one may have follows from what is free, so that nothing need be known of who will come. k
// tenants that ask without end settle at 2q/(1+2k) of a queue of q each, and q/(1+2k) stays free. The slots are divided among those that
// are inside, since the fair queue gives them to all alike; were each allowed all of them, nine tenants would fill the default queue within
// that allowance.
//
// Tested by tests/inference/door_test.cpp, tests/inference/fairness_simulation_test.cpp.
#include "inference/door.h"

#include <algorithm>

#include "base/status.h"

namespace tollgate::inference {
namespace {

constexpr std::int64_t kTimesFree = 2;

}  // namespace

Door::Answer Door::Ask(const base::TeamId& tenant, std::int64_t sequences) const {
  const std::int64_t left = places_ - inside_ - sequences;
  if (left < 0) return Answer::kFull;
  const std::int64_t own = inside(tenant);
  if (own == 0) return Answer::kIn;
  if (inside_ + sequences <= (KeepsSlot(slots_) ? slots_ - 1 : slots_)) return Answer::kIn;
  const auto tenants = static_cast<std::int64_t>(of_.size());
  const std::int64_t beyond = tenants * (own + sequences) - slots_;  // Its part of the slots, both sides times the tenants.
  return left > 0 && beyond <= kTimesFree * tenants * left ? Answer::kIn : Answer::kOwnShare;
}

Door::Answer Door::AskToGoOn(const base::TeamId& tenant, std::int64_t sequences) const {
  const std::int64_t more = std::max<std::int64_t>(sequences - kept(tenant), 0);
  return more > 0 && inside_ + more > places_ ? Answer::kFull : Answer::kIn;
}

void Door::Enter(const base::TeamId& tenant, std::int64_t sequences) {
  inside_ += sequences;
  of_[tenant] += sequences;
}

void Door::GoOn(const base::TeamId& tenant, std::int64_t sequences) {
  for (; sequences > 0 && kept(tenant) > 0; --sequences) Unkeep(tenant);
  if (sequences > 0) Enter(tenant, sequences);
}

void Door::Keep(const base::TeamId& tenant) {
  TG_CHECK(kept(tenant) < inside(tenant), "a place was to be kept that nobody had left");
  ++kept_;
  ++kept_of_[tenant];
}

void Door::Lapse(const base::TeamId& tenant) {
  if (kept(tenant) == 0) return;
  Unkeep(tenant);
  Leave(tenant);
}

void Door::Unkeep(const base::TeamId& tenant) {
  const auto of = kept_of_.find(tenant);
  --kept_;
  if (--of->second == 0) kept_of_.erase(of);
}

void Door::Leave(const base::TeamId& tenant) {
  const auto of = of_.find(tenant);
  TG_CHECK(of != of_.end(), "a sequence left that had not come in");
  --inside_;
  if (--of->second == 0) of_.erase(of);
}

std::int64_t Door::inside(const base::TeamId& tenant) const {
  const auto of = of_.find(tenant);
  return of == of_.end() ? 0 : of->second;
}

std::int64_t Door::kept(const base::TeamId& tenant) const {
  const auto of = kept_of_.find(tenant);
  return of == kept_of_.end() ? 0 : of->second;
}

}  // namespace tollgate::inference
