#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include <fmt/format.h>

#include "audit/merkle.h"
#include "base/encoding.h"
#include "base/error_detail.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

TEST_CASE_METHOD(AuditFixture, "Records stand densely in the order of their appends, after START") {
  auto journal = Open();
  const auto request = base::RequestId::New();
  CHECK(Append(*journal, v1::RECORD_KIND_REQUEST, request)->index == 1);
  CHECK(Append(*journal, Segment(request, 1, 5))->index == 2);
  Entry final = Make(v1::RECORD_KIND_FINAL, request);
  final.companions.push_back(Note(request, 7));
  CHECK(Append(*journal, std::move(final))->index == 3);
  CHECK(Int("SELECT kind FROM audit.record WHERE leaf_index = 0") == v1::RECORD_KIND_START);
  CHECK(Int("SELECT next_index FROM audit.log_head") == 4);
  CHECK(Int("SELECT open_from FROM audit.log_head") == 4);
  CHECK(Int("SELECT count(*) FROM audit.record WHERE request_id = '" + request.ToString() + "' AND team_id = '" + team.ToString() +
            "' AND key_id = '" + key.ToString() + "' AND org_id = '" + org.ToString() + "' AND project_id = '" + project.ToString() +
            "'") == 3);
  CHECK(Int("SELECT attempt * 100 + segment FROM audit.record WHERE leaf_index = 2") == 101);
  CHECK(Int("SELECT amount * 1000 + leaf_index FROM test.note n JOIN audit.log_head h ON n.log_id = h.log_id") == 7003);
  CHECK(Int("SELECT count(*) FROM test.note WHERE day = '2026-11-25' AND raw = 'raw' AND request_id = '" + request.ToString() + "'") == 1);
  const auto row = sql().Run("read", fmt::format("SELECT message, leaf_hash, {} FROM audit.record WHERE leaf_index = 3", kColumnNames));
  CHECK(row->Bytes(0, 1) == base::View(RecordLeaf(journal->log_id(), 3, ColumnsOf(*row, 0, 2), {}, row->Bytes(0, 0))));
}

TEST_CASE_METHOD(AuditFixture, "Appends from many threads share commits; each is acknowledged once, densely") {
  auto journal = Open();
  constexpr int kThreads = 4, kEach = 500;
  std::atomic<int> good{0};
  std::vector<std::atomic<int>> seen(kThreads * kEach + 1);
  std::vector<std::thread> threads;
  std::vector<std::future<void>> done;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        journal->Append(Make(v1::RECORD_KIND_ADMIN, {}), Journal::kNoDeadline, [&](Result result) {
          if (result.ok()) ++seen.at(static_cast<std::size_t>(result->index));
          ++good;
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {}))->index == kThreads * kEach + 1);
  CHECK(good == kThreads * kEach);
  for (std::size_t i = 1; i < seen.size(); ++i) REQUIRE(seen[i] == 1);
  const auto stats = journal->stats();
  CHECK(stats.rows == kThreads * kEach + 1);
  CHECK(stats.batches < stats.rows / 2);
  CHECK(stats.queue_rows == 0);
  CHECK(stats.queue_bytes == 0);
}

TEST_CASE_METHOD(AuditFixture, "A request has one terminal record, and nothing after it") {
  auto journal = Open();
  const auto request = base::RequestId::New(), denied = base::RequestId::New();
  CHECK(absl::IsFailedPrecondition(Append(*journal, v1::RECORD_KIND_FINAL, request).status()));
  REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());
  CHECK(absl::IsAlreadyExists(Append(*journal, v1::RECORD_KIND_REQUEST, request).status()));
  CHECK(journal->stats().open_requests == 1);
  CHECK(Int("SELECT next_index - open_from FROM audit.log_head") == 1);
  REQUIRE(Append(*journal, v1::RECORD_KIND_DENY, request).ok());
  CHECK(absl::IsFailedPrecondition(Append(*journal, v1::RECORD_KIND_ABORT, request).status()));
  CHECK(absl::IsFailedPrecondition(Append(*journal, Segment(request, 1, 1)).status()));
  CHECK(Append(*journal, v1::RECORD_KIND_DENY, denied).ok());
  CHECK(journal->stats().open_requests == 0);
}

