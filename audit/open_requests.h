// Finding and closing what a dead owner left open. Internal to audit/.
#pragma once

#include <functional>
#include <vector>

#include "audit/clock_check.h"
#include "audit/log_writer.h"
#include "audit/ownership.h"
#include "audit/recovery.h"
#include "base/clock.h"

namespace tollgate::audit {

// The REQUESTs from `open_from` on that have no terminal record, oldest first. `keep_alive` is called between chunks.
absl::StatusOr<std::vector<OpenRequest>> FindOpenRequests(base::Session& session, const Head& head, std::int64_t open_from,
                                                          const std::function<absl::Status()>& keep_alive);

// One of them, whose REQUEST stands at `position`. DATA_LOSS: it is not there, or its bytes are no record.
absl::StatusOr<OpenRequest> ReadOpenRequest(base::Session& session, Position position, const base::Uuid& request);

struct TakeoverOptions {
  base::PostgresOptions postgres;
  std::chrono::milliseconds claim{10'000};
  std::chrono::steady_clock::time_point deadline;  // Gives up with UNAVAILABLE.
  base::InstanceId instance;                       // Who takes over.
  std::string build;
  const RecoveryCallbacks* callbacks = nullptr;
  std::function<bool()> stopping;  // Gives up with UNAVAILABLE once true. May be empty.
  const base::Clock* clock = nullptr;
  ClockCheck* clock_check = nullptr;  // May be null. While it finds the clock wrong nothing is appended: FAILED_PRECONDITION.
  std::optional<v1::Record> also;     // Appended right after START.
};

// Appends START and an ABORT for each open request (with its companions; without them, and so without usage, where it cannot be settled or
// the database refuses them). Leaves the writer attached. `callbacks->taken` is the caller's to tell, next (audit/teller.h).
// Gives how many were closed. Any failure may be answered by claiming again and starting over: what is closed stays closed.
absl::StatusOr<std::int64_t> TakeOver(LogWriter& writer, const Claim& claim, const TakeoverOptions& options);

// FAILED_PRECONDITION while the clock is wrong.
absl::Status CheckClock(const ClockCheck* check);

// A START or STOP record.
Entry InstanceRecord(v1::RecordKind kind, base::InstanceId instance, std::int64_t epoch, const std::string& build);

// Commits, however often the connection breaks, until `deadline` or `stopping`. For takeovers and the last record, not for the queue.
// kDone, kRejected (also for a suspect batch, after a few tries), kLost, or kNothing: out of time.
LogWriter::Result CommitSurely(LogWriter& writer, std::span<const EncodedRow* const> rows, std::int64_t open_from,
                               std::chrono::steady_clock::time_point deadline, const std::function<bool()>& stopping = {});

}  // namespace tollgate::audit
