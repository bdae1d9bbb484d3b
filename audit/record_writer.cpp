// There is no linger timer: a batch is whatever has queued while the last one was being committed. A group is tried until its fate is
// known: committed, or rejected for something in it (then it is halved until the bad row stands alone: record_writer_refused.cpp), or
// dropped because nobody waits for it any more. A group in doubt is never changed or dropped before the head has told what became of it.
//
// What is open is known here and only here: a REQUEST opens, a terminal record closes, and anything that does not fit is refused. The
// lowest open index goes into the head with each batch, so that whoever takes the log over reads only its young end.
// Tested by tests/audit/journal_postgres_test.cpp and tests/audit/journal_faults_test.cpp.
#include "audit/record_writer.h"

#include <algorithm>

#include <fmt/format.h>

#include "audit/key_chain.h"
#include "audit/open_requests.h"
#include "audit/ownership.h"
#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

using Fate = LogWriter::Fate;
constexpr std::chrono::milliseconds kFirstPause{20};
constexpr std::chrono::milliseconds kLongestPause{1000};
constexpr std::chrono::minutes kPartitionsPause{1};

std::int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// For callers of the API.
absl::Status LostStatus(const absl::Status& why) {
  if (absl::IsDataLoss(why)) {
    return base::Unavailable(
        "the database has lost what this instance had recorded: nothing more can be recorded here until the operator has looked after it");
  }
  return base::Unavailable(
      "this instance's audit log was taken by another owner: nothing can be recorded here; the process must be restarted");
}

}  // namespace

RecordWriter::RecordWriter(Options options, LogWriter log, JournalQueue& queue, StateDir& state, KeyWriter* keys)
    : options_(std::move(options)),
      closings_(options_.settle, *options_.clock),
      log_(std::move(log)),
      queue_(queue),
      state_(state),
      keys_(keys),
      partitions_day_(options_.partitions_made ? DayOf(options_.clock->Wall()) : 0),
      thread_([this] { Run(); }) {}

RecordWriter::~RecordWriter() {
  if (thread_.joinable()) Finish(std::chrono::steady_clock::now(), false);
}

void RecordWriter::Finish(TimePoint deadline, bool home) {
  {
    base::Lock lock(mu_);
    give_up_ = deadline;
    home_ = home;
    wake_.notify_all();
  }
  queue_.Close();
  thread_.join();
}

std::chrono::milliseconds RecordWriter::silence() const {
  const std::int64_t sent = sent_at_us_;
  return std::chrono::milliseconds(sent == 0 ? 0 : (NowUs() - sent) / 1000);
}

bool RecordWriter::Pause(std::chrono::milliseconds time) {
  base::Lock lock(mu_);
  const auto now = std::chrono::steady_clock::now();
  const auto until = now + time;
  wake_.wait_until(lock.native(), until, [&]() REQUIRES(mu_) { return give_up_ < until; });
  return std::chrono::steady_clock::now() < give_up_;
}

void RecordWriter::Run() {
  heartbeat_ = std::chrono::steady_clock::now() + options_.renew_every;
  while (!lost_) {
    std::vector<PendingPtr> batch = queue_.Take(options_.rows_max, options_.bytes_max, heartbeat_);
    if (keys_ != nullptr) keys_->Add(batch);
    if (!batch.empty()) WriteBatch(std::move(batch));
    CloseLate();
    if (queue_.closed()) RetryAside();
    if (lost_ || abandoned_) return;
    if (queue_.closed()) {
      if (queue_.empty() && late_.empty()) break;
      if (!Pause(kFirstPause)) return;
    }
    if (std::chrono::steady_clock::now() < heartbeat_) continue;
    Heartbeat();
    heartbeat_ = std::chrono::steady_clock::now() + options_.renew_every;
    RetryAside();
    if (abandoned_) return;
  }
  Stop();
}

std::vector<PendingPtr> RecordWriter::Screened(std::vector<PendingPtr> batch) {
  queue_.DropAnswered(batch);
  std::set<base::Uuid> touched;  // Opened or closed by this batch.
  std::erase_if(batch, [&](const PendingPtr& pending) {
    const EncodedRow& row = pending->row;
    const bool open = open_.contains(row.request);
    absl::Status bad;
    if (row.kind == v1::RECORD_KIND_REQUEST) {
      if (open || !touched.insert(row.request).second) bad = base::AlreadyExists("this request is on record already");
    } else if (IsTerminal(row.kind)) {
      const bool fits = open || row.kind == v1::RECORD_KIND_DENY;
      if (!fits || !touched.insert(row.request).second)
        bad = base::FailedPrecondition("this request has its terminal record already, or never began");
    } else if (row.kind == v1::RECORD_KIND_SEGMENT && (!open || touched.contains(row.request))) {
      bad = base::FailedPrecondition("this request has its terminal record already, or never began");
    }
    if (!bad.ok()) queue_.Fail(pending, bad);
    return !bad.ok();
  });
  return batch;
}

