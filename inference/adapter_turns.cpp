// How it works. Each call groups what has work by set. While there is one set, nothing is decided, and its tenants' steps are not counted
// against them: the counts only matter among those that wait for each other. Tenants and sets that have no work are forgotten, so that both
// maps are as small as what runs.
//
// Tested by tests/inference/adapter_turns_test.cpp.
#include "inference/adapter_turns.h"

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

#include "base/status.h"

namespace tollgate::inference {

bool AdapterTurns::GoesOn(const Sets& sets, base::MonoTime now) const {
  if (!begun_ || !sets.contains(current_)) return false;
  if (sets.size() == 1) return true;
  return steps_ == 0 || (steps_ < kStepsMax && now - turn_began_ < target_ / static_cast<std::int64_t>(sets.size()));
}

// Who has work now and had none starts from the least of the others: idling saves nothing up.
void AdapterTurns::Lift(const Sets& sets) {
  std::set<base::TeamId> present;
  for (const auto& [set, tenants] : sets) present.insert(tenants.begin(), tenants.end());
  std::erase_if(took_part_, [&](const auto& known) { return !present.contains(known.first); });
  std::erase_if(last_turn_, [&](const auto& known) { return !sets.contains(known.first); });
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (const auto& [tenant, steps] : took_part_) least = std::min(least, steps);
  if (took_part_.empty()) least = 0;
  for (const base::TeamId& tenant : present) took_part_.try_emplace(tenant, least);
  for (const auto& [set, tenants] : sets) last_turn_.try_emplace(set, turns_ - 1);
}

// A set that is overdue; else the least served tenant's that waited longest; of tenants alike, the one of them all that did.
const AdapterSet& AdapterTurns::Choose(const Sets& sets) const {
  const auto wait_max = static_cast<std::int64_t>(took_part_.size() * sets.size());
  const AdapterSet* best = nullptr;
  std::tuple<bool, std::int64_t, std::int64_t> least;
  for (const auto& [set, tenants] : sets) {
    std::int64_t steps = std::numeric_limits<std::int64_t>::max();
    for (const base::TeamId& tenant : tenants) steps = std::min(steps, took_part_.at(tenant));
    const std::int64_t last = last_turn_.at(set);
    const std::tuple order(turns_ - last <= wait_max, steps, last);
    if (best != nullptr && least <= order) continue;
    best = &set;
    least = order;
  }
  return *best;
}

const AdapterSet& AdapterTurns::Next(std::span<const Runnable> runnable, base::MonoTime now) {
  TG_CHECK(!runnable.empty(), "a turn without work");
  changed_ = false;
  // The usual case costs one comparison a sequence.
  const AdapterSet& first = *runnable.front().set;
  const bool alone = std::all_of(runnable.begin(), runnable.end(), [&](const Runnable& r) { return *r.set == first; });
  if (alone && begun_ && first == current_) {
    steps_ = kStepsMax;  // Whoever comes is next.
    took_part_.clear();
    return current_;
  }
  Sets sets;
  for (const Runnable& r : runnable) sets[*r.set].push_back(r.tenant);
  Lift(sets);
  if (!GoesOn(sets, now)) {
    const AdapterSet next = Choose(sets);
    changed_ = begun_ && next != current_;
    changes_ += changed_ ? 1 : 0;
    begun_ = true;
    current_ = next;
    steps_ = 0;
    turn_began_ = now;
    last_turn_[current_] = ++turns_;
  }
  ++steps_;
  std::vector<base::TeamId>& tenants = sets.at(current_);
  std::sort(tenants.begin(), tenants.end());
  tenants.erase(std::unique(tenants.begin(), tenants.end()), tenants.end());
  for (const base::TeamId& tenant : tenants) ++took_part_.at(tenant);
  return current_;
}

}  // namespace tollgate::inference
