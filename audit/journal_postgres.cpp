// Seven threads share the work: whoever appends serialises; the writer (record_writer.h) commits; the key writer (key_writer.h) stores
// wrapped keys at the same time; a watch answers what is overdue, because the writer may be waiting on a server that does not answer; the
// adopter (adopter.h) looks after logs of the dead, and whether any log went back; the teller (teller.h) tells, after the start, what this
// log's earlier owners held; the state directory (state_dir.h) flushes what was acknowledged. They meet in the queue (journal_queue.h).
// Tested by tests/audit/journal_postgres_test.cpp and tests/audit/journal_faults_test.cpp.
#include "audit/journal_postgres.h"

#include <fmt/format.h>

#include "audit/adopter.h"
#include "audit/journal_queue.h"
#include "audit/key_chain.h"
#include "audit/key_writer.h"
#include "audit/keys_binding.h"
#include "audit/losses.h"
#include "audit/ownership.h"
#include "audit/record_writer.h"
#include "audit/state_dir.h"
#include "audit/teller.h"
#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

constexpr std::chrono::milliseconds kWatchTick{10};
constexpr std::chrono::milliseconds kSilenceMax{1000};
constexpr std::chrono::seconds kTakeoverTime{60};
constexpr std::chrono::seconds kMissedTime{1};
constexpr const char* kNoLeafKept =
    "journal.state is of a version from before, which kept no hash of the record that was acknowledged last: that the database has as many "
    "records is seen, not that they are these; from now on it is kept";
constexpr std::chrono::seconds kPartitionsPatience{2};  // Where one is missing that will be wanted at once.

base::PostgresOptions SessionOptions(const JournalOptions& options, const std::string& url, const std::string& role, const char* name) {
  base::PostgresOptions postgres;
  postgres.url = url;
  postgres.role = role;
  postgres.application_name = name;
  postgres.statement_timeout = options.statement_timeout;
  postgres.connect_timeout = options.connect_timeout;
  postgres.lock_timeout = options.lock_timeout;
  return postgres;
}

class Opened final : public PostgresJournal {
 public:
  explicit Opened(JournalOptions options)
      : options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : base::SystemClock()),
        clock_check_(clock_),
        queue_({options_.queue_rows_max, options_.queue_bytes_max}) {}
  ~Opened() override { Stop(true); }

  absl::Status Start();
  void Append(Entry entry, std::chrono::steady_clock::time_point deadline, Done done) override;
  Health health() const override;
  void Stop(bool home) override;
  base::InstanceId instance() const override { return state_->instance(); }
  std::int32_t log_id() const override { return log_id_; }
  std::int64_t epoch() const override { return epoch_; }
  JournalStats stats() const override;

 private:
  absl::Status StartPartitions(base::Session& session);
  absl::StatusOr<Claim> ClaimLog(base::Session& session);
  TakeoverOptions Takeover(const base::PostgresOptions& postgres);
  v1::Record LossRecord(const char* action, const std::string& summary) const;
  absl::Status RecordMissed(const std::string& what);
  void StartTeller(const Claim& claim, const base::PostgresOptions& postgres);
  void StartThreads(LogWriter log, const base::PostgresOptions& postgres);

  const JournalOptions options_;
  const base::Clock& clock_;
  ClockCheck clock_check_;
  JournalQueue queue_;
  std::unique_ptr<StateDir> state_;
  std::int32_t log_id_ = 0;
  std::int64_t epoch_ = 0;
  std::int64_t recovered_ = 0;
  std::optional<std::string> lost_;  // Which acknowledged records the database has lost, as was accepted.
  std::unique_ptr<KeyWriter> keys_;
  std::unique_ptr<RecordWriter> writer_;
  std::unique_ptr<Adopter> adopter_;
  std::unique_ptr<Teller> teller_;
  std::thread watch_;
  bool partitions_made_ = true;
  bool stopped_ = false;
};