TEST_CASE_METHOD(AuditFixture, "A poisoned row sinks neither its batch nor the journal") {
  auto journal = Open();
  // While the head is locked everything queues up behind one small batch, and so becomes one batch.
  auto other = cluster.Connect(url);
  std::vector<std::promise<Result>> promises(41);
  std::vector<base::RequestId> requests;
  REQUIRE(other
              ->InTransaction("hold the head",
                              [&](base::Session& session) -> absl::Status {
                                TG_RETURN_IF_ERROR(session.Run("lock", "SELECT 1 FROM audit.log_head FOR UPDATE").status());
                                for (std::size_t i = 0; i < promises.size(); ++i) {
                                  requests.push_back(base::RequestId::New());
                                  Entry entry = Make(v1::RECORD_KIND_DENY, requests.back());
                                  entry.companions.push_back(Note(requests.back(), i == 17 || i == 30 ? -1 : 1));
                                  journal->Append(std::move(entry), Journal::kNoDeadline,
                                                  [&promises, i](Result result) { promises[i].set_value(std::move(result)); });
                                }
                                return absl::OkStatus();
                              })
              .ok());
  std::int64_t last = -1;
  for (std::size_t i = 0; i < promises.size(); ++i) {
    const Result result = promises[i].get_future().get();
    INFO(i);
    if (i == 17 || i == 30) {
      CHECK(absl::IsUnavailable(result.status()));
      CHECK(base::DetailOf(result.status())->reason == "AUDIT_UNAVAILABLE");
      CHECK(base::Message(result.status()).find("note") == std::string::npos);
    } else {
      REQUIRE(result.ok());
      CHECK(result->index > last);
      last = result->index;
    }
  }
  CHECK(last == 39);
  CHECK(Int("SELECT count(*) FROM test.note") == 39);
  CHECK(journal->stats().quarantined == 2);
  CHECK(journal->health().state == Health::State::kGood);
}

TEST_CASE_METHOD(AuditFixture,
                 "A FINAL that the database refuses is kept while somebody can mend it, and else a plain ABORT closes its request") {
  auto journal = Open();
  const auto request = base::RequestId::New();
  REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, request).ok());
  Entry final = Make(v1::RECORD_KIND_FINAL, request);
  SECTION("a right is missing for a while") {
    final.companions.push_back(Note(request, 1));
    Do("REVOKE INSERT ON test.note FROM tollgate_writer");
    std::promise<Result> promise;
    journal->Append(std::move(final), Journal::kNoDeadline, [&](Result result) { promise.set_value(std::move(result)); });
    while (journal->health().state == Health::State::kGood) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    Do("GRANT INSERT ON test.note TO tollgate_writer");
    CHECK(promise.get_future().get().ok());
    CHECK(Int("SELECT count(*) FROM test.note") == 1);
    CHECK(Int("SELECT count(*) FROM audit.record WHERE kind = 4") == 1);
    CHECK(journal->stats().quarantined == 0);
  }
  SECTION("a constraint forbids it for good") {
    final.companions.push_back(Note(request, -1));
    const Result refused = Append(*journal, std::move(final));
    CHECK(absl::IsUnavailable(refused.status()));
    CHECK(base::DetailOf(refused.status())->reason == "AUDIT_UNAVAILABLE");
    CHECK(base::Message(refused.status()).find("note") == std::string::npos);
    Await("SELECT count(*) FROM audit.record WHERE kind = 5", 1);
    CHECK(Int("SELECT count(*) FROM audit.record WHERE kind = 4") == 0);
    CHECK(absl::IsFailedPrecondition(Append(*journal, v1::RECORD_KIND_FINAL, request).status()));
    CHECK(journal->stats().quarantined == 1);
  }
  CHECK(journal->stats().open_requests == 0);
}

TEST_CASE_METHOD(AuditFixture, "Stop leaves STOP and a released log; a restart takes the same log back under a higher epoch") {
  auto journal = Open();
  const auto instance = journal->instance();
  const auto log = journal->log_id();
  const auto epoch = journal->epoch();
  REQUIRE(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  journal->Stop();
  CHECK(absl::IsUnavailable(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).status()));
  CHECK(Text("SELECT released FROM audit.log_head") == "t");
  CHECK(Int("SELECT kind FROM audit.record ORDER BY leaf_index DESC LIMIT 1") == v1::RECORD_KIND_STOP);
  journal.reset();
  auto again = Open();
  CHECK(again->instance() == instance);
  CHECK(again->log_id() == log);
  CHECK(again->epoch() > epoch);
  CHECK(Int("SELECT count(*) FROM audit.log_head") == 1);
}

