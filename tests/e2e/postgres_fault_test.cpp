// Postgres frozen, killed, or its disk full, in the middle of load: refusals within the deadline that say what to do, no word of output
// meanwhile, and service again by itself, with nothing lost that was told.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/ask.h"
#include "tests/e2e/support/books.h"
#include "tests/e2e/support/http_client.h"
#include "tests/e2e/support/table_lock.h"

namespace {

using namespace tollgate::e2e;
namespace base = tollgate::base;
namespace test = tollgate::test;
namespace v1 = tollgate::v1;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kAppendTimeout{1500};
// What a caller may be kept waiting: for its lease, its key and its record, each at most about the timeout, on a machine that is busy.
constexpr milliseconds kPatience{8000};

// What Postgres answers when it can write no more records.
constexpr char kFillDisk[] =
    "CREATE FUNCTION audit.disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file' "
    "USING ERRCODE = 'disk_full'; END $$; "
    "CREATE TRIGGER disk_full BEFORE INSERT ON audit.record FOR EACH ROW EXECUTE FUNCTION audit.disk_full()";

struct Timed {
  Answer answer;
  Clock::time_point began, ended;
};

// Asks without pause, and notes when anything came.
class Watchers {
 public:
  Watchers(const Ports& ports, const std::string& key) {
    const char* prompts[] = {"hello there", "!pace_ms 5\n!tokens 40", "!pace_ms 20\n!tokens 500", "hello again"};
    for (int i = 0; i < 8; ++i) {
      threads_.emplace_back([this, ports, key, prompt = std::string(prompts[i / 2 % 4]), surface = kSurfaces[i % 4]] {
        while (!stop_) One(ports, surface, {.key = key, .prompt = prompt, .patience = milliseconds(30'000)});
      });
    }
  }
  ~Watchers() { Stop(); }
  void Stop() {
    stop_ = true;
    threads_.clear();
  }
  std::vector<Timed> all() {
    std::lock_guard lock(mu_);
    return all_;
  }
  std::vector<Clock::time_point> outputs() {
    std::lock_guard lock(mu_);
    return outputs_;
  }
  int DoneSince(Clock::time_point since) {
    std::lock_guard lock(mu_);
    int count = 0;
    for (const Timed& timed : all_) count += timed.answer.done && timed.began > since ? 1 : 0;
    return count;
  }

 private:
  void One(const Ports& ports, Surface surface, Question question) {
    std::size_t seen = 0;
    question.on_text = [&](const std::string& text) {
      if (text.size() > std::exchange(seen, text.size())) Note();
      return !stop_.load();
    };
    const auto began = Clock::now();
    Answer answer = Ask(ports, surface, question);
    if (answer.done) Note();
    const bool refused = !answer.done;
    {
      std::lock_guard lock(mu_);
      all_.push_back({std::move(answer), began, Clock::now()});
    }
    if (refused) std::this_thread::sleep_for(milliseconds(20));
  }
  void Note() {
    std::lock_guard lock(mu_);
    outputs_.push_back(Clock::now());
  }

  std::atomic<bool> stop_{false};
  std::mutex mu_;
  std::vector<Timed> all_;
  std::vector<Clock::time_point> outputs_;
  std::vector<std::jthread> threads_;
};

void CheckRefusals(const std::vector<Timed>& all, Clock::time_point from, Clock::time_point to, const std::string& place) {
  int refused = 0;
  for (const Timed& timed : all) {
    if (timed.began < from || timed.began > to || timed.answer.done) continue;
    ++refused;
    const Answer& answer = timed.answer;
    INFO(answer.code << " " << answer.reason << " " << answer.message);
    CHECK(timed.ended - timed.began < kPatience);
    CHECK((answer.code == 503 || answer.code == 14));  // UNAVAILABLE
    CHECK((answer.message.find("try again") != std::string::npos || answer.message.find("Postgres") != std::string::npos));
    for (const std::string& secret :
         {place, std::string("localhost"), std::string("/tmp"), std::string("tg-"), std::string("password"), std::string(".s.PGSQL")}) {
      CHECK(answer.seen.find(secret) == std::string::npos);
    }
    if (answer.code == 503) CHECK(answer.headers.contains("retry-after"));
  }
  CHECK(refused > 0);
}

int OutputsBetween(const std::vector<Clock::time_point>& outputs, Clock::time_point from, Clock::time_point to) {
  int count = 0;
  for (const auto at : outputs) count += at > from && at < to ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("Postgres gone, frozen or full under load: no output without a record, plain refusals, and service again unaided") {
  enum class Fault { kStop, kKill, kStopThenKill, kLockRecords, kLockKeys, kDiskFull };
  const Fault fault = GENERATE(Fault::kStop, Fault::kKill, Fault::kStopThenKill, Fault::kLockRecords, Fault::kLockKeys, Fault::kDiskFull);
  const char* names[] = {"SIGSTOP", "kill -9", "SIGSTOP, then kill -9", "records locked", "keys locked", "disk full"};
  const std::string name = names[static_cast<int>(fault)];
  CAPTURE(name);
  Installation installation;
  const auto gateway = std::make_unique<Gateway>(
      installation, InstanceOptions{.extra = {{"journal.append_timeout_ms", std::to_string(kAppendTimeout.count())},
                                              {"journal.queue_age_max_ms", "1000"},
                                              {"postgres.statement_timeout_ms", "1500"},
                                              {"directory_stale_max_ms", "3000"}}});
  Admin admin(*gateway, installation.owner_key());
  const std::string key = MakeCompany(admin).key;
  admin.SetQuota(ScopeOf("red"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, 500'000'000);
  const Ports ports = PortsOf(*gateway);
  REQUIRE(Eventually([&] { return Ask(ports, Surface::kHttpPlain, {.key = key, .prompt = "hello"}).done; }));
  test::PostgresCluster& cluster = installation.cluster();

  base::PostgresOptions patient = cluster.Options(installation.main_url());
  patient.statement_timeout = std::chrono::seconds(120);
  patient.lock_timeout = std::chrono::seconds(60);
  REQUIRE((*base::Session::Connect(patient))->Run("leave little to recover", "CHECKPOINT").ok());
  Watchers watchers(ports, key);
  const auto start = Clock::now();
  REQUIRE(Eventually([&] { return watchers.DoneSince(start) > 50; }, milliseconds(30'000)));
  std::optional<TableLock> lock;
  const bool killed = fault == Fault::kKill || fault == Fault::kStopThenKill;
  if (fault == Fault::kStop || fault == Fault::kStopThenKill) cluster.SigStop();
  if (fault == Fault::kKill) cluster.Kill9();
  if (fault == Fault::kLockRecords) lock.emplace(installation, "audit.record");
  if (fault == Fault::kLockKeys) lock.emplace(installation, "keys.request");
  if (fault == Fault::kDiskFull) REQUIRE((*base::Session::Connect(patient))->RunScript("fill the disk", kFillDisk).ok());
  const auto away = Clock::now();
  std::this_thread::sleep_for(milliseconds(5000));
  const bool was_ready = gateway->Ready();
  const bool was_serving = gateway->Serving();
  const auto back = Clock::now();
  if (fault == Fault::kStop) cluster.SigCont();
  if (fault == Fault::kStopThenKill) cluster.Kill9();
  if (killed) cluster.Start();
  if (fault == Fault::kDiskFull) {
    CHECK(Get(gateway->probes_port(), "/readyz").body.find("disk is full; make room") != std::string::npos);
    REQUIRE((*base::Session::Connect(patient))->RunScript("make room", "DROP FUNCTION audit.disk_full CASCADE").ok());
  }
  lock.reset();
  if (fault == Fault::kStop || killed || fault == Fault::kDiskFull) {
    CHECK_FALSE(was_ready);
    CHECK_FALSE(was_serving);
  }
  CHECK(Eventually([&] { return watchers.DoneSince(back) > 20; }, milliseconds(30'000)));
  const auto recovered = Clock::now();
  watchers.Stop();

  // A commit that was on its way when Postgres stopped may still have been told.
  // Without keys, requests that have theirs may go on; all else may not.
  if (fault != Fault::kLockKeys) CHECK(OutputsBetween(watchers.outputs(), away + milliseconds(300), back) == 0);
  for (const Timed& timed : watchers.all()) {
    if (timed.began > away + milliseconds(300) && timed.ended < back) CHECK(timed.answer.text.empty());
  }
  CheckRefusals(watchers.all(), away + milliseconds(300), back - milliseconds(2500),
                installation.main_url().substr(installation.main_url().find("host=") + 5, 10));
  CHECK(gateway->process().Running());
  CHECK(gateway->Ready());
  CHECK(Eventually([&] { return gateway->Serving(); }));
  WARN(fmt::format("{}: serving again {:.1f} s after Postgres", name, std::chrono::duration<double>(recovered - back).count()));

  Books books(installation);
  CHECK(Eventually([&] { return books.Open() == 0; }, milliseconds(20'000)));
  CHECK(books.Check() == "");
  std::vector<Answer> answers;
  for (const Timed& timed : watchers.all()) answers.push_back(timed.answer);
  Admin again(*gateway, installation.owner_key());
  CHECK(CheckAcknowledged(again, books, answers, 60) == "");
  CHECK(Reconcile(*gateway, installation.owner_key()) == "");
  CHECK(gateway->Stop() == 0);
  CHECK(books.CheckBalances() == "");
  CHECK(books.Check() == "");
}

TEST_CASE("The end of a request that Postgres will not take holds nobody up, and what it used is billed all the same") {
  const bool usage_too = GENERATE(false, true);
  CAPTURE(usage_too);
  Installation installation;
  const auto gateway = std::make_unique<Gateway>(installation, InstanceOptions{.extra = {{"journal.append_timeout_ms", "1500"}}});
  Admin admin(*gateway, installation.owner_key());
  const std::string good = MakeCompany(admin).key;
  const std::string bad = admin.MakeKey("red", "app", "unlucky").secret();
  admin.SetQuota(ScopeOf("red"), v1::QUOTA_METER_TOKENS, v1::QUOTA_WINDOW_MONTH, 500'000'000);
  const Ports ports = PortsOf(*gateway);
  REQUIRE(Eventually([&] { return Ask(ports, Surface::kHttpPlain, {.key = bad, .prompt = "hello"}).done; }));
  // Something in Postgres fails whenever a FINAL, or a usage row, of that key comes.
  const std::string fault = usage_too ? "ON metering.usage FOR EACH ROW WHEN (NEW.key_id = '{}')"
                                      : "ON audit.record FOR EACH ROW WHEN (NEW.kind = 4 AND NEW.key_id = '{}')";
  const auto sql = installation.Sql();
  const std::string key_id =
      sql->Run("whose", "SELECT key_id FROM audit.record WHERE kind = 4 ORDER BY leaf_index DESC LIMIT 1")->Text(0, 0);
  REQUIRE(sql->RunScript("break",
                         "CREATE FUNCTION audit.broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = "
                         "'internal_error'; END $$; CREATE TRIGGER broken BEFORE INSERT " +
                             fmt::format(fmt::runtime(fault), key_id) + " EXECUTE FUNCTION audit.broken()")
              .ok());
  std::vector<Answer> answers;
  for (const Surface surface : kSurfaces) {
    const Answer unlucky = Ask(ports, surface, {.key = bad, .prompt = "!tokens 40"});
    CHECK_FALSE(unlucky.done);
    answers.push_back(unlucky);
    answers.push_back(Ask(ports, surface, {.key = good, .prompt = "hello"}));
    CHECK(answers.back().done);
  }
  Books books(installation);
  CHECK(Eventually([&] { return books.Open() == 0; }, milliseconds(20'000)));
  const auto reasons = books.Reasons();
  CHECK(std::count(reasons.begin(), reasons.end(), "JOURNAL_REFUSED") == 4);
  const std::string used = fmt::format("SELECT sum(output_tokens)::int8 FROM metering.usage WHERE key_id = '{}'", key_id);
  CHECK((books.Count(used) > 160) != usage_too);
  // Of the two whole replies nothing had left.
  const std::string unseen = fmt::format("SELECT count(*) FROM metering.usage WHERE key_id = '{}' AND delivered_tokens = 0", key_id);
  if (!usage_too) CHECK(books.Count(unseen) >= 2);
  CHECK(CheckAcknowledged(admin, books, answers) == "");
  CHECK(Reconcile(*gateway, installation.owner_key()) == "");
  CHECK(gateway->Ready());
  CHECK(gateway->Stop() == 0);
  if (!usage_too) {
    CHECK(books.Check() == "");
    CHECK(books.CheckBalances() == "");
  }
}
