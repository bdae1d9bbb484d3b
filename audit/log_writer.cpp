// The head tells everything. A batch moves it from i to i + n or does not happen; so after a lost connection the head at i + n means
// committed and at i means not. Reading it is not enough: the old backend may hold the statement still unread in its socket, and run
// it after we have told callers that nothing was written. Raising `fence` in the same UPDATE that reads the head closes that: the row lock
// waits for a COMMIT in flight, and a straggler finds another fence and stores nothing.
// Tested by tests/audit/log_writer_test.cpp.
#include "audit/log_writer.h"

#include <algorithm>

#include <fmt/format.h>

#include "audit/key_chain.h"
#include "audit/losses.h"
#include "audit/ownership.h"
#include "base/clock.h"

namespace tollgate::audit {
namespace {

constexpr std::string_view kReadOnly = "25006";

// SQLSTATE classes 22 and 23, and a text that Postgres cannot hold: the same row would be refused again.
bool RowsOwnFault(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) || absl::IsAlreadyExists(status);
}

// A limit that a row exceeds, what a trigger raises, an error inside Postgres (SQLSTATE classes 54, P0, XX …), or a failure of the client
// itself: one row's fault or everyone's. Not so what all rows meet: rights and tables (42), disk and memory (53), a server that goes (57).
bool MayBeRowsFault(const absl::Status& status) {
  const std::string state = base::SqlStateOf(status);
  if (state.empty()) return absl::IsInternal(status);
  static constexpr std::string_view kClasses[] = {"0A", "21", "38", "39", "44", "54", "P0", "XX"};
  return std::any_of(std::begin(kClasses), std::end(kClasses), [&](std::string_view c) { return state.starts_with(c); });
}

}  // namespace

LogWriter::LogWriter(base::PostgresOptions postgres, std::chrono::milliseconds claim, const Head& head, ClockCheck* clock,
                     base::InstanceId owner)
    : postgres_(std::move(postgres)), claim_(claim), head_(head), clock_(clock), owner_(owner), since_(head.next_index) {}

// What is there of our records tells whose doing it was: a log only grows, so where the last of them is not there it was put back.
LogWriter::Result LogWriter::Lost() {
  static const std::string kEpoch = "SELECT epoch FROM audit.log_head WHERE log_id = $1::int2";
  const Told told{head_.log_id, head_.next_index, leaf_, owner_, head_.epoch, since_, DayOf(base::SystemClock().Wall())};
  absl::StatusOr<Kept> kept = base::Unavailable("not attached");
  absl::StatusOr<base::Rows> epoch = kept.status();
  if (attached()) kept = RecordsKept(*session_, told);
  if (kept.ok()) epoch = session_->Run("read the log's epoch", kEpoch, {std::int64_t{head_.log_id}});
  session_.reset();
  if (kept.ok() && kept->records < told.size) return {Fate::kLost, RecordsLost(told, *kept)};
  if (epoch.ok() && !epoch->empty() && epoch->Int(0, 0) < head_.epoch) {
    return {Fate::kLost,
            base::DataLoss(fmt::format("the database was rolled back to before this instance took log {}, of which no record is "
                                       "missing: start the instance again",
                                       head_.log_id))};
  }
  return {Fate::kLost, base::FailedPrecondition(fmt::format("log {} was taken by another instance", head_.log_id))};
}

LogWriter::Result LogWriter::Attach() {
  static const std::string kAttach = fmt::format(
      "UPDATE audit.log_head SET fence = fence + 1, expires_at = now() + $3::int8 * interval '1 millisecond' "
      "WHERE log_id = $1::int2 AND epoch = $2::int8 RETURNING fence, next_index, {}",
      ClockCheck::kPostgresTime);
  session_.reset();
  auto session = base::Session::Connect(postgres_);
  if (!session.ok()) return {Fate::kNothing, session.status()};
  // Before the head is asked: what a server has that loses commits is not told as committed.
  if (const absl::Status durable = CheckDurable(**session); !durable.ok()) return {Fate::kNothing, durable};
  const auto rows = (*session)->Run("attach to the log", kAttach, {std::int64_t{head_.log_id}, head_.epoch, std::int64_t{claim_.count()}});
  if (!rows.ok()) return {Fate::kNothing, rows.status()};
  session_ = *std::move(session);
  return Attached(*rows);
}

