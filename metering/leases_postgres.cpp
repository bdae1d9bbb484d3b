// One thread takes exchanges from a queue, one after the other, and runs each as one call of metering.exchange. The holder's row counts
// them: after a broken connection the same exchange is sent again with the same number, and the database either does it now or says how
// things stand because it had been done. An exchange that could not be told within its time is sent again, empty, under its number before
// the next one, which settles whether it happened; the next answers are absolute, so nothing else needs to be known.
//
// An instance that is told of another owner spends nothing more until it is restarted. So only the database's own word for that is taken
// for it: open_holder's false, or exchange's SQLSTATE. Whatever else goes wrong may pass, as a database that takes no connections for a
// while.
//
// The thread also forgets balances of windows long over, in steps that take some milliseconds: one between two exchanges, and one after the
// other while none is asked for, until nothing is left.
//
// Tested by tests/metering/leases_postgres_test.cpp, tests/metering/leases_upkeep_test.cpp and tests/metering/recount_test.cpp.
#include "metering/leases_postgres.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/mutex.h"

namespace tollgate::metering {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds kRetry{50};
constexpr milliseconds kStopStep{50};
constexpr std::chrono::seconds kStopPatience{3};
constexpr std::chrono::minutes kPruneEvery{1};
constexpr milliseconds kPruneAgain{100};           // While something is left.
constexpr std::int64_t kPruneRows = 2'000;         // At a time, or what is done in 10 ms.
constexpr std::string_view kOtherOwner = "TG001";  // Raised by metering.exchange.

const std::string kOpen = "SELECT metering.open_holder($1::uuid, $2::int8, $3::uuid)";
const std::string kExchange =
    "SELECT ord, granted, debited, number FROM metering.exchange($1::uuid, $2::int8, $3::uuid, $4::int8, $5::uuid[], $6::int2[], "
    "$7::int8[], "
    "$8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::bool[])";
const std::string kReturn = "SELECT quota_id, granted, used FROM metering.return_leases($1::uuid, $2::int8)";
const std::string kPrune = "SELECT next_end, next_quota FROM metering.prune($1::int4, '10 ms', $2::int8, $3::uuid)";

base::Params ParamsOf(const Holder& holder, const std::string& life, std::int64_t seq, const std::vector<LeaseAsk>& asks) {
  std::vector<base::Value> columns[9];
  for (const LeaseAsk& ask : asks) {
    int c = 0;
    columns[c++].emplace_back(ask.quota.ToString());
    columns[c++].emplace_back(std::int64_t{ask.meter == Meter::kTokens ? 1 : 0});
    columns[c++].emplace_back(base::ToMicros(ask.window.start));
    columns[c++].emplace_back(base::ToMicros(ask.window.end));
    for (const std::int64_t n : {ask.amount, ask.need, ask.want, ask.give}) columns[c++].emplace_back(n);
    columns[c++].emplace_back(std::string(ask.close ? "t" : "f"));
  }
  base::Params params{holder.instance.ToString(), holder.epoch, life, seq};
  for (const auto& column : columns) params.push_back(base::ArrayOf(column));
  return params;
}

absl::Status OtherOwner() {
  return base::FailedPrecondition("the leases of this instance have another owner; it must restart to take a new epoch");
}

// What went wrong in the database, as Leases tells it.
template <typename T>
absl::StatusOr<T> Told(absl::StatusOr<T> answer) {
  if (answer.ok()) return answer;
  if (base::SqlStateOf(answer.status()) == kOtherOwner) return OtherOwner();
  return base::Unavailable(base::Message(answer.status()));
}

absl::StatusOr<LeaseReply> ReplyOf(const base::Rows& rows, std::size_t asks, base::MonoTime before, base::MonoTime after) {
  if (rows.size() != asks + 1) return base::Internal("the lease exchange answered another number of rows than was asked");
  LeaseReply reply;
  reply.leases.resize(asks);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const std::int64_t ord = rows.Int(r, 0);
    if (ord == 0) {
      reply.database_time = base::FromMicros(rows.Int(r, 1));
      reply.holders = static_cast<int>(std::max<std::int64_t>(rows.Int(r, 2), 1));
    } else {
      reply.leases.at(static_cast<std::size_t>(ord) - 1) = {rows.Int(r, 1), rows.Int(r, 2), static_cast<std::int32_t>(rows.Int(r, 3))};
    }
  }
  reply.taken_at = before + (after - before) / 2;
  return reply;
}

}  // namespace

