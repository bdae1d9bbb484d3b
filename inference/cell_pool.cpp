// How it works. What each sequence holds is reckoned from its counts, never less than the engine holds for it: the prompt, whole from the
// start, and all output tokens but the last, which the next step feeds. A guard counts as held, so that a guarded sequence always gets on.
// What is decided over these numbers is in preemption.cpp.
//
// States that are kept are bounded in bytes, for all and, in equal parts, for each tenant that holds a slot; what has no room there is
// worked through again when it comes back.
//
// Tested by tests/inference/cell_pool_test.cpp, tests/inference/preemption_test.cpp, tests/inference/pooled_model_test.cpp.
#include "inference/cell_pool.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <tuple>
#include <utility>

#include "inference/memory_estimate.h"
#include "inference/no_throw.h"

namespace tollgate::inference {
namespace {

// A sequence that is parked for longer makes room for others that wait: not one whose allowance is just being extended.
constexpr std::chrono::milliseconds kIdleAfter{100};

bool MayComeBack(const Sequence& sequence) { return sequence.suspended && !sequence.parked && !sequence.closing; }

// As FairQueue::BandOf: who has been suspended for long comes as if it were urgent, so that urgent requests do not hold it up for ever.
int BandOf(const Sequence& sequence, int front, base::MonoTime now) {
  const int band = sequence.request.band;
  return now - sequence.suspended_at >= std::max(band - front, 0) * FairQueue::Options{}.aging ? std::min(band, front) : band;
}

}  // namespace

CellPool::CellPool(const ModelOptions& model, Engine& engine, Slots& slots, ReplicaStats& stats, Fail fail)
    : total_(model.kv_tokens),
      bytes_max_(SuspendedBytesMax(model)),
      engine_(engine),
      slots_(slots),
      stats_(stats),
      fail_(std::move(fail)) {}

std::int64_t CellPool::GuardOf(const Sequence& sequence) {
  const std::int64_t left = sequence.output_limit - static_cast<std::int64_t>(sequence.output.size());
  return std::min(kGuardTokens, std::max<std::int64_t>(left, 1));
}

std::vector<CellHolder> CellPool::Holders(base::MonoTime now) const {
  std::vector<CellHolder> holders;
  for (const auto& sequence : slots_) {
    if (sequence == nullptr) continue;
    CellHolder& holder = holders.emplace_back();
    holder.slot = sequence->slot;
    holder.tenant = sequence->account;
    holder.served = sequence->account->served;
    holder.weight = sequence->request.weight;
    holder.started = *sequence->end.started_at;
    holder.suspended = sequence->suspended;
    holder.parked = sequence->parked && !sequence->closing;
    holder.idle = holder.parked && now - sequence->parked_at >= kIdleAfter;
    holder.guarded = !holder.parked && (sequence->closing || sequence->guard > 0 || sequence->prompt_left > 0 || sequence->redo_left > 0);
    holder.grows = !holder.guarded && !holder.parked && !holder.suspended;
    if (!holder.suspended) holder.cells = sequence->Cells() + sequence->guard;
  }
  return holders;
}

std::int64_t CellPool::used() const {
  std::int64_t cells = 0;
  for (const auto& sequence : slots_) {
    if (sequence != nullptr && !sequence->suspended) cells += sequence->Cells() - sequence->to_work();
  }
  return cells;
}

// Of those that could go on, where `front` is the most urgent band in which anyone waits.
Sequence* CellPool::FirstSuspended(int front, base::MonoTime now) const {
  const auto order = [&](const Sequence& s) { return std::tuple(BandOf(s, front, now), s.account->served, *s.end.started_at, s.slot); };
  Sequence* first = nullptr;
  for (const auto& sequence : slots_) {
    if (sequence == nullptr || !MayComeBack(*sequence)) continue;
    if (first == nullptr || order(*sequence) < order(*first)) first = sequence.get();
  }
  return first;
}

bool CellPool::Admits(const FairQueue::Head& head, base::MonoTime now) {
  int front = head.sequence == nullptr ? kBands : head.band;
  for (const auto& sequence : slots_) {
    if (sequence != nullptr && MayComeBack(*sequence)) front = std::min(front, sequence->request.band);
  }
  while (Sequence* const back = FirstSuspended(front, now)) {
    const bool before = head.sequence == nullptr || back->request.tenant == head.sequence->request.tenant ||
                        std::tuple(BandOf(*back, front, now), back->account->served) <= std::tuple(head.band, head.tenant->served);
    if (!before) break;
    if (!MakeRoom({back->account, back->request.weight, back->Cells() + GuardOf(*back)}, now)) return false;
    Resume(*back);
  }
  if (head.sequence == nullptr) return false;
  const Sequence& next = *head.sequence;
  return MakeRoom({head.tenant, next.request.weight, next.end.input_tokens + GuardOf(next)}, now);
}

// Where the engine fails on one of those who should give, there is no room before it is closed.
bool CellPool::MakeRoom(const Newcomer& newcomer, base::MonoTime now) {
  if (!RoomFor(newcomer, Holders(now), total_, suspend_)) return false;
  return std::all_of(suspend_.begin(), suspend_.end(), [&](int slot) { return Suspend(*slots_[static_cast<std::size_t>(slot)], now); });
}

void CellPool::Spare(base::MonoTime now) {
  CellPlan plan;
  const auto give = [&](int slot) { return Suspend(*slots_[static_cast<std::size_t>(slot)], now); };
  do {  // One that the engine failed on keeps its cells until it is closed: another must give.
    plan = PlanStep(Holders(now), total_);
  } while (!std::all_of(plan.suspend.begin(), plan.suspend.end(), give));
  for (const auto& sequence : slots_) {
    if (sequence == nullptr) continue;
    sequence->held = std::find(plan.hold.begin(), plan.hold.end(), sequence->slot) != plan.hold.end();
  }
}

// What the sequence's tenant has left of its part.
std::int64_t CellPool::BytesLeft(const Sequence& sequence) const {
  std::set<const TenantAccount*> tenants;
  std::int64_t own = 0;
  for (const auto& other : slots_) {
    if (other == nullptr) continue;
    tenants.insert(other->account);
    if (other->account == sequence.account) own += other->suspended_bytes;
  }
  const std::int64_t part = bytes_max_ / static_cast<std::int64_t>(tenants.size());
  return std::min(part - own, bytes_max_ - stats_.suspended_bytes);
}

// False: the engine failed on it, and it ends.
bool CellPool::Suspend(Sequence& sequence, base::MonoTime now) {
  const std::int64_t bytes_max = std::max<std::int64_t>(BytesLeft(sequence), 0);
  const auto kept = NoThrow([&] { return engine_.Suspend(sequence.slot, bytes_max); });
  if (!kept.ok()) {
    fail_(sequence, kept.status());
    return false;
  }
  sequence.suspended = true;
  sequence.suspended_at = now;
  sequence.suspended_bytes = *kept;
  sequence.guard = 0;
  stats_.suspended_bytes += *kept;
  ++stats_.suspended;
  ++stats_.preemptions;
  return true;
}

void CellPool::Resume(Sequence& sequence) {
  Leave(sequence);
  const auto redo = NoThrow([&] { return engine_.Resume(sequence.slot); });
  if (!redo.ok()) return fail_(sequence, redo.status());
  sequence.redo_left += *redo;
  Guard(sequence);
}

void CellPool::Leave(Sequence& sequence) {
  if (!sequence.suspended) return;
  sequence.suspended = false;
  stats_.suspended_bytes -= std::exchange(sequence.suspended_bytes, 0);
  --stats_.suspended;
}

}  // namespace tollgate::inference