LogWriter::Result LogWriter::Attached(const base::Rows& rows) {
  if (rows.empty()) return Lost();
  if (clock_ != nullptr) clock_->Saw(rows.Int(0, 2));
  head_.fence = rows.Int(0, 0);
  const std::int64_t next = rows.Int(0, 1);
  const std::int64_t doubt = std::exchange(doubt_, 0);
  if (next == head_.next_index) return {Fate::kNothing, absl::OkStatus()};
  if (doubt == 0 || next != head_.next_index + doubt) return Lost();  // Somebody wrote under our epoch: it is not ours any more.
  head_.next_index = next;
  leaf_ = sent_leaf_;
  return {Fate::kDone, absl::OkStatus()};
}

LogWriter::Result LogWriter::Commit(std::span<const EncodedRow* const> rows, std::int64_t open_from) {
  const auto statement = statements_.Build(head_, open_from, claim_, rows);
  sent_leaf_ = statement.last_leaf;
  const auto stored = session_->Run("store records", *statement.sql, statement.params);
  if (stored.ok()) {
    if (stored->Int(0, 0) != 1) return Lost();
    head_.next_index += static_cast<std::int64_t>(rows.size());
    leaf_ = sent_leaf_;
    return {Fate::kDone, absl::OkStatus()};
  }
  if (absl::IsUnknown(stored.status()) || (session_->broken() && base::SqlStateOf(stored.status()) != kReadOnly)) {
    doubt_ = static_cast<std::int64_t>(rows.size());
    session_.reset();
    return {Fate::kInDoubt, stored.status()};
  }
  if (RowsOwnFault(stored.status())) return {Fate::kRejected, stored.status()};
  // A revoked right, a changed table, a bug: somebody mends it. A fresh session then knows nothing of how things were.
  if (!absl::IsUnavailable(stored.status()) && !absl::IsAborted(stored.status())) session_.reset();
  return {MayBeRowsFault(stored.status()) ? Fate::kSuspect : Fate::kNothing, stored.status()};
}

LogWriter::Result LogWriter::Renew() {
  static const std::string kRenew = fmt::format(
      "UPDATE audit.log_head SET expires_at = now() + $4::int8 * interval '1 millisecond' "
      "WHERE log_id = $1::int2 AND epoch = $2::int8 AND fence = $3::int8 RETURNING {}",
      ClockCheck::kPostgresTime);
  const auto rows =
      session_->Run("renew the log's claim", kRenew, {std::int64_t{head_.log_id}, head_.epoch, head_.fence, std::int64_t{claim_.count()}});
  if (!rows.ok()) {
    if (session_->broken() || absl::IsUnknown(rows.status())) session_.reset();
    return {Fate::kNothing, rows.status()};
  }
  if (rows->empty()) return Lost();
  if (clock_ != nullptr) clock_->Saw(rows->Int(0, 0));
  return {Fate::kDone, absl::OkStatus()};
}

absl::Status LogWriter::Release(bool home) {
  static const std::string kRelease =
      "UPDATE audit.log_head SET released = (owes IS NULL AND $4::bool), expires_at = now() "
      "WHERE log_id = $1::int2 AND epoch = $2::int8 AND fence = $3::int8";
  const std::string all_home = home ? "t" : "f";
  return session_->Run("release the log", kRelease, {std::int64_t{head_.log_id}, head_.epoch, head_.fence, all_home}).status();
}

}  // namespace tollgate::audit
