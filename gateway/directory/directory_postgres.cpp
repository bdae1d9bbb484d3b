// One thread owns the session and the builder. Each round: read the head; if it is another one, read in one repeatable-read transaction
// the head again and every row with a later version, apply, build, swap; build and swap too where policies have been compiled meanwhile. A
// round that finds nothing new confirms the snapshot that is in force. After an error the session is made anew if it broke, and the next
// round tries again, building included; the snapshot in force is then not confirmed and grows stale. Rows that do not verify are refused
// round after round, so the state mends itself once they are put right.
//
// Tested by tests/gateway/directory/directory_postgres_test.cpp.
#include "gateway/directory/directory_postgres.h"

#include <algorithm>
#include <condition_variable>
#include <optional>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "base/mutex.h"
#include "gateway/directory/row_postgres.h"
#include "gateway/directory/shard.h"
#include "gateway/directory/snapshot_builder.h"

namespace tollgate::directory {

struct PostgresDirectory::Impl {
  Impl(DirectoryOptions options, const base::Clock& clock)
      : options(std::move(options)),
        clock(clock),
        compiler(this->options.compile, [this] { Look(); }),
        builder(this->options.mac_key, &compiler) {}

  const DirectoryOptions options;
  const base::Clock& clock;

  mutable base::Mutex mu;
  std::condition_variable changed;
  std::shared_ptr<const Snapshot> in_force GUARDED_BY(mu);
  base::MonoTime confirmed_at GUARDED_BY(mu);
  absl::Status last GUARDED_BY(mu) = base::Unavailable("directory: not loaded yet");
  bool poked GUARDED_BY(mu) = false;
  bool stopping GUARDED_BY(mu) = false;
  std::int64_t rounds GUARDED_BY(mu) = 0;
  bool settled GUARDED_BY(mu) = false;                  // Since the start requests of all orgs could begin once, or that took too long.
  std::optional<base::MonoTime> loaded GUARDED_BY(mu);  // When the first snapshot came.
  base::Mutex callbacks_mu;
  std::vector<std::function<void(const std::shared_ptr<const Snapshot>&)>> callbacks GUARDED_BY(callbacks_mu);

  PolicyCompiler compiler;  // Its threads call Look: made after what that takes, and ended before.
  // The directory's thread only.
  std::unique_ptr<base::Session> session;
  SnapshotBuilder builder;
  std::thread thread;

