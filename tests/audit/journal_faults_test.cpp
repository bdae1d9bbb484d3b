#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <future>
#include <map>
#include <thread>

#include "audit/verify.h"
#include "base/mutex.h"
#include "tests/audit/fixture.h"
#include "tests/support/random.h"

namespace tollgate::audit {
namespace {

constexpr char kUnterminated[] =
    "SELECT count(*) FROM (SELECT request_id FROM audit.record WHERE request_id IS NOT NULL GROUP BY request_id "
    "HAVING count(*) FILTER (WHERE kind IN (2, 4, 5)) <> 1) x";

// Clients that run short requests one after another, and keep a journal of their own of what was acknowledged.
class Clients {
 public:
  Clients(AuditFixture& fixture, PostgresJournal& journal, int count) : fixture_(fixture), journal_(journal) {
    for (int i = 0; i < count; ++i) threads_.emplace_back([this] { Run(); });
  }
  ~Clients() { Stop(); }
  void Stop() {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }
  std::int64_t acknowledged() {
    base::Lock lock(mu_);
    return static_cast<std::int64_t>(acknowledged_.size());
  }
  // Every acknowledged record stands where its acknowledgement said.
  void CheckLog() {
    base::Lock lock(mu_);
    const auto rows = fixture_.sql().Run("read", "SELECT leaf_index, kind, request_id FROM audit.record WHERE log_id = $1::int2",
                                         {std::int64_t{journal_.log_id()}});
    REQUIRE(rows.ok());
    std::map<std::int64_t, std::string> stored;
    for (std::size_t i = 0; i < rows->size(); ++i) {
      stored[rows->Int(i, 0)] = rows->Text(i, 1) + " " + (rows->IsNull(i, 2) ? "" : rows->Text(i, 2));
    }
    REQUIRE(stored.size() == rows->size());
    for (const auto& [index, what] : acknowledged_) REQUIRE(stored[index] == what);
  }

 private:
  void Run() {
    while (!stop_) {
      const auto request = base::RequestId::New();
      if (!Try(v1::RECORD_KIND_REQUEST, request, std::chrono::milliseconds(500))) continue;
      Entry entry = fixture_.Make(v1::RECORD_KIND_FINAL, request);
      entry.companions.push_back(AuditFixture::Note(request, 1));
      Note(AppendAndWait(journal_, std::move(entry), Journal::kNoDeadline), v1::RECORD_KIND_FINAL, request);
    }
  }
  bool Try(v1::RecordKind kind, base::RequestId request, std::chrono::milliseconds patience) {
    return Note(AuditFixture::Append(journal_, fixture_.Make(kind, request), patience), kind, request);
  }
  bool Note(const Result& result, v1::RecordKind kind, base::RequestId request) {
    base::Lock lock(mu_);
    if (result.ok()) acknowledged_.emplace_back(result->index, std::to_string(kind) + " " + request.ToString());
    return result.ok();
  }

