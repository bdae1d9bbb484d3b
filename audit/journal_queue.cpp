// An entry is answered once, by the first of: durable (and its key too), failed, overdue. Being answered and being written are apart: an
// overdue entry that still lies in the queue is dropped and so is never written; one that was already sent may yet become durable, and if
// it was a REQUEST it then goes to `late_`, whence the writer closes it; a terminal record is kept and written whoever waits.
// Tested by tests/audit/journal_queue_test.cpp.
#include "audit/journal_queue.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::audit {
namespace {

constexpr std::int64_t kRetryAfterMs = 2000;
constexpr int kIdleTicks = 20;  // Before the watch sleeps: requests that come one by one do not wake it each time.

std::string_view Consequence(v1::RecordKind kind) {
  switch (kind) {
    case v1::RECORD_KIND_REQUEST:
    case v1::RECORD_KIND_DENY: return "nothing was routed";
    case v1::RECORD_KIND_SEGMENT:
    case v1::RECORD_KIND_FINAL:
    case v1::RECORD_KIND_ABORT: return "nothing more is released";
    case v1::RECORD_KIND_VIEW: return "nothing was shown";
    default: return "nothing was changed";
  }
}

}  // namespace

absl::Status Refusal(v1::RecordKind kind, std::string_view what) {
  base::ErrorDetail detail;
  detail.reason = "AUDIT_UNAVAILABLE";
  detail.retry_after_ms = kRetryAfterMs;
  return base::WithDetail(base::Unavailable(fmt::format("{}; {}; try again in {} s, or ask the operator to check Postgres", what,
                                                        Consequence(kind), kRetryAfterMs / 1000)),
                          detail);
}

absl::Status InDoubt(v1::RecordKind kind, std::string_view what) {
  base::ErrorDetail detail;
  detail.reason = "AUDIT_IN_DOUBT";
  detail.may_retry = false;
  return base::WithDetail(
      base::Unavailable(
          fmt::format("{}; {}, but this may be on record, and billed: look it up before it is asked for again", what, Consequence(kind))),
      detail);
}

void JournalQueue::Call(Answers& answers) {
  for (auto& [done, result] : answers) done(std::move(result));
}

bool JournalQueue::Add(const PendingPtr& pending) {
  Answers answers;
  bool taken = false;
  bool watch_sleeps = false;
  {
    base::Lock lock(mu_);
    const v1::RecordKind kind = pending->row.kind;
    // Counted refusals stop at half the room: whoever is turned away must not crowd out who is let in.
    const std::size_t share = kind == v1::RECORD_KIND_REFUSED ? 2 : 1;
    const bool room = static_cast<std::size_t>(counts_.rows) < limits_.rows_max / share &&
                      static_cast<std::size_t>(counts_.bytes) + pending->bytes <= limits_.bytes_max / share;
    pending->id = ++last_id_;
    if (closed_) {
      Answer(pending, Refusal(kind, "this instance is shutting down"), answers);
    } else if (!room && !AlwaysWritten(kind)) {
      Answer(pending, Refusal(kind, "the audit log's queue is full"), answers);
    } else {
      taken = true;
      pending->counted = true;
      counts_.rows += 1;
      counts_.bytes += static_cast<std::int64_t>(pending->bytes);
      unanswered_.emplace(pending->id, pending);
      queue_.push_back(pending);
      watch_sleeps = idle_ticks_ > kIdleTicks;
    }
  }
  if (taken) changed_.notify_one();  // Without the lock, at which who is woken would only wait.
  if (watch_sleeps) watch_.notify_one();
  Call(answers);
  return taken;
}

std::vector<PendingPtr> JournalQueue::Take(std::size_t rows_max, std::size_t bytes_max, TimePoint until) {
  std::vector<PendingPtr> out;
  base::Lock lock(mu_);
  changed_.wait_until(lock.native(), until, [this]() REQUIRES(mu_) { return !queue_.empty() || !late_.empty() || closed_ || stopped_; });
  std::size_t bytes = 0;
  while (!queue_.empty() && out.size() < rows_max) {
    PendingPtr& front = queue_.front();
    if (front->stage != Pending::Stage::kDropped) {
      if (!out.empty() && bytes + front->bytes > bytes_max) break;
      bytes += front->bytes;
      front->stage = Pending::Stage::kSent;
      out.push_back(std::move(front));
    }
    queue_.pop_front();
  }
  return out;
}

void JournalQueue::Leave(const PendingPtr& pending, Pending::Stage stage) {
  if (std::exchange(pending->counted, false)) {
    counts_.rows -= 1;
    counts_.bytes -= static_cast<std::int64_t>(pending->bytes);
  }
  pending->stage = stage;
}

void JournalQueue::Answer(const PendingPtr& pending, absl::StatusOr<Position> result, Answers& out) {
  if (pending->answered) return;
  pending->answered = true;
  unanswered_.erase(pending->id);
  if (absl::IsUnavailable(result.status()) || absl::IsDeadlineExceeded(result.status())) ++counts_.refused;
  if (pending->done) out.emplace_back(std::move(pending->done), std::move(result));
}

void JournalQueue::DropAnswered(std::vector<PendingPtr>& group) {
  base::Lock lock(mu_);
  std::erase_if(group, [this](const PendingPtr& pending) REQUIRES(mu_) {
    const bool drop = pending->answered && !AlwaysWritten(pending->row.kind);
    if (drop) Leave(pending, Pending::Stage::kDropped);
    return drop;
  });
}