struct PostgresLeases::Impl {
  struct Job {
    std::vector<LeaseAsk> asks;
    Done done;
    std::chrono::steady_clock::time_point deadline;
  };

  Impl(const base::Clock& c, PostgresLeasesOptions o) : clock(c), options(std::move(o)), thread([this] { Loop(); }) {}

  void Loop();
  void Serve(Job job, bool stop);
  absl::StatusOr<LeaseReply> Run(const Job& job);
  absl::StatusOr<LeaseReply> Once(std::int64_t number, const std::vector<LeaseAsk>& asks);
  absl::Status Connect();
  void PruneIfDue();
  bool PauseUntil(std::chrono::steady_clock::time_point deadline);

  const base::Clock& clock;
  const PostgresLeasesOptions options;
  const std::string life = base::Uuid::NewV7().ToString();

  std::unique_ptr<base::Session> session;  // These six: the thread only.
  std::int64_t seq = 0;                    // Of the last exchange that is known to be done.
  bool unresolved = false;                 // seq + 1 was sent, and perhaps done.
  bool was_ok = true;
  std::chrono::steady_clock::time_point next_prune{};
  std::optional<std::pair<std::int64_t, std::string>> prune_from;  // Something is left, behind the balance of this end and quota.

  base::Mutex mu;
  std::deque<Job> jobs GUARDED_BY(mu);
  bool stopping GUARDED_BY(mu) = false;
  std::condition_variable changed;
  std::thread thread;  // Last: it uses the others.
};

absl::Status PostgresLeases::Impl::Connect() {
  if (session != nullptr && !session->broken()) return absl::OkStatus();
  session.reset();
  TG_ASSIGN(auto fresh, Told(base::Session::Connect(options.postgres)));
  const base::Params who{options.holder.instance.ToString(), options.holder.epoch, life};
  TG_ASSIGN(const base::Rows rows, Told(fresh->Run("open lease holder", kOpen, who)));
  if (rows.size() != 1 || !rows.Bool(0, 0)) return OtherOwner();
  session = std::move(fresh);
  return absl::OkStatus();
}

absl::StatusOr<LeaseReply> PostgresLeases::Impl::Once(std::int64_t number, const std::vector<LeaseAsk>& asks) {
  TG_RETURN_IF_ERROR(Connect());
  const base::MonoTime before = clock.Mono();
  TG_ASSIGN(const base::Rows rows, Told(session->Run("exchange leases", kExchange, ParamsOf(options.holder, life, number, asks))));
  return ReplyOf(rows, asks.size(), before, clock.Mono());
}

// Waits a little before the next try; false if there is no time for one.
bool PostgresLeases::Impl::PauseUntil(std::chrono::steady_clock::time_point deadline) {
  base::Lock lock(mu);
  const auto until = std::chrono::steady_clock::now() + kRetry;
  if (stopping || until >= deadline) return false;
  changed.wait_until(lock.native(), until, [&]() REQUIRES(mu) { return stopping; });
  return !stopping;
}

absl::StatusOr<LeaseReply> PostgresLeases::Impl::Run(const Job& job) {
  while (true) {
    absl::StatusOr<LeaseReply> reply = LeaseReply{};
    if (unresolved) {
      reply = Once(seq + 1, {});
      if (reply.ok()) {
        ++seq;
        unresolved = false;
      }
    }
    if (reply.ok()) {
      unresolved = true;
      // Sent again under its number within this loop only while it is the same exchange.
      reply = Once(seq + 1, job.asks);
      while (!reply.ok() && reply.status().code() != absl::StatusCode::kFailedPrecondition && PauseUntil(job.deadline)) {
        reply = Once(seq + 1, job.asks);
      }
      if (reply.ok()) {
        ++seq;
        unresolved = false;
        return reply;
      }
    }
    if (reply.status().code() == absl::StatusCode::kFailedPrecondition) return reply.status();
    if (!PauseUntil(job.deadline)) return base::Annotate(base::Unavailable(base::Message(reply.status())), "leases");
  }
}

