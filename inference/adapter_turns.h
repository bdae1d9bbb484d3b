// AdapterTurns: which adapter set the next step works for. A step computes with one set of adapters, so sequences of different sets take
// turns; those of one set, and of no adapters, go together as ever.
//
// A turn is some steps long, because a change of adapters costs time: it ends after kStepsMax, or when it has taken its share of the step
// target, or when nobody of its set has work. The next turn is the tenant's that took part in the fewest steps so far, and of that tenant's
// sets the one that waited longest: a tenant that brings many sets shares its own turns among them and nobody else's. No set starves: one
// that waited for (tenants x sets) turns goes first, as may happen where its tenant's work in another set uses up the tenant's share. By
// tenant and not by weight: weights decide who holds slots. A tenant that comes back starts from the least of those that are there.
//
// One thread (the replica's).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/uuid.h"

namespace tollgate::inference {

using AdapterSet = std::vector<int>;  // The engine's handles, ascending, each once. Empty: the model alone.

class AdapterTurns {
 public:
  static constexpr int kStepsMax = 8;

  // A turn takes about `target` over the number of sets that have work, one step at the least.
  explicit AdapterTurns(std::chrono::microseconds target) : target_(target) {}

  // A sequence that has work.
  struct Runnable {
    const AdapterSet* set = nullptr;
    base::TeamId tenant;
  };

  // The set that the next step is for, counted as stepped. REQUIRES: not empty.
  const AdapterSet& Next(std::span<const Runnable> runnable, base::MonoTime now);

  // Whether the last call of Next gave another set than the one before: its step took longer than such steps take.
  bool changed() const { return changed_; }
  std::int64_t changes() const { return changes_; }

 private:
  using Sets = std::map<AdapterSet, std::vector<base::TeamId>>;  // With the tenants that have work in each.

  bool GoesOn(const Sets& sets, base::MonoTime now) const;
  const AdapterSet& Choose(const Sets& sets) const;
  void Lift(const Sets& sets);

  std::chrono::microseconds target_;
  AdapterSet current_;
  bool begun_ = false;
  bool changed_ = false;
  int steps_ = 0;  // Of this turn.
  base::MonoTime turn_began_;
  std::int64_t turns_ = 0;
  std::int64_t changes_ = 0;
  std::map<base::TeamId, std::int64_t> took_part_;  // Steps, of the tenants that had work at the last call.
  std::map<AdapterSet, std::int64_t> last_turn_;    // By number, of the sets that had.
};

}  // namespace tollgate::inference
