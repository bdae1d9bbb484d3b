// The keys of one batch of records are one commit here, made while the records are committed: alone each key would cost as much.
// ON CONFLICT DO NOTHING makes repetition harmless, so what is in doubt is sent again. Keys whose callers have given up are dropped before
// each attempt; a key that is stored without its record opens nothing and harms nothing. The database is looked at by storing no key at
// all: that takes the connection, the right and the lock that a key takes. What a failover loses is the end of what was committed, so it is
// enough to ask for the last keys that were told as stored, with each new connection. Tested by tests/audit/journal_faults_test.cpp.
#include "audit/key_writer.h"

#include <algorithm>
#include <utility>

#include "audit/binary_array.h"
#include "audit/ownership.h"
#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

constexpr std::size_t kBatch = 512;
constexpr std::chrono::milliseconds kLookWhileTroubled{500};  // At most: who waits to be served again waits for this.

}  // namespace

absl::StatusOr<std::unique_ptr<KeyWriter>> KeyWriter::Start(base::PostgresOptions postgres, std::chrono::milliseconds look_every,
                                                            JournalQueue& queue) {
  std::unique_ptr<KeyWriter> writer(new KeyWriter(std::move(postgres), look_every, queue));
  TG_ASSIGN(writer->session_, base::Session::Connect(writer->postgres_));
  TG_ASSIGN(const auto schema, writer->session_->Run("look for the keys schema", "SELECT to_regclass('keys.request') IS NOT NULL"));
  if (!schema.Bool(0, 0)) return base::FailedPrecondition("the keys database has no keys schema: run `tollgate migrate`");
  TG_RETURN_IF_ERROR(base::Annotate(CheckDurable(*writer->session_), "the keys database"));
  if (auto id = SystemIdentifier(*writer->session_); id.ok()) writer->system_identifier_ = *id;
  writer->thread_ = std::thread([w = writer.get()] { w->Run(); });
  return writer;
}

KeyWriter::~KeyWriter() { Stop(); }

void KeyWriter::Stop() {
  {
    base::Lock lock(mu_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void KeyWriter::Add(std::span<const PendingPtr> group) {
  bool waits = false;
  {
    base::Lock lock(mu_);
    if (stopping_) return;
    for (const PendingPtr& pending : group) {
      if (pending->key) waiting_.push_back(pending);
    }
    waits = !waiting_.empty();
  }
  if (waits) changed_.notify_one();
}

bool KeyWriter::Pause(std::chrono::milliseconds time) {
  base::Lock lock(mu_);
  return !changed_.wait_for(lock.native(), time, [this]() REQUIRES(mu_) { return stopping_; });
}

void KeyWriter::Run() {
  while (true) {
    std::vector<PendingPtr> group;
    {
      base::Lock lock(mu_);
      changed_.wait_for(lock.native(), troubled_ ? std::min(look_every_, kLookWhileTroubled) : look_every_,
                        [this]() REQUIRES(mu_) { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(waiting_.size(), kBatch));
      group.assign(waiting_.begin(), end);
      waiting_.erase(waiting_.begin(), end);
    }
    group.empty() ? Look() : Store(group);
  }
}

void KeyWriter::Look() {
  const absl::Status status = Insert({});
  status.ok() ? Answered() : Troubled(status);
}

void KeyWriter::Troubled(const absl::Status& status) {
  if (!std::exchange(troubled_, true)) base::Warn("audit", "the keys database: {}", base::Message(status));
  queue_.SetTrouble(true, "the keys database: " + base::Message(status));
}

void KeyWriter::Answered() {
  if (!std::exchange(troubled_, false)) return;
  base::Info("audit", "the keys database answers again");
  queue_.SetTrouble(true, "");
}

void KeyWriter::Store(std::vector<PendingPtr>& group) {
  std::chrono::milliseconds pause{50};
  while (true) {
    queue_.DropUnwanted(group);
    if (group.empty()) return;  // It is no better for that: the next key tells, or the next look.
    const absl::Status status = Insert(group);
    const bool passing = absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsUnknown(status) ||
                         absl::IsDeadlineExceeded(status) || absl::IsDataLoss(status);
    if (status.ok() || !passing) {
      if (status.ok()) Remember(group);
      queue_.KeysStored(group, status.ok() ? status : Refusal(v1::RECORD_KIND_REQUEST, "the keys database refuses the request's key"));
      if (status.ok()) return Answered();
      return base::Error("audit", "keys were refused: {}", base::Message(status));
    }
    Troubled(status);
    if (!Pause(pause)) return;
    pause = std::min(2 * pause, std::chrono::milliseconds(1000));
  }
}

void KeyWriter::Remember(const std::vector<PendingPtr>& group) {
  last_.clear();
  for (const PendingPtr& pending : group) last_.push_back({pending->key->request.ToString(), pending->row.wall_us});
}

absl::Status KeyWriter::Attach() {
  if (session_ != nullptr && !session_->broken()) return absl::OkStatus();
  session_.reset();
  TG_ASSIGN(auto fresh, base::Session::Connect(postgres_));
  if (const absl::Status durable = CheckDurable(*fresh); !durable.ok()) return base::Unavailable(base::Message(durable));
  TG_RETURN_IF_ERROR(CheckStoredKeys(*fresh, last_));
  session_ = std::move(fresh);
  return absl::OkStatus();
}

absl::Status KeyWriter::Insert(const std::vector<PendingPtr>& group) {
  static const std::string kSql =
      "INSERT INTO keys.request (request_id, tenant_day, salt, subject) "
      "SELECT * FROM unnest($1::uuid[], $2::int4[], $3::bytea[], $4::bytea[]) ON CONFLICT DO NOTHING";
  TG_RETURN_IF_ERROR(Attach());
  BinaryArray requests("uuid", 20 * group.size()), days("int4", 8 * group.size()), salts("bytea", 36 * group.size()),
      subjects("bytea", 36 * group.size());
  for (const PendingPtr& pending : group) {
    const KeyRow& key = *pending->key;
    requests.Id(key.request.value);
    days.Int(key.tenant_day);
    salts.Bytes(key.salt);
    key.subject.empty() ? subjects.Null() : subjects.Bytes(key.subject);
  }
  return session_->Run("store keys", kSql, {requests.Take(), days.Take(), salts.Take(), subjects.Take()}).status();
}

}  // namespace tollgate::audit
