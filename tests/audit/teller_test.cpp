#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "audit/ownership.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

constexpr std::chrono::seconds kPatience{30};

// A `taken` that notes what it is told, and answers as the test says.
struct Ear : AuditFixture {
  using Told = std::pair<base::InstanceId, std::int64_t>;

  LogTaken Listen(std::function<absl::Status(const Told&, int number)> answer) {
    return [this, answer = std::move(answer)](base::InstanceId owner, std::int64_t epoch, const std::function<bool()>&) -> absl::Status {
      int number = 0;
      {
        std::lock_guard lock(mu);
        told.emplace_back(owner, epoch);
        number = static_cast<int>(told.size());
      }
      const absl::Status status = answer({owner, epoch}, number);
      std::lock_guard lock(mu);
      ++answered;
      changed.notify_all();
      return status;
    };
  }
  LogTaken Listen() {
    return Listen([](const Told&, int) { return absl::OkStatus(); });
  }
  // What it was told, once it has answered so often.
  std::vector<Told> Heard(std::size_t times) {
    std::unique_lock lock(mu);
    REQUIRE(changed.wait_for(lock, kPatience, [&] { return answered >= times; }));
    return told;
  }
  void Forget() {
    std::lock_guard lock(mu);
    told.clear();
    answered = 0;
  }
  // Another instance adopts the log that was left, tells that its owner's life is over, and lets the log go.
  void CheckAdopted(base::InstanceId instance, std::int64_t epoch) {
    JournalOptions next = Options("b");
    next.adopt_poll = std::chrono::milliseconds(20);
    next.adopt_patience = std::chrono::milliseconds(50);
    next.recovery.taken = Listen();
    const auto b = Open(next);
    Await("SELECT count(*) FROM audit.log_head WHERE released", 1);
    const auto heard = Heard(2);
    CHECK(std::count_if(heard.begin(), heard.end(), [&](const Told& of) { return of.first == instance && of.second > epoch; }) == 1);
  }

  std::mutex mu;
  std::condition_variable changed;
  std::vector<Told> told;
  std::size_t answered = 0;
};