  AuditFixture& fixture_;
  PostgresJournal& journal_;
  base::Mutex mu_;
  std::vector<std::pair<std::int64_t, std::string>> acknowledged_ GUARDED_BY(mu_);
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

bool AwaitHealth(const PostgresJournal& journal, Health::State state, std::chrono::milliseconds patience = std::chrono::seconds(30)) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (journal.health().state != state) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void AwaitAcknowledged(Clients& clients, std::int64_t more) {
  const std::int64_t goal = clients.acknowledged() + more;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (clients.acknowledged() < goal) {
    if (std::chrono::steady_clock::now() > until) FAIL("no progress");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_CASE_METHOD(AuditFixture,
                 "Postgres killed under load, again and again: nothing acknowledged is lost, nothing is doubled, service returns unaided") {
  auto journal = Open();
  const auto seed = test::Seed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  Clients clients(*this, *journal, 4);
  for (int i = 0; i < test::Loops(); ++i) {
    AwaitAcknowledged(clients, 1 + static_cast<std::int64_t>(random() % 200));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    cluster.Kill9();
    cluster.Start();
  }
  AwaitAcknowledged(clients, 20);
  clients.Stop();
  Reconnect();
  clients.CheckLog();
  journal->Stop();
  CHECK(Int(kUnterminated) == 0);
  CHECK(Int("SELECT count(*) FROM test.note") == Int("SELECT count(*) FROM audit.record WHERE kind = 4"));
  CHECK(Int("SELECT count(*) FROM test.note n WHERE NOT EXISTS (SELECT FROM audit.record r WHERE r.log_id = n.log_id AND r.leaf_index = "
            "n.leaf_index AND r.kind = 4)") == 0);
  const auto report = VerifyLog(*As("tollgate_verifier"), journal->log_id());
  REQUIRE(report.ok());
  CHECK(report->problem == "");
}

TEST_CASE_METHOD(AuditFixture, "The writer's backend killed under load: what was in doubt is settled by the head") {
  auto journal = Open();
  Clients clients(*this, *journal, 4);
  for (int i = 0; i < test::Loops(); ++i) {
    AwaitAcknowledged(clients, 10);
    CHECK(sql().Run("kill", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tollgate journal'").ok());
  }
  AwaitAcknowledged(clients, 20);
  clients.Stop();
  CHECK(journal->stats().reconnects > 0);
  clients.CheckLog();
  journal->Stop();
  CHECK(Int(kUnterminated) == 0);
}

TEST_CASE_METHOD(AuditFixture, "Postgres frozen: refused by the deadline in words that help, resumed unaided, no request left open") {
  JournalOptions options = Options();
  options.statement_timeout = std::chrono::milliseconds(500);
  const bool longer_than_the_connection = GENERATE(false, true);
  auto journal = Open(options);
  Clients clients(*this, *journal, 2);
  AwaitAcknowledged(clients, 10);
  cluster.SigStop();
  const auto began = std::chrono::steady_clock::now();
  const Result refused = Append(*journal, Make(v1::RECORD_KIND_REQUEST, base::RequestId::New()), std::chrono::milliseconds(300));
  const auto took = std::chrono::steady_clock::now() - began;
  CHECK(absl::IsUnavailable(refused.status()));
  CHECK(took < std::chrono::seconds(2));
  CHECK(base::Message(refused.status()).find("nothing was routed; try again in 2 s, or ask the operator to check Postgres") !=
        std::string::npos);
  const auto patience = began + std::chrono::seconds(longer_than_the_connection ? 3 : 1);
  while (std::chrono::steady_clock::now() < patience || journal->health().state == Health::State::kGood) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(journal->health().state == Health::State::kRefusing);
  cluster.SigCont();
  AwaitAcknowledged(clients, 10);
  clients.Stop();
  CHECK(journal->health().state == Health::State::kGood);
  clients.CheckLog();
  journal->Stop();
  CHECK(Int(kUnterminated) == 0);
}

TEST_CASE_METHOD(AuditFixture, "A REQUEST that is written after its caller was refused is closed by the journal itself") {
  JournalOptions options = Options();
  std::atomic<int> settled{0};
  options.recovery.settle = [&](const OpenRequest& open, v1::EndBody& end) -> absl::StatusOr<std::vector<base::Companion>> {
    ++settled;
    CHECK(open.segments == 0);
    CHECK(end.reason() == "JOURNAL_TIMEOUT");
    CHECK(end.tokens().output() == 0);
    return std::vector<base::Companion>{Note(base::RequestId(*base::Uuid::FromBytes(open.request.request_id())), 0)};
  };
  auto journal = Open(options);
  const auto request = base::RequestId::New();
  auto other = cluster.Connect(url);
  REQUIRE(other
              ->InTransaction("hold the head",
                              [&](base::Session& session) -> absl::Status {
                                TG_RETURN_IF_ERROR(session.Run("lock", "SELECT 1 FROM audit.log_head FOR UPDATE").status());
                                CHECK(absl::IsUnavailable(
                                    Append(*journal, Make(v1::RECORD_KIND_REQUEST, request), std::chrono::milliseconds(200)).status()));
                                return absl::OkStatus();
                              })
              .ok());
  Await("SELECT count(*) FROM audit.record WHERE kind = 5", 1);
  CHECK(Int(kUnterminated) == 0);
  CHECK(Int("SELECT count(*) FROM test.note") == 1);
  CHECK(settled == 1);
  CHECK(journal->stats().open_requests == 0);
}

TEST_CASE_METHOD(AuditFixture, "While the keys database does not answer, requests are refused and closed, and other records go on") {
  JournalOptions options = Options();
  options.statement_timeout = std::chrono::milliseconds(500);
  auto journal = Open(options);
  auto keys_sql = cluster.Connect(keys_url);
  const auto request = base::RequestId::New();
  REQUIRE(keys_sql
              ->InTransaction("hold keys",
                              [&](base::Session& session) -> absl::Status {
                                TG_RETURN_IF_ERROR(session.Run("lock", "LOCK TABLE keys.request IN EXCLUSIVE MODE").status());
                                Entry entry = Make(v1::RECORD_KIND_REQUEST, request);
                                entry.key = KeyRow{request, 1, std::string(32, 's'), "", nullptr};
                                const Result refused = Append(*journal, std::move(entry), std::chrono::milliseconds(200));
                                CHECK(absl::IsUnavailable(refused.status()));
                                CHECK(base::Message(refused.status()).find("keys database") != std::string::npos);
                                CHECK(AwaitHealth(*journal, Health::State::kRefusing));
                                CHECK_FALSE(AwaitHealth(*journal, Health::State::kGood, std::chrono::seconds(2)));
                                CHECK(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
                                return absl::OkStatus();
                              })
              .ok());
  CHECK(AwaitHealth(*journal, Health::State::kGood));
  Await("SELECT count(*) FROM audit.record WHERE kind = 5", 1);
  CHECK(Int(kUnterminated) == 0);
}

TEST_CASE_METHOD(AuditFixture, "A keys database that goes while nobody asks is told before anybody does, and told again when it is back") {
  auto journal = Open();
  auto keys_sql = cluster.Connect(keys_url);
  const std::string name = keys_sql->Run("name", "SELECT current_database()")->Text(0, 0);
  keys_sql.reset();
  CHECK(journal->health().state == Health::State::kGood);
  Do("ALTER DATABASE " + name + " ALLOW_CONNECTIONS false");
  Do("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = '" + name + "'");
  CHECK(AwaitHealth(*journal, Health::State::kRefusing));
  CHECK(journal->health().reason.find("keys database") != std::string::npos);
  Do("ALTER DATABASE " + name + " ALLOW_CONNECTIONS true");
  CHECK(AwaitHealth(*journal, Health::State::kGood));
}

TEST_CASE_METHOD(AuditFixture, "A keys database that was read-only for a while takes keys again, unaided") {
  auto journal = Open();
  auto keys_sql = cluster.Connect(keys_url);
  const std::string name = keys_sql->Run("name", "SELECT current_database()")->Text(0, 0);
  REQUIRE(keys_sql
              ->RunScript("make a key of the day",
                          "INSERT INTO keys.tenant_day (team_id, day, tenant_version, wrapped) VALUES (gen_random_uuid(), now(), 1, 'w')")
              .ok());
  const auto day = std::make_shared<const StoredDay>(1, "w");
  const auto request = [&] {
    Entry entry = Make(v1::RECORD_KIND_REQUEST, base::RequestId::New());
    entry.key = KeyRow{base::RequestId(*base::Uuid::FromBytes(entry.record.request_id())), 1, std::string(32, 's'), "", day};
    return entry;
  };
  REQUIRE(keys_sql->Run("set", "ALTER DATABASE " + name + " SET default_transaction_read_only = on").ok());
  REQUIRE(keys_sql
              ->Run("end sessions",
                    "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                    "datname = current_database()")
              .ok());
  CHECK(absl::IsUnavailable(Append(*journal, request(), std::chrono::milliseconds(300)).status()));
  REQUIRE(keys_sql->Run("mend", "ALTER DATABASE " + name + " RESET default_transaction_read_only").ok());
  CHECK(Append(*journal, request()).ok());
}

TEST_CASE_METHOD(AuditFixture, "A lock or a full queue sheds new requests, and the terminal records of admitted ones are kept") {
  JournalOptions options = Options();
  options.queue_rows_max = 10;
  auto journal = Open(options);
  const auto request = base::RequestId::New();
  REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());
  auto other = cluster.Connect(url);
  std::atomic<int> refused{0}, written{0};
  std::promise<Result> final;
  REQUIRE(other
              ->InTransaction("hold the head",
                              [&](base::Session& session) -> absl::Status {
                                TG_RETURN_IF_ERROR(session.Run("lock", "SELECT 1 FROM audit.log_head FOR UPDATE").status());
                                for (int i = 0; i < 30; ++i) {
                                  journal->Append(Make(v1::RECORD_KIND_DENY, base::RequestId::New()), Journal::kNoDeadline,
                                                  [&](Result result) { ++(result.ok() ? written : refused); });
                                }
                                journal->Append(Make(v1::RECORD_KIND_FINAL, request), Journal::kNoDeadline,
                                                [&](Result result) { final.set_value(std::move(result)); });
                                return absl::OkStatus();
                              })
              .ok());
  CHECK(final.get_future().get().ok());
  CHECK(refused == 20);
  CHECK(written == 10);
}

TEST_CASE_METHOD(AuditFixture, "An owner that was overtaken writes nothing more, says so, and answers everything") {
  auto journal = Open();
  const auto request = base::RequestId::New();
  REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());
  Do("UPDATE audit.log_head SET epoch = epoch + 1");
  CHECK(absl::IsUnavailable(Append(*journal, v1::RECORD_KIND_REQUEST, base::RequestId::New()).status()));
  CHECK(journal->health().state == Health::State::kLost);
  CHECK(absl::IsUnavailable(Append(*journal, v1::RECORD_KIND_FINAL, request).status()));
  CHECK(Int("SELECT max(leaf_index) FROM audit.record") == 1);
}

TEST_CASE_METHOD(AuditFixture, "Stop with Postgres gone answers everything and ends in time; the restart closes what was open") {
  JournalOptions options = Options();
  options.statement_timeout = std::chrono::milliseconds(500);
  options.stop_timeout = std::chrono::milliseconds(500);
  auto journal = Open(options);
  const auto request = base::RequestId::New();
  REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());
  cluster.Kill9();
  std::promise<Result> final;
  journal->Append(Make(v1::RECORD_KIND_FINAL, request), Journal::kNoDeadline, [&](Result result) { final.set_value(std::move(result)); });
  journal->Stop();
  CHECK_FALSE(final.get_future().get().ok());
  journal.reset();
  cluster.Start();
  Reconnect();
  journal = Open();
  CHECK(Int(kUnterminated) == 0);
  CHECK(journal->stats().recovered_requests == 1);
}

}  // namespace
}  // namespace tollgate::audit
