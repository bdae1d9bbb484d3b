// Worker threads that each hold one session, and one thread that answers jobs which waited too long, so that a caller is answered also
// when every session is stuck in a statement. All jobs wait equally long, so the front of the queue is always the oldest.
//
// Stop asks again and again, because a cancellation that arrives between two statements of a job is lost.
//
// A worker connects at once and again after each break, waiting 50 ms, then twice as long, up to 2 s, between attempts.
// Tested by tests/base/postgres_pool_test.cpp.
#include <algorithm>
#include <deque>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/mutex.h"
#include "base/postgres_pool.h"

namespace tollgate::base {
namespace {

using Time = std::chrono::steady_clock::time_point;
constexpr std::chrono::milliseconds kBackoffMin{50};
constexpr std::chrono::milliseconds kBackoffMax{2000};
constexpr std::chrono::milliseconds kCancelAgain{50};

}  // namespace

struct SessionPool::Impl {
  struct Waiting {
    Job job;
    Time answer_by;
  };

  explicit Impl(Options o) : options(std::move(o)) {
    TG_CHECK(options.sessions > 0 && options.queue_max > 0, "a session pool has at least one session and one place");
    for (int i = 0; i < options.sessions; ++i) threads.emplace_back([this] { Work(); });
    threads.emplace_back([this] { Expire(); });
  }

  ~Impl() {
    Refuse();
    for (auto& thread : threads) thread.join();
  }

  void Refuse() {
    std::deque<Waiting> left;
    {
      Lock lock(mu);
      stopping = true;
      left.swap(queue);
    }
    changed.notify_all();
    for (auto& waiting : left) waiting.job(Cancelled("the program is stopping"));
  }

  void Stop(std::chrono::milliseconds patience) {
    const Time give_up = std::chrono::steady_clock::now() + patience;
    Refuse();
    while (std::chrono::steady_clock::now() < give_up) {
      std::vector<std::shared_ptr<Session>> under_way;
      {
        Lock lock(mu);
        under_way.assign(busy.begin(), busy.end());
      }
      for (const auto& session : under_way) session->Cancel();
      Lock lock(mu);
      if (changed.wait_for(lock.native(), kCancelAgain, [this]() REQUIRES(mu) { return busy.empty(); })) return;
    }
  }

  absl::Status Submit(Job job) {
    {
      Lock lock(mu);
      if (stopping) return Cancelled("the program is stopping");
      if (queue.size() >= static_cast<std::size_t>(options.queue_max)) {
        return ResourceExhausted(fmt::format("{} database jobs are waiting already; try again shortly", queue.size()));
      }
      queue.push_back({std::move(job), std::chrono::steady_clock::now() + options.queue_timeout});
    }
    changed.notify_all();
    return absl::OkStatus();
  }

  // One session's life: connect, serve jobs until it breaks, again.
  void Work() {
    std::shared_ptr<Session> session;
    auto backoff = kBackoffMin;
    while (true) {
      if (session == nullptr || session->broken()) {
        session.reset();
        if (!Reconnect(session, backoff)) return;
        continue;
      }
      Job job;
      {
        Lock lock(mu);
        changed.wait(lock.native(), [this]() REQUIRES(mu) { return stopping || !queue.empty(); });
        if (stopping) return;
        if (session->broken()) continue;
        job = std::move(queue.front().job);
        queue.pop_front();
        busy.insert(session);
      }
      job(session.get());
      Lock lock(mu);
      busy.erase(session);
      if (stopping) changed.notify_all();
    }
  }

  // False when the pool stops.
  bool Reconnect(std::shared_ptr<Session>& session, std::chrono::milliseconds& backoff) {
    auto made = Session::Connect(options.postgres);
    if (made.ok() && options.connected) options.connected();
    Lock lock(mu);
    if (stopping) return false;
    if (made.ok()) {
      if (!last_failure.ok()) Info("base", "Postgres answers again");
      last_failure = absl::OkStatus();
      session = *std::move(made);
      backoff = kBackoffMin;
      return true;
    }
    if (last_failure != made.status()) Warn("base", "{}; trying again until it answers", Message(made.status()));
    last_failure = made.status();
    changed.wait_for(lock.native(), backoff, [this]() REQUIRES(mu) { return stopping; });
    backoff = std::min(backoff * 2, kBackoffMax);
    return !stopping;
  }

  void Expire() {
    Lock lock(mu);
    while (!stopping) {
      if (queue.empty()) {
        changed.wait(lock.native(), [this]() REQUIRES(mu) { return stopping || !queue.empty(); });
        continue;
      }
      const Time first = queue.front().answer_by;
      if (std::chrono::steady_clock::now() < first) {
        changed.wait_until(lock.native(), first, [this]() REQUIRES(mu) { return stopping; });
        continue;
      }
      const Job job = std::move(queue.front().job);
      queue.pop_front();
      const absl::Status answer = WaitedTooLong();
      lock.native().unlock();
      job(answer);
      lock.native().lock();
    }
  }

  absl::Status WaitedTooLong() const REQUIRES(mu) {
    if (!last_failure.ok())
      return last_failure.code() == absl::StatusCode::kUnavailable ? last_failure : Unavailable(Message(last_failure));
    return Unavailable(
        fmt::format("Postgres cannot be reached in time: no session was free for {} ms; it is overloaded or does not answer; try again",
                    options.queue_timeout.count()));
  }

  const Options options;
  Mutex mu;
  std::condition_variable changed;
  std::deque<Waiting> queue GUARDED_BY(mu);
  std::set<std::shared_ptr<Session>> busy GUARDED_BY(mu);  // Shared with Stop alone, so that it may cancel outside of the lock.
  bool stopping GUARDED_BY(mu) = false;
  absl::Status last_failure GUARDED_BY(mu);  // Of connecting; OK while sessions can be made.
  std::vector<std::thread> threads;
};

SessionPool::SessionPool(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
SessionPool::~SessionPool() = default;

void SessionPool::Stop(std::chrono::milliseconds patience) { impl_->Stop(patience); }

absl::Status SessionPool::Submit(Job job) { return impl_->Submit(std::move(job)); }

absl::Status SessionPool::RunAndWait(const std::function<absl::Status(Session&)>& body) {
  Mutex mu;
  std::condition_variable ended;
  std::optional<absl::Status> outcome;
  TG_RETURN_IF_ERROR(Submit([&](absl::StatusOr<Session*> session) {
    absl::Status result = session.status();
    if (session.ok()) result = body(**session);
    Lock lock(mu);
    outcome = std::move(result);
    ended.notify_one();  // Under the lock: the waiter's stack must outlive this call.
  }));
  Lock lock(mu);
  ended.wait(lock.native(), [&] { return outcome.has_value(); });
  return *std::move(outcome);
}

}  // namespace tollgate::base
