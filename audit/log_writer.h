// LogWriter: one owner's pen on one log. Sends batches, and after a broken connection finds out exactly what became of the last one.
// Internal to audit/. One thread; every call blocks on the database, bounded by the session's time limits.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>

#include "audit/batch.h"
#include "audit/clock_check.h"
#include "base/postgres.h"

namespace tollgate::audit {

class LogWriter {
 public:
  // What became of a batch, or of the attempt to attach.
  enum class Fate {
    kDone,      // Committed; attached.
    kNothing,   // Nothing was written; may be tried again.
    kRejected,  // Nothing was written, for a value or a constraint: something in the batch itself.
    kSuspect,   // Nothing was written, for an error that may be of one row or of the whole database; not attached. Trying again tells.
    kInDoubt,   // Attach() will tell.
    kLost,      // Final: another owner has the log, or (DATA_LOSS) the database is behind what it acknowledged.
  };
  struct Result {
    Fate fate;
    absl::Status status;  // Why, where it is not kDone.
  };

  // `head` as claimed: epoch and next_index count, the fence is raised at each Attach. `clock`, which may be null, is told Postgres's time
  // with each Attach and Renew. `owner`: whose START begins what is written here.
  LogWriter(base::PostgresOptions postgres, std::chrono::milliseconds claim, const Head& head, ClockCheck* clock = nullptr,
            base::InstanceId owner = {});

  bool attached() const { return session_ != nullptr && !session_->broken(); }
  bool in_doubt() const { return doubt_ != 0; }
  const Head& head() const { return head_; }                         // next_index: where the next batch starts.
  const std::optional<base::Digest>& leaf() const { return leaf_; }  // Of the record before that, once one was written here.
  base::Session& session() { return *session_; }                     // While attached.

  // Connects and raises the fence, which waits for a commit still in flight and shuts out any later one. kDone: attached, and the
  // batch in doubt, if there was one, was committed. kNothing with OK: attached, and it was not. kNothing with an error: not attached, as
  // to a server that could lose what it acknowledges.
  Result Attach();
  // Never kInDoubt → kDone by itself: Attach. REQUIRES: attached, nothing in doubt.
  Result Commit(std::span<const EncodedRow* const> rows, std::int64_t open_from);
  // Renews the claim. kDone, kNothing (the connection may be gone) or kLost.
  Result Renew();
  // Gives the log up: for any instance to go on with; for an adopter, where it still owes (ForgetOwed) or what its owner holds, in this
  // life or an earlier one, is not `home`. REQUIRES: attached.
  absl::Status Release(bool home);

 private:
  Result Attached(const base::Rows& rows);
  Result Lost();

  const base::PostgresOptions postgres_;
  const std::chrono::milliseconds claim_;
  Head head_;
  ClockCheck* clock_;
  base::InstanceId owner_;
  std::int64_t since_ = 0;
  std::optional<base::Digest> leaf_;
  base::Digest sent_leaf_{};  // Of the last record of the batch that was sent last.
  std::int64_t doubt_ = 0;    // Rows of the batch in doubt.
  std::unique_ptr<base::Session> session_;
  BatchStatements statements_;
};

}  // namespace tollgate::audit