void RecordWriter::WriteBatch(std::vector<PendingPtr> batch) {
  std::vector<Group> groups;  // The next one last.
  groups.push_back(Screened(std::move(batch)));
  std::chrono::milliseconds pause = kFirstPause;
  refused_times_ = 0;
  settled_before_ = settled_;
  while (!groups.empty()) {
    Group& group = groups.back();
    const std::int64_t first_index = log_.head().next_index;
    switch (group.empty() ? Next::kGone : Attempt(group)) {
      case Next::kDone: Stored(group, first_index); [[fallthrough]];
      case Next::kGone:
        groups.pop_back();
        pause = kFirstPause;
        break;
      case Next::kSplit: {
        const Group whole = std::move(group);
        const auto middle = whole.begin() + static_cast<std::ptrdiff_t>(whole.size() / 2);
        groups.back().assign(middle, whole.end());
        groups.emplace_back(whole.begin(), middle);
        break;
      }
      case Next::kAgain:
        if (!Pause(pause)) {  // Out of time: whoever waits is told by the queue's end.
          abandoned_ = true;
          return;
        }
        pause = std::min(2 * pause, kLongestPause);
        RenewIfDue();
        break;
    }
    if (lost_) return;
  }
}

RecordWriter::Next RecordWriter::AttachFor(Group& group) {
  const bool doubt = log_.in_doubt();
  const auto result = log_.Attach();
  if (result.fate == Fate::kLost) {
    Lose(result.status);
    return Next::kGone;
  }
  if (!log_.attached()) {
    Trouble(result.status);
    return Next::kAgain;
  }
  ++counters_.reconnects;
  if (doubt && result.fate == Fate::kDone) return Next::kDone;
  queue_.DropAnswered(group);
  return group.empty() ? Next::kGone : Next::kAgain;
}

RecordWriter::Next RecordWriter::Attempt(Group& group) {
  if (!log_.attached()) {
    const Next next = AttachFor(group);
    if (next != Next::kAgain || !log_.attached()) return next;
  }
  std::vector<const EncodedRow*> rows;
  rows.reserve(group.size());
  for (const PendingPtr& pending : group) rows.push_back(&pending->row);
  const std::int64_t began = NowUs();
  sent_at_us_ = began;
  const auto result = log_.Commit(rows, OpenFrom(group));
  sent_at_us_ = 0;
  switch (result.fate) {
    case Fate::kDone:
      ++counters_.batches;
      counters_.commit_us += NowUs() - began;
      return Next::kDone;
    case Fate::kLost: Lose(result.status); return Next::kGone;
    case Fate::kInDoubt:
      ++counters_.in_doubt;
      Trouble(result.status);
      return Next::kAgain;
    case Fate::kNothing:
      Trouble(result.status);
      queue_.DropAnswered(group);
      return group.empty() ? Next::kGone : Next::kAgain;
    case Fate::kSuspect:
      if (!aside_.contains(group[0]->row.request)) Trouble(result.status);
      queue_.DropAnswered(group);
      if (group.empty()) return Next::kGone;
      if (!Stubborn(result.status)) return Next::kAgain;
      return group.size() > 1 ? Next::kSplit : Suspected(group, result.status);
    case Fate::kRejected: break;
  }
  return group.size() > 1 ? Next::kSplit : Refused(group, result.status);
}

std::int64_t RecordWriter::OpenFrom(const Group& group) const {
  std::set<std::int64_t> closing;
  std::int64_t first_new = log_.head().next_index + static_cast<std::int64_t>(group.size());
  for (std::size_t i = group.size(); i-- > 0;) {
    const EncodedRow& row = group[i]->row;
    if (row.kind == v1::RECORD_KIND_REQUEST) first_new = log_.head().next_index + static_cast<std::int64_t>(i);
    if (!IsTerminal(row.kind)) continue;
    if (const auto found = open_.find(row.request); found != open_.end()) closing.insert(found->second);
  }
  const auto oldest =
      std::find_if(open_indices_.begin(), open_indices_.end(), [&](std::int64_t index) { return !closing.contains(index); });
  return oldest != open_indices_.end() ? *oldest : first_new;
}

void RecordWriter::Stored(const Group& group, std::int64_t first_index) {
  Well();
  for (std::size_t i = 0; i < group.size(); ++i) {
    const EncodedRow& row = group[i]->row;
    const std::int64_t index = first_index + static_cast<std::int64_t>(i);
    if (row.kind == v1::RECORD_KIND_REQUEST) {
      open_.emplace(row.request, index);
      open_indices_.insert(index);
    } else if (const auto found = open_.find(row.request); IsTerminal(row.kind) && found != open_.end()) {
      open_indices_.erase(found->second);
      open_.erase(found);
      settled_ += row.companions.empty() ? 0 : 1;
    }
  }
  counters_.rows += static_cast<std::int64_t>(group.size());
  counters_.open_requests = static_cast<std::int64_t>(open_.size());
  state_.Acknowledged(log_.head().next_index, log_.leaf());
  queue_.Durable(group, log_.head().log_id, first_index);
  if (const PendingPtr original = std::exchange(original_, nullptr)) Condemn(original, original_why_);
}