absl::Status Opened::StartPartitions(base::Session& session) {
  if (const auto wanted = LocksWanted(session); wanted.ok()) WarnOfLocks(*wanted);
  auto made = MakePartitions(session);
  bool enough = true;
  if (!made.ok()) {
    TG_ASSIGN(enough, HasPartitions(session));
    if (!enough) made = MakePartitions(session, kPartitionsPatience);
  }
  if (made.ok()) {
    WarnOfStrays(*made);
    return absl::OkStatus();
  }
  if (!enough)
    return base::Annotate(made.status(), "there is no partition for today or tomorrow; does something read the audit log for long?");
  base::Warn("audit", "partitions for the days to come could not be made; they are tried again: {}", base::Message(made.status()));
  partitions_made_ = false;
  return absl::OkStatus();
}

absl::StatusOr<Claim> Opened::ClaimLog(base::Session& session) {
  if (const auto log = state_->log_id()) {
    const Told told{
        *log, state_->acknowledged(), state_->leaf(), state_->instance(), state_->epoch(), state_->since(), state_->written_day()};
    if (told.size > 0 && !told.leaf) base::Warn("audit", "{}", kNoLeafKept);
    TG_ASSIGN(const Kept kept, RecordsKept(session, told));
    if (kept.records < told.size) {
      TG_ASSIGN(const AcceptedLoss accepted, ReadAcceptedLoss(session, told.owner, *log, state_->accepted_us()));
      if (!accepted.covers && !options_.accept_lost_records) return RecordsLost(told, kept);
      lost_ = LostRecordsOf(told, kept);
      base::Warn("audit", "{}, as was accepted", *lost_);
    }
    TG_ASSIGN(const auto claim, TakeBack(session, *log, state_->instance(), options_.claim));
    if (claim) return *claim;
    base::Warn("audit", "log {} has another owner by now: taking another one", *log);
  }
  return TakeFree(session, state_->instance(), options_.claim, options_.adopt);
}

// Without it the state knows the log by its size alone, until START is there.
std::optional<base::Digest> LastLeaf(base::Session& session, const Head& head, std::int64_t now_us) {
  if (head.next_index == 0) return std::nullopt;
  const auto leaf = LeafAt(session, head.log_id, head.next_index - 1, DayOf(base::FromMicros(now_us)));
  return leaf.ok() ? *leaf : std::nullopt;
}

TakeoverOptions Opened::Takeover(const base::PostgresOptions& postgres) {
  TakeoverOptions takeover;
  takeover.postgres = postgres;
  takeover.claim = options_.claim;
  takeover.deadline = std::chrono::steady_clock::now() + kTakeoverTime;
  takeover.instance = state_->instance();
  takeover.build = options_.build;
  takeover.callbacks = &options_.recovery;
  takeover.clock = &clock_;
  takeover.clock_check = &clock_check_;
  return takeover;
}

v1::Record Opened::LossRecord(const char* action, const std::string& summary) const {
  v1::Record record;
  record.set_kind(v1::RECORD_KIND_ADMIN);
  record.mutable_admin()->set_actor("instance:" + state_->instance().ToString());
  record.mutable_admin()->set_action(action);
  record.mutable_admin()->set_summary(summary);
  return record;
}

// What another log was seen to lose.
absl::Status Opened::RecordMissed(const std::string& what) {
  Entry entry;
  entry.record = LossRecord("records.missed", what);
  return AppendAndWait(*this, std::move(entry), std::chrono::steady_clock::now() + kMissedTime).status();
}