void JournalQueue::Durable(std::span<const PendingPtr> group, std::int32_t log_id, std::int64_t first_index) {
  Answers answers;
  {
    base::Lock lock(mu_);
    for (std::size_t i = 0; i < group.size(); ++i) {
      const PendingPtr& pending = group[i];
      Leave(pending, Pending::Stage::kDurable);
      pending->position = {log_id, first_index + static_cast<std::int64_t>(i)};
      if (pending->answered) {
        if (pending->row.kind == v1::RECORD_KIND_REQUEST) late_.push_back(pending);
      } else if (!pending->key || pending->key_stored) {
        Answer(pending, pending->position, answers);
      }
    }
  }
  Call(answers);
}

void JournalQueue::Fail(const PendingPtr& pending, const absl::Status& status) {
  Answers answers;
  {
    base::Lock lock(mu_);
    Leave(pending, Pending::Stage::kDropped);
    Answer(pending, status, answers);
  }
  Call(answers);
}

void JournalQueue::FailAll(const absl::Status& status) {
  Answers answers;
  {
    base::Lock lock(mu_);
    closed_ = true;
    while (!unanswered_.empty()) {
      const PendingPtr pending = unanswered_.begin()->second;
      const bool doubt = pending->stage == Pending::Stage::kSent && pending->row.kind != v1::RECORD_KIND_REQUEST;
      Leave(pending, Pending::Stage::kDropped);
      Answer(pending, doubt ? InDoubt(pending->row.kind, base::Message(status)) : status, answers);
    }
    queue_.clear();
    changed_.notify_all();
  }
  Call(answers);
}

void JournalQueue::KeysStored(std::span<const PendingPtr> group, const absl::Status& status) {
  Answers answers;
  {
    base::Lock lock(mu_);
    for (const PendingPtr& pending : group) {
      const bool durable = pending->stage == Pending::Stage::kDurable;
      if (status.ok()) {
        pending->key_stored = true;
        if (durable) Answer(pending, pending->position, answers);
        continue;
      }
      if (pending->stage == Pending::Stage::kQueued) Leave(pending, Pending::Stage::kDropped);
      if (durable && !pending->answered && pending->row.kind == v1::RECORD_KIND_REQUEST) late_.push_back(pending);
      Answer(pending, status, answers);
    }
    if (!late_.empty()) changed_.notify_one();
  }
  Call(answers);
}

void JournalQueue::DropUnwanted(std::vector<PendingPtr>& keys) {
  base::Lock lock(mu_);
  std::erase_if(keys, [](const PendingPtr& pending) { return pending->answered; });
}

std::vector<PendingPtr> JournalQueue::TakeLate() {
  base::Lock lock(mu_);
  return std::exchange(late_, {});
}

void JournalQueue::Overdue(const PendingPtr& pending, Answers& out) {
  const v1::RecordKind kind = pending->row.kind;
  const bool kept = AlwaysWritten(kind);
  const bool waits_for_key = pending->stage == Pending::Stage::kDurable;
  const std::string& trouble = waits_for_key ? trouble_[1] : trouble_[0];
  const std::string_view database = waits_for_key ? "the keys database" : "the audit database";
  absl::Status status = Refusal(kind, fmt::format("{} {}", database, trouble.empty() ? "does not answer in time" : "cannot be written to"));
  if (pending->stage == Pending::Stage::kQueued && !kept) {
    Leave(pending, Pending::Stage::kDropped);
  } else if (kind == v1::RECORD_KIND_REQUEST) {
    if (waits_for_key) {
      late_.push_back(pending);
      changed_.notify_one();
    }
  } else {
    status = InDoubt(kind, fmt::format("{} has not answered in time", database));
  }
  Answer(pending, status, out);
}

bool JournalQueue::Expire(std::chrono::milliseconds tick) {
  Answers answers;
  bool go_on = true;
  {
    base::Lock lock(mu_);
    idle_ticks_ = unanswered_.empty() ? idle_ticks_ + 1 : 0;
    if (idle_ticks_ > kIdleTicks) {
      watch_.wait(lock.native(), [this]() REQUIRES(mu_) { return stopped_ || !unanswered_.empty(); });
      idle_ticks_ = 0;
    }
    watch_.wait_for(lock.native(), tick, [this]() REQUIRES(mu_) { return stopped_; });
    go_on = !stopped_;
    const TimePoint now = std::chrono::steady_clock::now();
    std::vector<PendingPtr> overdue;
    // The oldest being young means that all is well, and nothing is looked through.
    if (!unanswered_.empty() && now - unanswered_.begin()->second->enqueued >= tick) {
      for (const auto& [id, pending] : unanswered_) {
        if (pending->deadline <= now) overdue.push_back(pending);
      }
    }
    for (const PendingPtr& pending : overdue) Overdue(pending, answers);
  }
  Call(answers);
  return go_on;
}

void JournalQueue::Close() {
  base::Lock lock(mu_);
  closed_ = true;
  changed_.notify_all();
}

void JournalQueue::Stop() {
  base::Lock lock(mu_);
  closed_ = stopped_ = true;
  changed_.notify_all();
  watch_.notify_all();
}

bool JournalQueue::closed() const {
  base::Lock lock(mu_);
  return closed_;
}

bool JournalQueue::empty() const {
  base::Lock lock(mu_);
  return counts_.rows == 0;
}

void JournalQueue::SetTrouble(bool keys, const std::string& reason) {
  base::Lock lock(mu_);
  trouble_[keys ? 1 : 0] = reason;
}

std::string JournalQueue::trouble() const {
  base::Lock lock(mu_);
  return trouble_[0].empty() ? trouble_[1] : trouble_[0];
}

JournalQueue::Counts JournalQueue::counts() const {
  base::Lock lock(mu_);
  return counts_;
}

}  // namespace tollgate::audit