TEST_CASE_METHOD(AuditFixture, "Instances have logs of their own; a released one is gone on with, never restarted") {
  auto a = Open("a");
  auto b = Open("b");
  CHECK(a->log_id() != b->log_id());
  const auto log = a->log_id();
  a.reset();
  auto c = Open("c");
  CHECK(c->log_id() == log);
  CHECK(Append(*c, Make(v1::RECORD_KIND_ADMIN, {}))->index == 3);  // START STOP START
  auto d = Open("a");
  CHECK(d->log_id() != log);
}

TEST_CASE_METHOD(AuditFixture, "Open refuses what would break its promises, and says what to do") {
  JournalOptions options = Options();
  absl::StatusCode code = absl::StatusCode::kFailedPrecondition;
  std::string words;
  std::unique_ptr<PostgresJournal> holder;
  std::unique_ptr<test::PostgresCluster> other;
  SECTION("a role that may do everything") {
    options.role = "";
    words = "use tollgate_writer";
  }
  SECTION("a role that may change what is written") {
    const std::string right =
        GENERATE("UPDATE ON audit.record", "UPDATE (kind) ON audit.record", "DELETE ON audit.record_default", "TRUNCATE ON audit.record");
    Do("GRANT " + right + " TO tollgate_writer");
    words = "revoke UPDATE, DELETE and TRUNCATE";
  }
  SECTION("no schema") {
    options.postgres_url = cluster.NewDatabase();
    words = "tollgate migrate";
  }
  SECTION("no keys schema") {
    options.keys_url = cluster.NewDatabase();
    words = "tollgate migrate";
  }
  SECTION("nothing that bills what it would adopt") {
    options.recovery.settle = nullptr;
    words = "recovery.settle";
  }
  SECTION("a directory that another process holds") {
    holder = Open();
    words = "another process holds";
  }
  SECTION("a keys database that loses commits") {
    other = std::make_unique<test::PostgresCluster>();
    options.keys_url = other->NewDatabase({"migrations/keys"});
    REQUIRE(other->Connect(options.keys_url)->Run("weaken", "ALTER SYSTEM SET full_page_writes = off").ok());
    other->Stop();
    other->Start();
    words = "the keys database: Postgres runs with full_page_writes = off";
  }
  SECTION("a database that was rolled back") {
    auto journal = Open();
    for (int i = 0; i < 5; ++i) REQUIRE(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
    journal.reset();
    Tamper("DELETE FROM audit.record WHERE leaf_index >= 3; UPDATE audit.log_head SET next_index = 3, open_from = 3");
    code = absl::StatusCode::kDataLoss;
    words = "rolled back";
  }
  const auto refused = PostgresJournal::Open(options);
  CHECK(refused.status().code() == code);
  INFO(base::Message(refused.status()));
  CHECK(base::Message(refused.status()).find(words) != std::string::npos);
}

TEST_CASE_METHOD(AuditFixture, "The journal's sessions have the time limits that they are given") {
  Do("CREATE TABLE test.seen (what text)");
  Do("GRANT INSERT ON test.seen TO public");
  Do("CREATE FUNCTION test.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
     "INSERT INTO test.seen VALUES (current_setting('lock_timeout') || ' ' || current_setting('statement_timeout')); RETURN NULL; END $$");
  Do("CREATE TRIGGER see AFTER UPDATE ON audit.log_head FOR EACH STATEMENT EXECUTE FUNCTION test.see()");
  JournalOptions options = Options();
  options.lock_timeout = std::chrono::milliseconds(1234);
  options.statement_timeout = std::chrono::milliseconds(5678);
  auto journal = Open(options);
  REQUIRE(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  journal.reset();
  CHECK(Text("SELECT string_agg(DISTINCT what, ', ') FROM test.seen") == "1234ms 5678ms");
}

TEST_CASE_METHOD(AuditFixture,
                 "Records that were lost are missed though another instance has closed the log since, and it is longer again") {
  auto journal = Open();
  const std::int32_t log = journal->log_id();
  for (int i = 0; i < 3; ++i) REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, base::RequestId::New()).ok());
  for (int i = 0; i < 3; ++i) REQUIRE(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
  journal.reset();  // START, three that are open, three that get lost.
  Tamper(
      "DELETE FROM audit.record WHERE leaf_index >= 4; UPDATE audit.log_head SET next_index = 4, expires_at = now() - interval '1 minute'");
  JournalOptions others = Options("b");
  others.adopt_poll = std::chrono::milliseconds(10);
  others.adopt_patience = std::chrono::milliseconds(10);
  const auto adopter = Open(others);
  Await("SELECT count(*) FROM audit.log_head WHERE released AND log_id = " + std::to_string(log), 1);
  CHECK(Int("SELECT next_index FROM audit.log_head WHERE log_id = " + std::to_string(log)) >= 8);
  const auto refused = PostgresJournal::Open(Options());
  CHECK(absl::IsDataLoss(refused.status()));
  INFO(base::Message(refused.status()));
  CHECK(base::Message(refused.status()).find("it holds 4 records of log 1, and had acknowledged 7") != std::string::npos);
}

TEST_CASE_METHOD(AuditFixture, "A log that another instance has closed since, and that has lost nothing, is taken back") {
  auto journal = Open();
  const std::int32_t log = journal->log_id();
  REQUIRE(Append(*journal, v1::RECORD_KIND_REQUEST, base::RequestId::New()).ok());
  journal.reset();
  Do("UPDATE audit.log_head SET expires_at = now() - interval '1 minute'");
  JournalOptions others = Options("b");
  others.adopt_poll = std::chrono::milliseconds(10);
  others.adopt_patience = std::chrono::milliseconds(10);
  const auto adopter = Open(others);
  Await("SELECT count(*) FROM audit.log_head WHERE released AND log_id = " + std::to_string(log), 1);
  CHECK(Open()->log_id() == log);
}

TEST_CASE_METHOD(AuditFixture,
                 "A database that is set to lose commits is served all the same: the journal's own sessions wait for the disk") {
  Do("ALTER DATABASE " + Text("SELECT current_database()") + " SET synchronous_commit = off");
  auto journal = Open();
  CHECK(Append(*journal, Make(v1::RECORD_KIND_ADMIN, {})).ok());
}

TEST_CASE_METHOD(AuditFixture, "A request's key is stored with its first record, under its end user") {
  auto journal = Open();
  PostgresKeysOptions keys_options;
  keys_options.url = keys_url;
  auto keys = OpenPostgresKeys(RootKey::FromBytes(std::string(32, 'r')), keys_options);
  REQUIRE(keys.ok());
  const auto request = base::RequestId::New();
  const auto request_key = *MakeKeyAndWait(**keys, team, request, Journal::kNoDeadline);
  Entry entry = Make(v1::RECORD_KIND_REQUEST, request);
  entry.record.set_end_user_hmac(std::string(base::View(request_key->EndUserHmac("anna"))));
  v1::SealedContent content;
  content.add_prompt()->add_parts("hello");
  entry.content = Seal(*request_key, {v1::RECORD_KIND_REQUEST, 0, 0}, content);
  entry.key = request_key->row();
  REQUIRE(Append(*journal, std::move(entry)).ok());
  auto keys_sql = cluster.Connect(keys_url);
  const auto row = keys_sql->Run("read", "SELECT subject FROM keys.request WHERE request_id = $1::uuid", {request.ToString()});
  REQUIRE(row->size() == 1);
  CHECK(row->Bytes(0, 0) == base::View(request_key->EndUserHmac("anna")));
  CHECK((*(*keys)->Find(team, request))->secret() == request_key->secret());
}

TEST_CASE_METHOD(AuditFixture, "The door refuses at once what could never be stored") {
  JournalOptions options = Options();
  options.keys_url.clear();
  auto journal = Open(options);
  Entry entry = Make(v1::RECORD_KIND_REQUEST, base::RequestId::New());
  entry.key = KeyRow{};
  CHECK(absl::IsInvalidArgument(Append(*journal, std::move(entry)).status()));
  CHECK(absl::IsInvalidArgument(Append(*journal, Make(v1::RECORD_KIND_REQUEST, {})).status()));
}

}  // namespace
}  // namespace tollgate::audit