absl::Status Opened::Start() {
  TG_ASSIGN(state_, StateDir::Open(options_.state_dir));
  const auto postgres = SessionOptions(options_, options_.postgres_url, options_.role, "tollgate journal");
  std::string cluster;
  std::optional<Claim> claim;
  std::int64_t accepted_us = 0;
  std::optional<base::Digest> leaf;
  {
    TG_ASSIGN(const auto session, base::Session::Connect(postgres));
    TG_RETURN_IF_ERROR(CheckDatabase(*session));
    WarnOfFailover(*session, "records");
    TG_ASSIGN(const std::int64_t now, PostgresTime(*session));
    clock_check_.Saw(now);
    TG_RETURN_IF_ERROR(CheckClock(&clock_check_));
    TG_RETURN_IF_ERROR(StartPartitions(*session));
    if (auto id = SystemIdentifier(*session); id.ok()) cluster = *id;
    if (!options_.keys_url.empty()) {
      const auto keys = SessionOptions(options_, options_.keys_url, options_.keys_role, "tollgate journal keys");
      TG_ASSIGN(keys_, KeyWriter::Start(keys, options_.claim / 4, queue_));
      TG_ASSIGN(const auto look, base::Session::Connect(keys));
      TG_RETURN_IF_ERROR(CheckNewestKeys(*session, *look, state_->log_id().value_or(0)));
      WarnOfFailover(*look, "keys");
      if (!cluster.empty() && cluster == keys_->system_identifier()) {
        base::Warn("audit",
                   "records and keys lie in one Postgres cluster: its backups will outlive an erasure; give keys a cluster of its own in "
                   "production");
      }
    }
    TG_ASSIGN(const AcceptedLoss known, ReadAcceptedLoss(*session, state_->instance(), 0, 0));
    accepted_us = known.last_us;
    TG_ASSIGN(claim, ClaimLog(*session));
    leaf = LastLeaf(*session, claim->head, now);
  }
  log_id_ = claim->head.log_id;
  epoch_ = claim->head.epoch;
  // What is lost is put on record first: until then the state says that it is missing.
  if (!lost_) TG_RETURN_IF_ERROR(state_->SetLog(log_id_, claim->head.next_index, epoch_, accepted_us, leaf));
  LogWriter log(postgres, options_.claim, claim->head, &clock_check_, state_->instance());
  TakeoverOptions takeover = Takeover(postgres);
  if (lost_) takeover.also = LossRecord("records.lost", *lost_);
  TG_ASSIGN(recovered_, TakeOver(log, *claim, takeover));
  if (lost_) TG_RETURN_IF_ERROR(state_->SetLog(log_id_, claim->head.next_index, epoch_, accepted_us, leaf));
  state_->Acknowledged(log.head().next_index, log.leaf());
  state_->KeepDurable();
  if (recovered_ > 0) base::Info("audit", "log {}: {} requests that were left open are closed", log_id_, recovered_);
  StartThreads(std::move(log), postgres);
  StartTeller(*claim, postgres);
  return absl::OkStatus();
}

void Opened::StartTeller(const Claim& claim, const base::PostgresOptions& postgres) {
  Teller::Options teller;
  teller.taken = options_.recovery.taken;
  teller.dead = DeadOf(claim);
  // What this instance itself held beside a log that it has lost.
  if (claim.previous != state_->instance()) teller.dead.push_back({state_->instance(), epoch_});
  teller.head = claim.head;
  teller.owed = claim.owed.has_value();
  teller.tells = options_.adopt || options_.recovery.taken != nullptr;
  teller.postgres = postgres;
  teller_ = std::make_unique<Teller>(std::move(teller));
}

void Opened::StartThreads(LogWriter log, const base::PostgresOptions& postgres) {
  RecordWriter::Options writer;
  writer.rows_max = options_.batch_rows_max;
  writer.bytes_max = options_.batch_bytes_max;
  writer.renew_every = options_.claim / 4;
  writer.instance = state_->instance();
  writer.build = options_.build;
  writer.settle = options_.recovery.settle;
  writer.clock = &clock_;
  writer.clock_check = &clock_check_;
  writer.partitions_made = partitions_made_;
  writer_ = std::make_unique<RecordWriter>(std::move(writer), std::move(log), queue_, *state_, keys_.get());
  watch_ = std::thread([this] {
    while (queue_.Expire(kWatchTick)) {
    }
  });
  if (!options_.adopt) return;
  Adopter::Options adopter;
  adopter.takeover = Takeover(postgres);
  adopter.own_log = log_id_;
  adopter.missed = [this](const std::string& what) { return RecordMissed(what); };
  adopter.poll = options_.adopt_poll;
  adopter.patience = options_.adopt_patience;
  adopter_ = std::make_unique<Adopter>(std::move(adopter));
}

