// Preemption: who gives up cells where the sequences of a model share them (ModelOptions::kv_tokens), in this order:
//   1. who is parked, since it makes nothing of its cells;
//   2. else, of the tenants with more than one running, a sequence of the tenant served most; its youngest.
// Never the last one that runs; never one that was put in its place and has not got on by kGuardTokens since (its guard); and, but for
// parked ones, never one whose tenant holds less than its share of the cells while another holds more than its own. Shares go by weight.
//
// Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"

namespace tollgate::inference {

// Output tokens that a sequence is let alone for once it was let in or resumed: one is suspended at most once for so many of its tokens,
// but while it is parked.
constexpr std::int64_t kGuardTokens = 32;

// One sequence that holds a slot.
struct CellHolder {
  int slot = 0;
  const void* tenant = nullptr;
  double served = 0;  // The tenant's counter,
  double weight = 1;  // and weight.
  base::MonoTime started;
  std::int64_t cells = 0;  // Held, or promised by its guard; 0 where it is suspended.
  bool grows = false;      // Takes one more in the next step.
  bool guarded = false;
  bool parked = false;
  bool idle = false;  // It has been parked for some time.
  bool suspended = false;
};

struct CellPlan {
  std::vector<int> suspend;  // Slots, in this order.
  std::vector<int> hold;     // Slots that keep what they hold and do not go on in this step.
};

// What must be done so that the step fits into `total` cells.
CellPlan PlanStep(std::vector<CellHolder> holders, std::int64_t total);

// Who wants in, with so many cells.
struct Newcomer {
  const void* tenant = nullptr;
  double weight = 1;
  std::int64_t need = 0;
};

// Whose cells make room for a newcomer, so that all fits into `total`: those of who is idle; and, where its tenant holds no more than its
// share with them, of tenants above theirs. False: that makes no room, and nobody is to be suspended for it.
bool RoomFor(const Newcomer& newcomer, std::vector<CellHolder> holders, std::int64_t total, std::vector<int>& suspend);

}  // namespace tollgate::inference
