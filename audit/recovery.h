// Recovery: what happens to the requests of an instance that died. Its log is taken over, each request that has no terminal record
// gets an ABORT with reason RECOVERED and `recovered` set, and what it used is settled in the same transaction.
//
// The journal does it: at Open for its own log, and as long as it runs for logs whose owner's claim has lapsed. It calls out for
// the two things that audit does not know: the rows that settle a request, and what a dead instance held beside its log.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "audit/record.h"
#include "base/companion.h"
#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::audit {

// A REQUEST without a terminal record.
struct OpenRequest {
  Position position;                             // Of the REQUEST.
  v1::Record request;                            // The record itself: ids, price, holds, input tokens.
  std::uint32_t attempt = 1;                     // Highest attempt on record.
  std::int64_t segments = 0;                     // SEGMENTs on record.
  std::int64_t output_tokens = 0;                // By the last durable SEGMENT.
  std::int64_t cached_input_tokens = 0;          // The same.
  std::vector<v1::GuardUsage> guard_usage = {};  // By the last durable SEGMENT.
  std::int64_t delivered_bytes = 0;              // Offset + size of the last durable SEGMENT: an upper bound of what went out.
  // False: the REQUEST's bytes are no record, `request` has the ids alone, and it is closed without companions.
  bool readable() const { return request.has_request(); }
};

// Gives the companions (usage, ledger) of the ABORT that closes `open`. `end` comes filled in: reason, tokens (input and output as of
// the last durable SEGMENT; no SEGMENT: nothing, for nothing went out), the pinned price; the callee sets the amounts and may change
// the rest. May be called again for the same request if the database went away in between. Any journal thread; also for a REQUEST
// that became durable after its caller was refused (reason JOURNAL_TIMEOUT, no tokens), and for a request whose terminal record the
// database refused (JOURNAL_REFUSED, that record's tokens). Must not block for long: commits wait. UNAVAILABLE and ABORTED: not now, it is
// asked again. Any other error is this request's own: it is closed without companions and tokens, and the others as ever.
using SettleOpen = std::function<absl::StatusOr<std::vector<base::Companion>>(const OpenRequest& open, v1::EndBody& end)>;

// A log was taken over and its open requests are closed: everything that `owner` held under an epoch below `epoch` is dead and returns
// (metering: its leases). Also called at a restart, with the instance itself as owner. Called again until it returns OK, so it must be
// idempotent: the own log serves meanwhile, one that was adopted is let go afterwards. A thread of the journal; may block for long, but
// must return, with any error, within seconds once `stopping` gives true, which it may ask on any thread.
using LogTaken = std::function<absl::Status(base::InstanceId owner, std::int64_t epoch, const std::function<bool()>& stopping)>;

struct RecoveryCallbacks {
  SettleOpen settle;  // Empty = no companions; only for a journal that adopts no others' logs.
  LogTaken taken;     // Empty = nothing is held beside logs.
};

// The ABORT that closes `open`, with the body that SettleOpen sees.
v1::Record RecoveredAbort(const OpenRequest& open, std::int64_t wall_us);

}  // namespace tollgate::audit