void Opened::Append(Entry entry, std::chrono::steady_clock::time_point deadline, Done done) {
  auto pending = std::make_shared<Pending>();
  pending->key = std::move(entry.key);
  if (pending->key && pending->key->subject.empty()) pending->key->subject = entry.record.end_user_hmac();
  if (pending->key && keys_ == nullptr)
    return done(base::InvalidArgument("record: it carries a key, but the journal has no keys database"));
  auto row = Encode(std::move(entry), clock_);
  if (!row.ok()) return done(row.status());
  pending->row = *std::move(row);
  pending->bytes = pending->row.bytes();
  pending->enqueued = std::chrono::steady_clock::now();
  pending->deadline = AlwaysWritten(pending->row.kind) ? deadline : std::min(deadline, pending->enqueued + options_.queue_age_max);
  pending->done = std::move(done);
  // What ends a request that is on record is written all the same, with the time that its usage has.
  const std::string wrong = AlwaysWritten(pending->row.kind) ? "" : clock_check_.Wrong();
  if (!wrong.empty()) return queue_.Fail(pending, Refusal(pending->row.kind, wrong));
  queue_.Add(pending);
}

Health Opened::health() const {
  if (writer_->lost()) return {Health::State::kLost, writer_->lost_why()};
  if (std::string wrong = clock_check_.Wrong(); !wrong.empty()) return {Health::State::kRefusing, std::move(wrong)};
  if (std::string trouble = queue_.trouble(); !trouble.empty()) return {Health::State::kRefusing, std::move(trouble)};
  if (const auto silence = writer_->silence(); silence > kSilenceMax) {
    return {Health::State::kRefusing, fmt::format("Postgres has not answered for {} ms", silence.count())};
  }
  return {};
}

void Opened::Stop(bool home) {
  if (std::exchange(stopped_, true)) return;
  // Nothing is destroyed here: others may still be appending or reading figures.
  if (adopter_ != nullptr) adopter_->Stop();
  if (teller_ != nullptr) teller_->Stop();
  const auto deadline = std::chrono::steady_clock::now() + options_.stop_timeout;
  if (writer_ != nullptr) writer_->Finish(deadline, home && teller_ != nullptr && teller_->told());
  queue_.FailAll(base::Unavailable("this instance has shut down: nothing more is recorded here; try another"));
  queue_.Stop();
  if (watch_.joinable()) watch_.join();
  if (keys_ != nullptr) keys_->Stop();
}

JournalStats Opened::stats() const {
  JournalStats out;
  const WriterCounters& writer = writer_->counters();
  out.rows = writer.rows;
  out.batches = writer.batches;
  out.commit_us = writer.commit_us;
  out.quarantined = writer.quarantined;
  out.reconnects = writer.reconnects;
  out.in_doubt = writer.in_doubt;
  out.open_requests = writer.open_requests;
  out.adopted_logs = adopter_ != nullptr ? adopter_->adopted_logs() : 0;
  out.recovered_requests = recovered_ + (adopter_ != nullptr ? adopter_->recovered_requests() : 0);
  const auto counts = queue_.counts();
  out.queue_rows = counts.rows;
  out.queue_bytes = counts.bytes;
  out.refused = counts.refused;
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PostgresJournal>> PostgresJournal::Open(JournalOptions options) {
  if (options.adopt && !options.recovery.settle) {
    return base::FailedPrecondition(
        "audit journal: who adopts others' logs must be able to bill what they left open: set recovery.settle, or adopt to false");
  }
  auto journal = std::make_unique<Opened>(std::move(options));
  TG_RETURN_IF_ERROR(base::Annotate(journal->Start(), "audit journal"));
  return journal;
}

}  // namespace tollgate::audit