void RecordWriter::CloseLate() {
  for (PendingPtr& request : queue_.TakeLate()) late_.push_back(std::move(request));
  if (late_.empty() || lost_) return;
  std::vector<PendingPtr> batch, kept;
  for (PendingPtr& request : late_) {
    if (!open_.contains(request->row.request)) continue;  // Its caller closed it after all.
    auto abort = closings_.Late(*request);
    if (abort.ok()) {
      batch.push_back(*std::move(abort));
    } else {
      base::Error("audit", "request {} cannot be settled: {}", request->row.request.ToString(), base::Message(abort.status()));
      kept.push_back(request);
    }
  }
  late_ = std::move(kept);
  if (!batch.empty()) WriteBatch(std::move(batch));
}

// Through a batch that is tried for long, too, the log stays ours.
void RecordWriter::RenewIfDue() {
  const auto now = std::chrono::steady_clock::now();
  if (now < heartbeat_ || !log_.attached()) return;
  heartbeat_ = now + options_.renew_every;
  if (const auto result = log_.Renew(); result.fate == Fate::kLost) Lose(result.status);
}

void RecordWriter::Heartbeat() {
  if (!log_.attached()) {
    std::vector<PendingPtr> nothing;
    AttachFor(nothing);
    if (log_.attached()) Well();
    return;
  }
  const auto result = log_.Renew();
  if (result.fate == Fate::kLost) return Lose(result.status);
  if (result.fate != Fate::kDone) return Trouble(result.status);
  Well();
  TellClock();
  MakePartitionsDaily();
}

void RecordWriter::TellClock() {
  const std::string wrong = options_.clock_check->Wrong();
  if (wrong.empty() == !clock_wrong_) return;
  clock_wrong_ = !wrong.empty();
  clock_wrong_ ? base::Error("audit", "{}", wrong)
               : base::Info("audit", "this host's clock agrees with Postgres's again: records are written");
}

void RecordWriter::MakePartitionsDaily() {
  const std::int64_t today = DayOf(options_.clock->Wall());
  const auto now = std::chrono::steady_clock::now();
  if (today == partitions_day_ || now < partitions_again_) return;
  partitions_again_ = now + kPartitionsPause;
  const auto made = MakePartitions(log_.session());
  if (!made.ok()) {
    return base::Warn("audit",
                      "partitions could not be made, and are tried again in a minute; does something read the audit log for long? {}",
                      base::Message(made.status()));
  }
  partitions_day_ = today;
  WarnOfStrays(*made);
}

void RecordWriter::Stop() {
  if (!open_.empty()) {
    base::Warn("audit", "log {}: {} requests are still open; whoever takes the log over closes them", log_.head().log_id, open_.size());
    return;
  }
  if (const absl::Status clock = CheckClock(options_.clock_check); !clock.ok()) {
    base::Warn("audit", "log {} was left without a STOP record: {}", log_.head().log_id, base::Message(clock));
    return;
  }
  const auto stop = Encode(InstanceRecord(v1::RECORD_KIND_STOP, options_.instance, log_.head().epoch, options_.build), *options_.clock);
  TG_CHECK(stop.ok(), "the journal's own record cannot be stored");
  const EncodedRow* const last[] = {&*stop};
  TimePoint deadline;
  bool home = false;
  {
    base::Lock lock(mu_);
    deadline = give_up_;
    home = home_;
  }
  absl::Status status = CommitSurely(log_, last, log_.head().next_index + 1, deadline).status;
  if (status.ok()) {
    state_.Acknowledged(log_.head().next_index, log_.leaf());
    status = log_.Release(home);
  }
  if (!status.ok()) base::Warn("audit", "log {} was left without a STOP record: {}", log_.head().log_id, base::Message(status));
}

void RecordWriter::Trouble(const absl::Status& status) {
  if (!troubled_) base::Warn("audit", "records cannot be written: {}", base::Message(status));
  troubled_ = true;
  queue_.SetTrouble(false, base::Message(status));
}

void RecordWriter::Well() {
  if (troubled_) base::Info("audit", "records can be written again");
  if (std::exchange(troubled_, false)) queue_.SetTrouble(false, "");
}

void RecordWriter::Lose(const absl::Status& why) {
  {
    base::Lock lock(mu_);
    lost_why_ = base::Message(why);
  }
  lost_ = true;
  base::Error("audit", "{}; this process can record nothing more and must end", base::Message(why));
  queue_.FailAll(LostStatus(why));
}

std::string RecordWriter::lost_why() const {
  base::Lock lock(mu_);
  return lost_why_;
}

}  // namespace tollgate::audit
