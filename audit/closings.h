// Closings: the ABORTs that a running journal makes by itself: for a REQUEST that became durable too late, and in the place of a terminal
// record that the database refuses. Internal to audit/. Immutable; one thread.
#pragma once

#include "audit/journal_queue.h"
#include "audit/recovery.h"
#include "base/clock.h"

namespace tollgate::audit {

class Closings {
 public:
  Closings(SettleOpen settle, const base::Clock& clock) : settle_(std::move(settle)), clock_(clock) {}

  // Closes a durable REQUEST whose caller was refused (JOURNAL_TIMEOUT). An error: it cannot be settled now.
  absl::StatusOr<PendingPtr> Late(const Pending& request) const;
  // In the place of `refused` (JOURNAL_REFUSED), of which no companion is known to be good: the usage that it tells of is settled anew.
  // `open` is its request. What was delivered is what its SEGMENTs tell of: the rest, which would have left with the refused record, has
  // not. An error: it cannot be settled.
  absl::StatusOr<PendingPtr> Settled(const Pending& refused, OpenRequest open) const;
  // The same without companions, and so without usage: what is left when those are refused as well.
  PendingPtr Plain(const Pending& refused, std::int64_t delivered_bytes) const;

 private:
  absl::StatusOr<PendingPtr> Close(const OpenRequest& open, Entry entry) const;
  PendingPtr Own(Entry entry) const;

  const SettleOpen settle_;
  const base::Clock& clock_;
};

}  // namespace tollgate::audit
