// Journal: appends records to this instance's log, durably and in order. Thread-safe.
//
// What a caller may rely on:
// - OK means durable in Postgres, the companions and the request's key too. Until then the caller MUST NOT act on the record: route
//   nothing before its REQUEST, release no byte before the record that holds it.
// - Every REQUEST gets exactly one terminal record. A second one is refused with FAILED_PRECONDITION, and so is a SEGMENT after it.
//   If the process dies first, the log's next owner closes the request (audit/recovery.h).
// - Cost: one group commit, shared with all that wait. Append itself serialises the record and takes a short lock.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "audit/record.h"
#include "base/status.h"

namespace tollgate::audit {

struct Health {
  enum class State {
    kGood,
    kRefusing,  // Postgres or the keys database is away, slow or full, or the clock wrong: appends fail by their deadline. Mends itself.
    kLost,      // Another owner has taken the log: nothing can be appended any more and the process must end.
  };
  State state = State::kGood;
  std::string reason;  // For the operator; empty when good.
};

class Journal {
 public:
  // Called exactly once, on a thread of the journal (or on the caller's, before Append returns, if the entry is refused at the
  // door): post the work away at once, never block, never call back into the journal's destructor.
  // UNAVAILABLE: it does not count as written and never will: the queue is full, the deadline passed, Postgres is away, or it refuses a
  //   value in the entry. (The journal itself closes with an ABORT a request whose terminal record was so refused: reason
  //   JOURNAL_REFUSED, with the same usage; and a REQUEST that is found written after its caller was told otherwise: JOURNAL_TIMEOUT.)
  // UNAVAILABLE with reason AUDIT_IN_DOUBT, never for a REQUEST: the deadline passed while the write was under way; it may yet become
  //   durable.
  // FAILED_PRECONDITION, INVALID_ARGUMENT, ALREADY_EXISTS: this entry alone is bad; not written.
  // UNKNOWN never escapes: what is in doubt is settled by the log's head.
  using Done = std::function<void(absl::StatusOr<Position>)>;

  // No time limit; also what terminal records should be given: the journal keeps those until they are written, whatever their
  // deadline, which then only bounds how long the caller waits for its answer (AUDIT_IN_DOUBT).
  static constexpr std::chrono::steady_clock::time_point kNoDeadline = std::chrono::steady_clock::time_point::max();

  virtual ~Journal() = default;
  virtual void Append(Entry entry, std::chrono::steady_clock::time_point deadline, Done done) = 0;
  virtual Health health() const = 0;
};

// Appends and waits. For start-up, tools and admin calls on threads that may block; never from an I/O or journal thread.
absl::StatusOr<Position> AppendAndWait(Journal& journal, Entry entry, std::chrono::steady_clock::time_point deadline);

}  // namespace tollgate::audit