void PostgresLeases::Impl::PruneIfDue() {
  if (session == nullptr || session->broken()) return prune_from.reset();
  if (std::chrono::steady_clock::now() < next_prune) return;
  const auto [end, quota] = prune_from.value_or(std::pair(std::int64_t{0}, base::Uuid().ToString()));
  const auto pruned = session->Run("prune balances", kPrune, {kPruneRows, end, quota});
  prune_from.reset();
  if (!pruned.ok()) base::Warn("metering", "old balances were not pruned: {}", base::Message(pruned.status()));
  if (pruned.ok() && !pruned->empty() && !pruned->IsNull(0, 0)) prune_from.emplace(pruned->Int(0, 0), pruned->Text(0, 1));
  next_prune = std::chrono::steady_clock::now() + (prune_from ? kPruneAgain : milliseconds(kPruneEvery));
}

void PostgresLeases::Impl::Serve(Job job, bool stop) {
  absl::StatusOr<LeaseReply> reply = stop ? base::Unavailable("leases: this instance is stopping") : Run(job);
  if (reply.ok() != was_ok) {
    was_ok = reply.ok();
    if (was_ok) base::Info("metering", "the quota database answers again");
    if (!was_ok) base::Warn("metering", "the quota database cannot be asked: {}", base::Message(reply.status()));
  }
  job.done(std::move(reply));
}

void PostgresLeases::Impl::Loop() {
  while (true) {
    std::optional<Job> job;
    bool stop = false;
    {
      base::Lock lock(mu);
      const auto woken = [&]() REQUIRES(mu) { return stopping || !jobs.empty(); };
      if (prune_from) {
        changed.wait_until(lock.native(), next_prune, woken);
      } else {
        changed.wait(lock.native(), woken);
      }
      stop = stopping;
      if (stop && jobs.empty()) return;
      if (!jobs.empty()) {
        job = std::move(jobs.front());
        jobs.pop_front();
      }
    }
    if (job) Serve(*std::move(job), stop);
    if (!stop) PruneIfDue();
  }
}

PostgresLeases::PostgresLeases(const base::Clock& clock, PostgresLeasesOptions options)
    : impl_(std::make_unique<Impl>(clock, std::move(options))) {}

PostgresLeases::~PostgresLeases() {
  {
    base::Lock lock(impl_->mu);
    impl_->stopping = true;
    impl_->changed.notify_all();
  }
  impl_->thread.join();
}

Holder PostgresLeases::holder() const { return impl_->options.holder; }

void PostgresLeases::Exchange(std::vector<LeaseAsk> asks, Done done) {
  {
    base::Lock lock(impl_->mu);
    if (!impl_->stopping && impl_->jobs.size() < impl_->options.queue_max) {
      impl_->jobs.push_back({std::move(asks), std::move(done), std::chrono::steady_clock::now() + impl_->options.exchange_timeout});
      impl_->changed.notify_all();
      return;
    }
  }
  done(base::Unavailable("leases: too many exchanges wait"));
}

absl::StatusOr<std::vector<ReturnedLease>> ReturnLeases(base::Session& session, base::InstanceId instance, std::int64_t below_epoch) {
  TG_ASSIGN(const base::Rows rows, session.Run("return leases", kReturn, {instance.ToString(), below_epoch}));
  std::vector<ReturnedLease> returned;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    TG_ASSIGN(const base::Uuid quota, base::Uuid::Parse(rows.Text(r, 0)));
    returned.push_back({quota, rows.Int(r, 1), rows.Int(r, 2)});
  }
  return returned;
}

absl::Status ReturnLeasesUnless(const std::function<bool()>& stopping, const base::PostgresOptions& postgres, base::InstanceId instance,
                                std::int64_t below_epoch) {
  TG_ASSIGN(std::shared_ptr<base::Session> session, base::Session::Connect(postgres));
  std::packaged_task<absl::Status()> task(
      [session, instance, below_epoch] { return ReturnLeases(*session, instance, below_epoch).status(); });
  auto returned = task.get_future();
  // It owns what it needs: where Postgres does not even hear that it is cancelled, it is left to its time limit.
  std::thread(std::move(task)).detach();
  std::optional<std::chrono::steady_clock::time_point> until;
  while (returned.wait_for(kStopStep) != std::future_status::ready) {
    if (!stopping()) continue;
    if (!until) until = std::chrono::steady_clock::now() + kStopPatience;
    if (std::chrono::steady_clock::now() > *until) return base::Unavailable("leases are still on their way home");
    session->Cancel();  // Again each time: one that comes before the statement ends nothing.
  }
  return returned.get();
}

}  // namespace tollgate::metering
