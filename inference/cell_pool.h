// CellPool: the cells that the sequences of a replica share where ModelOptions::kv_tokens says so. A sequence is let in where its prompt
// and a guard (preemption.h) have room now; its worst case only has to fit alone. When cells run short before a step, sequences are
// suspended: they keep their slots and all that the engine knows of them but their cells, whose state goes to memory, or is worked through
// again.
//
// Who is suspended comes back before anything new of its tenant, and, of several tenants, the one served least comes first, urgent bands
// before others, with the fair queue's ageing; nothing that is behind it in that order gets past it. For a tenant that holds less than its
// share others, who hold more, are suspended.
//
// The replica's thread only. Internal to the room.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "inference/engine.h"
#include "inference/fair_queue.h"
#include "inference/preemption.h"
#include "inference/replica_stats.h"
#include "inference/sequence.h"

namespace tollgate::inference {

class CellPool {
 public:
  using Slots = std::vector<std::unique_ptr<Sequence>>;
  using Fail = std::function<void(Sequence&, const absl::Status&)>;  // Ends a sequence that the engine failed on.

  // All but the options are the replica's, and outlive this.
  CellPool(const ModelOptions& model, Engine& engine, Slots& slots, ReplicaStats& stats, Fail fail);

  // Resumes whoever comes before `head`, the first of the queue (none: everyone), as far as there is room; then whether there is for it.
  bool Admits(const FairQueue::Head& head, base::MonoTime now);

  // A sequence was given a slot, or resumed.
  static void Guard(Sequence& sequence) { sequence.guard = GuardOf(sequence); }

  // A sequence is no longer suspended, or ends.
  void Leave(Sequence& sequence);

  // Before a step: makes room for it.
  void Spare(base::MonoTime now);

  std::int64_t used() const;  // Cells that are held now.

 private:
  static std::int64_t GuardOf(const Sequence& sequence);
  std::vector<CellHolder> Holders(base::MonoTime now) const;
  Sequence* FirstSuspended(int front, base::MonoTime now) const;
  bool MakeRoom(const Newcomer& newcomer, base::MonoTime now);
  bool Suspend(Sequence& sequence, base::MonoTime now);
  void Resume(Sequence& sequence);
  std::int64_t BytesLeft(const Sequence& sequence) const;

  const std::int64_t total_;
  const std::int64_t bytes_max_;  // For all states that are kept.
  Engine& engine_;
  Slots& slots_;
  ReplicaStats& stats_;
  Fail fail_;
  std::vector<int> suspend_;  // Scratch.
};

}  // namespace tollgate::inference