TEST_CASE_METHOD(AuditFixture, "A start waits for nothing that the dead held; it is told of until it has come home, and a stop ends that") {
  JournalOptions options = Options();
  std::promise<void> opened, again;
  std::atomic<bool> waited{false}, stopped{false};
  std::atomic<int> calls{0};
  options.recovery.taken = [&](base::InstanceId, std::int64_t, const std::function<bool()>& stopping) {
    switch (++calls) {
      case 1: waited = opened.get_future().wait_for(kPatience) != std::future_status::ready; break;
      case 2: break;
      case 3: {
        again.set_value();
        const auto until = std::chrono::steady_clock::now() + kPatience;
        while (!stopping() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
        stopped = stopping();
        break;
      }
      default: break;
    }
    return base::Unavailable("not now");
  };
  const auto journal = Open(options);
  opened.set_value();
  again.get_future().wait();
  CHECK_FALSE(waited);
  CHECK(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  journal->Stop();
  CHECK(stopped);
  CHECK(calls == 3);
  CHECK(Text("SELECT released FROM audit.log_head") == "f");  // Nobody else would bring it home.
}

TEST_CASE_METHOD(Ear, "A log that is left while leases of it are out is adopted, and its holder told to be dead") {
  auto a = Open(Options("a"));
  const base::InstanceId instance = a->instance();
  const std::int64_t epoch = a->epoch();
  a->Stop(false);
  a.reset();
  CHECK(Text("SELECT released FROM audit.log_head") == "f");
  CheckAdopted(instance, epoch);
}

TEST_CASE_METHOD(Ear, "A log that is left before its instance's own earlier life has come home is adopted, and let go when it has") {
  JournalOptions options = Options("a");
  const auto after_a_crash = [&](std::function<absl::Status(const Told&, int)> answer) {
    options.recovery.taken = Listen(std::move(answer));
    return Open(options);
  };
  auto a = after_a_crash([](const Told&, int) { return base::Unavailable("not now"); });
  const base::InstanceId instance = a->instance();
  const std::int64_t epoch = a->epoch();
  Heard(1);
  a.reset();
  CHECK(Text("SELECT released FROM audit.log_head") == "f");
  Forget();
  CheckAdopted(instance, epoch);
}

TEST_CASE_METHOD(Ear, "What an adopter cannot bring home at once is tried again under the same epoch, and only then is the log let go") {
  const Claim dead = *TakeFree(*As("tollgate_writer"), base::InstanceId::New(), std::chrono::seconds(10));
  Do("UPDATE audit.log_head SET expires_at = now() - interval '1 second'");
  JournalOptions options = Options("b");
  options.claim = std::chrono::milliseconds(2000);
  options.adopt_poll = std::chrono::milliseconds(20);
  options.adopt_patience = std::chrono::milliseconds(50);
  const std::string log = std::to_string(dead.head.log_id);
  std::atomic<int> failures{0};
  std::atomic<bool> kept{true};
  const base::InstanceId gone = dead.previous;
  options.recovery.taken = Listen([&](const Told& of, int) {
    if (of.first != gone) return absl::OkStatus();
    const auto rows =
        cluster.Connect(url)->Run("look", "SELECT NOT released AND expires_at > now() FROM audit.log_head WHERE log_id = " + log);
    if (!rows.ok() || !rows->Bool(0, 0)) kept = false;
    return ++failures <= 3 ? base::Unavailable("not now") : absl::OkStatus();
  });
  const auto journal = Open(options);
  Await("SELECT count(*) FROM audit.log_head WHERE released", 1);
  CHECK(kept);
  CHECK(failures == 4);
  for (const Told& of : Heard(5)) CHECK((of.first != gone || of.second == dead.head.epoch + 2));  // + 1 is the journal's own.
  const auto count = [&](v1::RecordKind kind) {
    return Int(fmt::format("SELECT count(*) FROM audit.record WHERE log_id = {} AND kind = {}", log, static_cast<int>(kind)));
  };
  CHECK(count(v1::RECORD_KIND_START) == 1);
  CHECK(count(v1::RECORD_KIND_STOP) == 1);
}

TEST_CASE_METHOD(Ear, "Whom a released log was taken from is kept in mind until it is told of, also by who takes the log next") {
  JournalOptions options = Options("a");
  auto a = Open(options);
  const base::InstanceId first = a->instance();
  a.reset();
  JournalOptions next = Options("b");
  next.recovery.taken = Listen([](const Told&, int) { return base::Unavailable("not now"); });
  auto b = Open(next);
  const base::InstanceId second = b->instance();
  const std::int64_t epoch = b->epoch();
  Heard(1);
  b.reset();
  CHECK(Text("SELECT concat_ws(' ', owes, owes_below, released) FROM audit.log_head") == fmt::format("{} {} f", first.ToString(), epoch));
  Forget();
  next.recovery.taken = Listen();
  SECTION("its owner comes back") {
    b = Open(next);
    CHECK(Heard(2) == std::vector<Told>{{second, b->epoch()}, {first, epoch}});
    Await("SELECT count(*) FROM audit.log_head WHERE owes IS NULL", 1);
    b.reset();
    CHECK(Text("SELECT released FROM audit.log_head") == "t");
  }
  SECTION("another one adopts it") {
    const bool let_go = GENERATE(false, true);
    CAPTURE(let_go);
    if (let_go) Do("UPDATE audit.log_head SET released = true");  // As an instance does that knows nothing of what it owes.
    next = Options("c");
    next.adopt_poll = std::chrono::milliseconds(20);
    next.adopt_patience = std::chrono::milliseconds(50);
    next.recovery.taken = Listen();
    const auto c = Open(next);
    CHECK(c->log_id() == 2);
    Await("SELECT count(*) FROM audit.log_head WHERE released AND owes IS NULL", 1);
    const auto heard = Heard(3);  // Its own beginning, too.
    CHECK(std::count(heard.begin(), heard.end(), Told{first, epoch}) == 1);
    CHECK(std::count_if(heard.begin(), heard.end(), [&](const Told& of) { return of.first == second && of.second > epoch; }) == 1);
  }
}

TEST_CASE_METHOD(AuditFixture, "A journal that adopts nothing leaves others' logs as they are, and owes what it owed") {
  auto session = As("tollgate_writer");
  const Claim free = *TakeFree(*session, base::InstanceId::New(), std::chrono::seconds(10));
  REQUIRE(TakeFree(*session, base::InstanceId::New(), std::chrono::seconds(10)).ok());
  Do(fmt::format("UPDATE audit.log_head SET expires_at = now() - interval '1 second', released = (log_id = {})", free.head.log_id));
  const std::string others =
      "SELECT string_agg(concat_ws(' ', log_id, instance_id, epoch, released), ', ' ORDER BY log_id) FROM audit.log_head WHERE log_id < 3";
  const std::string before = Text(others);
  JournalOptions options = Options();
  options.adopt = false;
  options.recovery = {};
  options.claim = std::chrono::milliseconds(1200);
  options.adopt_poll = std::chrono::milliseconds(20);
  options.adopt_patience = std::chrono::milliseconds(50);
  auto tool = Open(options);
  CHECK(tool->log_id() == 3);
  tool.reset();
  CHECK(Text("SELECT released FROM audit.log_head WHERE log_id = 3") == "t");
  Do("UPDATE audit.log_head SET owes = gen_random_uuid(), owes_below = 1, released = false WHERE log_id = 3");
  const std::string owes = Text("SELECT owes FROM audit.log_head WHERE log_id = 3");
  tool = Open(options);
  CHECK(Append(*tool, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  // An adopter would have been at work by the second heartbeat.
  for (int i = 0; i < 2; ++i) {
    const std::string now = Text("SELECT expires_at FROM audit.log_head WHERE log_id = 3");
    Await(fmt::format("SELECT (expires_at > '{}')::int FROM audit.log_head WHERE log_id = 3", now), 1);
  }
  tool.reset();
  CHECK(Text("SELECT concat_ws(' ', owes, released) FROM audit.log_head WHERE log_id = 3") == owes + " f");
  CHECK(Text(others) == before);
}

}  // namespace
}  // namespace tollgate::audit