  std::size_t Missing() const REQUIRES(mu);  // Orgs of which a policy is missing.
  void Settle() REQUIRES(mu);
  void Look();  // At once, instead of at the next interval.
  void Loop();
  absl::Status Round();
  absl::Status Load();
  void Swap(std::shared_ptr<const Snapshot> snapshot);
};

void PostgresDirectory::Impl::Look() {
  base::Lock lock(mu);
  poked = true;
  changed.notify_all();
}

std::size_t PostgresDirectory::Impl::Missing() const {
  const auto& shards = in_force->shards();
  return static_cast<std::size_t>(std::count_if(shards.begin(), shards.end(), [](const auto& shard) { return shard->policy_missing; }));
}

void PostgresDirectory::Impl::Settle() {
  if (settled || in_force == nullptr) return;
  if (!loaded.has_value()) loaded = clock.Mono();
  const std::size_t missing = Missing();
  settled = missing == 0 || clock.Mono() - *loaded > options.first_policies_max;
  if (settled && missing > 0)
    base::Warn("directory", "policies of {} orgs are still being compiled; this instance is ready, and refuses requests of these orgs",
               missing);
}

void PostgresDirectory::Impl::Loop() {
  while (true) {
    const absl::Status status = Round();
    base::Lock lock(mu);
    if (!status.ok() && (last.ok() || base::Message(last) != base::Message(status))) {
      base::Error("directory", "the snapshot in force cannot be confirmed: {}", base::Message(status));
    } else if (status.ok() && !last.ok() && rounds > 0) {
      base::Info("directory", "the snapshot in force is confirmed again");
    }
    last = status;
    ++rounds;
    Settle();
    changed.notify_all();
    changed.wait_for(lock.native(), options.poll_interval, [this]() REQUIRES(mu) { return poked || stopping; });
    poked = false;
    if (stopping) return;
  }
}

absl::Status PostgresDirectory::Impl::Round() {
  if (session == nullptr || session->broken()) {
    session.reset();
    TG_ASSIGN(session, base::Session::Connect(options.postgres));
  }
  const base::MonoTime asked_at = clock.Mono();
  TG_ASSIGN(const Head head, ReadHead(*session, false));
  // By the whole head: after a failover that lost a change, the next one takes its number. By the snapshot's version too: rows may be taken
  // that no snapshot could be built from yet.
  bool current = builder.head() == head;
  {
    base::Lock lock(mu);
    current = current && in_force != nullptr && in_force->version() == head.version;
  }
  if (!current) TG_RETURN_IF_ERROR(Load());
  if (!current || compiler.HasDone()) {
    TG_ASSIGN(std::shared_ptr<const Snapshot> snapshot, builder.Build(asked_at));
    Swap(std::move(snapshot));
  }
  base::Lock lock(mu);
  confirmed_at = asked_at;
  return absl::OkStatus();
}

absl::Status PostgresDirectory::Impl::Load() {
  static const std::string kIsolate = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
  std::vector<Row> rows;
  Head head;
  const absl::Status read = session->InTransaction("read the directory", [&](base::Session& s) -> absl::Status {
    rows.clear();
    TG_RETURN_IF_ERROR(s.Run("read the directory as of one moment", kIsolate).status());
    TG_ASSIGN(head, ReadHead(s, false));
    for (int table = 0; table < kTables; ++table) {
      TG_ASSIGN(std::vector<Row> some, ReadRows(s, static_cast<Table>(table), "version > $1::int8", {builder.head().version}));
      std::move(some.begin(), some.end(), std::back_inserter(rows));
    }
    return absl::OkStatus();
  });
  TG_RETURN_IF_ERROR(read);
  return builder.Apply(rows, head);
}

void PostgresDirectory::Impl::Swap(std::shared_ptr<const Snapshot> snapshot) {
  base::Lock callbacks_lock(callbacks_mu);  // So that OnChange sees each snapshot once.
  {
    base::Lock lock(mu);
    in_force = snapshot;
    confirmed_at = snapshot->loaded_at();
  }
  for (const auto& callback : callbacks) callback(snapshot);
}

namespace {
absl::Status TooSlow(const DirectoryOptions& options) {
  return base::Unavailable(fmt::format(
      "directory: the database did not give its rows within {} ms: look for what slows Postgres down; where its tables are that "
      "large, allow reads more time (postgres.statement_timeout_ms)",
      options.first_load_max.count()));
}
}  // namespace

PostgresDirectory::PostgresDirectory(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<PostgresDirectory>> PostgresDirectory::Open(DirectoryOptions options, const base::Clock& clock) {
  options.poll_interval = std::clamp(options.poll_interval, std::chrono::milliseconds(10), std::chrono::milliseconds(250));
  if (options.first_load_max.count() == 0)
    options.first_load_max = std::max(std::chrono::milliseconds(10'000), 3 * options.postgres.statement_timeout);
  auto impl = std::make_unique<Impl>(std::move(options), clock);
  Impl& i = *impl;
  i.thread = std::thread([&i] { i.Loop(); });
  std::unique_ptr<PostgresDirectory> directory(new PostgresDirectory(std::move(impl)));
  base::Lock lock(i.mu);
  // A cause that waiting cannot mend ends the start at once.
  const auto settled = [&i]() REQUIRES(i.mu) {
    return i.in_force != nullptr ? !i.in_force->compiling() : i.rounds > 0 && !i.last.ok() && !absl::IsUnavailable(i.last);
  };
  i.changed.wait_for(lock.native(), i.options.first_load_max, settled);
  if (i.in_force == nullptr) {
    const absl::Status why = i.rounds > 0 ? i.last : TooSlow(i.options);
    lock.native().unlock();  // The destructor takes it.
    directory.reset();
    return why;
  }
  if (const std::size_t missing = i.Missing(); missing > 0)
    base::Warn("directory", "policies of {} orgs are still being compiled; requests of these orgs are refused until they are", missing);
  return directory;
}

PostgresDirectory::~PostgresDirectory() {
  {
    base::Lock lock(impl_->mu);
    impl_->stopping = true;
    impl_->changed.notify_all();
  }
  impl_->thread.join();
}

absl::StatusOr<std::shared_ptr<const Snapshot>> PostgresDirectory::InForce() const {
  base::Lock lock(impl_->mu);
  if (impl_->in_force != nullptr && impl_->clock.Mono() - impl_->confirmed_at <= impl_->options.stale_max) return impl_->in_force;
  base::ErrorDetail detail;
  detail.reason = "DIRECTORY_STALE";
  detail.retry_after_ms = 2000;
  const bool bad = !impl_->last.ok() && !absl::IsUnavailable(impl_->last);
  const std::string_view why = bad ? "what the database holds does not verify; an operator must look at the diagnostics of this instance"
                                   : "its database cannot be reached; ask the operator to check Postgres";
  return base::WithDetail(base::Unavailable(fmt::format(
                              "the directory of keys and policies cannot be confirmed: {}; nothing was routed, try again in 2 s", why)),
                          detail);
}

void PostgresDirectory::OnChange(std::function<void(const std::shared_ptr<const Snapshot>&)> callback) {
  base::Lock callbacks_lock(impl_->callbacks_mu);
  std::shared_ptr<const Snapshot> present;
  {
    base::Lock lock(impl_->mu);
    present = impl_->in_force;
  }
  callback(present);
  impl_->callbacks.push_back(std::move(callback));
}

void PostgresDirectory::Poke() { impl_->Look(); }

absl::Status PostgresDirectory::WaitFor(std::int64_t version, std::chrono::milliseconds at_most) {
  Poke();
  base::Lock lock(impl_->mu);
  const bool there = impl_->changed.wait_for(
      lock.native(), at_most, [&]() REQUIRES(impl_->mu) { return impl_->in_force != nullptr && impl_->in_force->Has(version); });
  if (there) return absl::OkStatus();
  return base::DeadlineExceeded("the change is stored, but this instance has not taken it up yet");
}

absl::Status PostgresDirectory::health() const {
  base::Lock lock(impl_->mu);
  return impl_->last;
}

std::size_t PostgresDirectory::AwaitedFirst() const {
  base::Lock lock(impl_->mu);
  return impl_->settled || impl_->in_force == nullptr ? 0 : impl_->Missing();
}

std::chrono::milliseconds PostgresDirectory::age() const {
  base::Lock lock(impl_->mu);
  return std::chrono::duration_cast<std::chrono::milliseconds>(impl_->clock.Mono() - impl_->confirmed_at);
}

}  // namespace tollgate::directory
