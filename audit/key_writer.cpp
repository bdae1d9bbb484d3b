// The keys of one batch of records are one commit here, made while the records are committed: alone each key would cost as much.
// ON CONFLICT DO NOTHING makes repetition harmless, so what is in doubt is sent again. Keys whose callers have given up are dropped before
// each attempt; a key that is stored without its record opens nothing and harms nothing. The database is looked at by storing no key at
// all: that takes the connection, the right and the lock that a key takes. What a failover loses is the end of what was committed, so it is
// enough to ask for the last keys that were told as stored, with each new connection.
//
// The keys of the day in memory may be of a server that is gone, or were destroyed: with the first key under such a one that a session
// stores the statement looks for its row, compared byte by byte, for its number may have been given again, and passes over what has none.
// Later ones need no look: what a session has found committed lies in the WAL before all that it commits, and no failover loses the one
// without the other; and as a day's key is read again while it is used (day_keys.h), it is looked for again too. Where fewer rows came than
// were sent it is asked which are there, in a transaction that writes: where nothing is written Postgres waits for no standby, and what an
// earlier attempt left behind, in doubt, might be on this server alone.
// Tested by tests/audit/journal_faults_test.cpp and tests/audit/keys_binding_test.cpp.
#include "audit/key_writer.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "audit/binary_array.h"
#include "audit/ownership.h"
#include "base/diagnostics.h"

namespace tollgate::audit {
namespace {

constexpr std::size_t kBatch = 512;
constexpr std::chrono::milliseconds kLookWhileTroubled{500};  // At most: who waits to be served again waits for this.
constexpr std::chrono::seconds kQuiet{10};                    // Between warnings of keys of the day that are not there.

base::Value Wrapped(const std::vector<PendingPtr>& group) {
  BinaryArray wrapped("bytea", 64 * group.size());
  for (const PendingPtr& pending : group) {
    pending->key->day == nullptr ? wrapped.Null() : wrapped.Bytes(pending->key->day->wrapped);
  }
  return wrapped.Take();
}

std::uint64_t NextSession() {  // Of all writers there are.
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

}  // namespace

absl::StatusOr<std::unique_ptr<KeyWriter>> KeyWriter::Start(base::PostgresOptions postgres, std::chrono::milliseconds look_every,
                                                            JournalQueue& queue) {
  std::unique_ptr<KeyWriter> writer(new KeyWriter(std::move(postgres), look_every, queue));
  TG_ASSIGN(writer->session_, base::Session::Connect(writer->postgres_));
  writer->session_number_ = NextSession();
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
  std::vector<PendingPtr> none;
  const absl::Status status = Insert(none, none);
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
    std::vector<PendingPtr> left_out;
    const absl::Status status = Insert(group, left_out);
    const bool passing = absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsUnknown(status) ||
                         absl::IsDeadlineExceeded(status) || absl::IsDataLoss(status);
    if (status.ok() || !passing) {
      if (!left_out.empty()) Refuse(left_out);
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

void KeyWriter::Refuse(const std::vector<PendingPtr>& left_out) {
  for (const PendingPtr& pending : left_out) {
    if (pending->key->day != nullptr) pending->key->day->gone = true;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now >= quiet_until_) {
    base::Warn(
        "audit",
        "the keys database lacks keys of the day that {} requests were sealed under: they were destroyed, or lost, as by a failover to "
        "a standby that was behind; these requests are refused, and what was not destroyed is made anew",
        left_out.size());
    quiet_until_ = now + kQuiet;
  }
  queue_.KeysStored(left_out, Refusal(v1::RECORD_KIND_REQUEST, "the keys database lacks the team's key of the day"));
}

void KeyWriter::Remember(const std::vector<PendingPtr>& group) {
  if (group.empty()) return;
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
  session_number_ = NextSession();
  return absl::OkStatus();
}

absl::Status KeyWriter::Insert(std::vector<PendingPtr>& group, std::vector<PendingPtr>& left_out) {
  static const std::string kSeen =
      "INSERT INTO keys.request (request_id, tenant_day, salt, subject) "
      "SELECT * FROM unnest($1::uuid[], $2::int4[], $3::bytea[], $4::bytea[]) ON CONFLICT DO NOTHING";
  static const std::string kLook =
      "INSERT INTO keys.request (request_id, tenant_day, salt, subject) SELECT g.id, g.day, g.salt, g.subject "
      "FROM unnest($1::uuid[], $2::int4[], $3::bytea[], $4::bytea[], $5::bytea[]) g (id, day, salt, subject, wrapped) "
      "WHERE (SELECT d.wrapped FROM keys.tenant_day d WHERE d.number = g.day) = g.wrapped ON CONFLICT DO NOTHING";
  TG_RETURN_IF_ERROR(Attach());
  BinaryArray requests("uuid", 20 * group.size()), days("int4", 8 * group.size()), salts("bytea", 36 * group.size()),
      subjects("bytea", 36 * group.size());
  bool seen = true;
  for (const PendingPtr& pending : group) {
    const KeyRow& key = *pending->key;
    requests.Id(key.request.value);
    days.Int(key.tenant_day);
    salts.Bytes(key.salt);
    key.subject.empty() ? subjects.Null() : subjects.Bytes(key.subject);
    seen = seen && key.day != nullptr && key.day->seen_by == session_number_;
  }
  base::Params params = {requests.Take(), days.Take(), salts.Take(), subjects.Take()};
  if (!seen) params.push_back(Wrapped(group));
  TG_ASSIGN(const base::Rows stored, session_->Run("store keys", seen ? kSeen : kLook, params));
  if (stored.affected() < static_cast<std::int64_t>(group.size())) return SortOut(group, left_out);
  if (!seen) {
    for (const PendingPtr& pending : group) pending->key->day->seen_by = session_number_;
  }
  return absl::OkStatus();
}

absl::Status KeyWriter::SortOut(std::vector<PendingPtr>& group, std::vector<PendingPtr>& left_out) {
  static const std::string kThere =
      "SELECT EXISTS (SELECT FROM keys.request r WHERE r.request_id = g.id) FROM unnest($1::uuid[]) WITH ORDINALITY g (id, at) ORDER BY "
      "g.at";
  static const std::string kWrite = "SELECT pg_logical_emit_message(true, 'tollgate', ''::text)";
  BinaryArray requests("uuid", 20 * group.size());
  for (const PendingPtr& pending : group) requests.Id(pending->key->request.value);
  const base::Value ids = requests.Take();
  base::Rows there;
  TG_RETURN_IF_ERROR(session_->InTransaction("look which keys are stored", [&](base::Session& in) -> absl::Status {
    TG_ASSIGN(there, in.Run("look which keys are stored", kThere, {ids}));
    return in.Run("wait for standbys", kWrite).status();
  }));
  std::vector<PendingPtr> stored;
  for (std::size_t i = 0; i < group.size(); ++i) (there.Bool(i, 0) ? stored : left_out).push_back(std::move(group[i]));
  group = std::move(stored);
  return absl::OkStatus();
}

}  // namespace tollgate::audit
