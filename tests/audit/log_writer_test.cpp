#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <thread>

#include "audit/key_chain.h"
#include "audit/log_writer.h"
#include "audit/losses.h"
#include "audit/ownership.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

using Fate = LogWriter::Fate;

struct Bed : AuditFixture {
  base::PostgresOptions postgres = [this] {
    base::PostgresOptions options = cluster.Options(url);
    options.role = "tollgate_writer";
    options.statement_timeout = std::chrono::milliseconds(500);
    return options;
  }();
  base::InstanceId instance = base::InstanceId::New();
  Claim claim = *TakeFree(*As("tollgate_writer"), instance, std::chrono::seconds(10));
  EncodedRow row = *Encode(Make(v1::RECORD_KIND_ADMIN, {}), base::SystemClock());
  const EncodedRow* rows[2] = {&row, &row};

  // Of the whole server; returns when new sessions have it.
  void FullPageWrites(const std::string& value) {
    REQUIRE(sql().Run("set", "ALTER SYSTEM SET full_page_writes = " + value).ok());
    REQUIRE(sql().Run("reload", "SELECT pg_reload_conf()").ok());
    while (cluster.Connect(url)->Run("ask", "SHOW full_page_writes")->Text(0, 0) != value) std::this_thread::yield();
  }
  LogWriter Writer() { return LogWriter(postgres, std::chrono::seconds(10), claim.head, nullptr, instance); }
};

TEST_CASE_METHOD(Bed, "Batches move the head, and only from where it stands") {
  LogWriter writer = Writer();
  CHECK_FALSE(writer.attached());
  REQUIRE(writer.Attach().status.ok());
  CHECK(writer.Commit(rows, 0).fate == Fate::kDone);
  CHECK(writer.Commit(rows, 0).fate == Fate::kDone);
  CHECK(writer.head().next_index == 4);
  CHECK(Int("SELECT count(*) FROM audit.record") == 4);
  CHECK(writer.leaf() == *LeafAt(sql(), claim.head.log_id, 3, DayOf(base::SystemClock().Wall())));
  Do("UPDATE audit.log_head SET next_index = 5");
  CHECK(writer.Commit(rows, 0).fate == Fate::kLost);
  CHECK(Int("SELECT count(*) FROM audit.record") == 4);
}

TEST_CASE_METHOD(Bed, "A second connection under the same epoch shuts the first one out") {
  LogWriter first = Writer(), second = Writer();
  REQUIRE(first.Attach().status.ok());
  REQUIRE(second.Attach().status.ok());
  CHECK(first.Commit(rows, 0).fate == Fate::kLost);
  CHECK(second.Commit(rows, 0).fate == Fate::kDone);
  CHECK(Int("SELECT count(*) FROM audit.record") == 2);
}

TEST_CASE_METHOD(Bed, "A database that is behind what it acknowledged is told from another owner, with the remedy") {
  const bool attaches = GENERATE(false, true);  // As after a failover, or by the next batch on a session that outlived it.
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  REQUIRE(writer.Commit(rows, 0).fate == Fate::kDone);
  const char* words = "";
  SECTION("records are gone") {
    Tamper("UPDATE audit.log_head SET next_index = 1, open_from = 0");
    words = "it holds 1 records of log 1, and had acknowledged 2";
  }
  SECTION("the log itself is gone") {
    Tamper("DELETE FROM audit.log_head");
    words = "it holds 0 records of log 1, and had acknowledged 2";
  }
  SECTION("an adopter has begun to close what was left of it") {
    Tamper("UPDATE audit.log_head SET next_index = 1, open_from = 0, epoch = epoch + 1");
    words = "--lost-records REASON";
  }
  SECTION("nothing but who owns it is gone") {
    Tamper("UPDATE audit.log_head SET epoch = epoch - 1");
    words = "of which no record is missing";
  }
  const auto lost = attaches ? writer.Attach() : writer.Commit(rows, 0);
  CHECK(lost.fate == Fate::kLost);
  CHECK(absl::IsDataLoss(lost.status));
  INFO(base::Message(lost.status));
  CHECK(base::Message(lost.status).find(words) != std::string::npos);
  CHECK_FALSE(writer.attached());
}

TEST_CASE_METHOD(Bed, "A batch in doubt is found committed, or found not to be, and a straggler stores nothing") {
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  // The server freezes, the client's time limit breaks the connection, and the server goes on with what it had got.
  cluster.SigStop();
  const auto frozen = writer.Commit(rows, 0);
  cluster.SigCont();
  REQUIRE(frozen.fate == Fate::kInDoubt);
  CHECK(writer.in_doubt());
  const auto told = writer.Attach();
  REQUIRE(told.status.ok());
  CHECK_FALSE(writer.in_doubt());
  const std::int64_t stored = Int("SELECT count(*) FROM audit.record");
  CHECK(stored == (told.fate == Fate::kDone ? 2 : 0));
  CHECK(writer.head().next_index == stored);
  CHECK(writer.leaf().has_value() == (stored > 0));
  CHECK(writer.Commit(rows, 0).fate == Fate::kDone);
  CHECK(Int("SELECT count(*) FROM audit.record") == stored + 2);
}

TEST_CASE_METHOD(Bed, "A commit still in flight on the old connection is waited for") {
  // A trigger holds the commit back while the client has given up.
  Do("CREATE FUNCTION test.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2.5); RETURN NULL; END $$; "
     "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON test.note DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION test.slow()");
  postgres.statement_timeout = std::chrono::milliseconds(20);
  postgres.lock_timeout = std::chrono::seconds(10);
  Entry entry = Make(v1::RECORD_KIND_ADMIN, {});
  entry.companions.push_back(Note(base::RequestId::New(), 1));
  row = *Encode(std::move(entry), base::SystemClock());
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  REQUIRE(writer.session().Run("no limit", "SELECT set_config('statement_timeout', '0', false)").ok());
  CHECK(writer.Commit(std::span(rows, 1), 0).fate == Fate::kInDoubt);
  LogWriter::Result told{Fate::kNothing, base::Unavailable("")};
  while (!told.status.ok()) told = writer.Attach();
  CHECK(told.fate == Fate::kDone);
  CHECK(writer.head().next_index == 1);
  CHECK(Int("SELECT count(*) FROM audit.record") == 1);
}

TEST_CASE_METHOD(Bed, "A warning that comes with every write, in whatever language, stops no log") {
  Do("CREATE FUNCTION test.warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'ü'; RETURN NULL; END $$; "
     "CREATE TRIGGER warn AFTER UPDATE ON audit.log_head FOR EACH ROW EXECUTE FUNCTION test.warn()");
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  CHECK(writer.Commit(rows, 0).fate == Fate::kDone);
  CHECK(writer.Renew().fate == Fate::kDone);
  CHECK(Int("SELECT count(*) FROM audit.record") == 2);
}

TEST_CASE_METHOD(Bed, "No log is written to a server that could lose what it acknowledges, until it is mended") {
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  REQUIRE(writer.Commit(rows, 0).fate == Fate::kDone);
  const std::int64_t fence = writer.head().fence;
  FullPageWrites("off");
  const auto refused = writer.Attach();
  FullPageWrites("on");
  CHECK(refused.fate == Fate::kNothing);
  CHECK(base::Message(refused.status).find("full_page_writes = off") != std::string::npos);
  CHECK_FALSE(writer.attached());
  CHECK(Int("SELECT fence FROM audit.log_head") == fence);
  REQUIRE(writer.Attach().status.ok());
  CHECK(writer.Commit(rows, 0).fate == Fate::kDone);
}

TEST_CASE_METHOD(Bed, "After a reconnect commits are on disk as before, however the database was set meanwhile") {
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  Do("ALTER DATABASE " + Text("SELECT current_database()") + " SET synchronous_commit = off");
  REQUIRE(writer.Attach().status.ok());
  CHECK(writer.session().Run("ask", "SHOW synchronous_commit")->Text(0, 0) == "on");
}

TEST_CASE_METHOD(Bed, "A server that has become read-only has written nothing, without a doubt, and its session is not kept") {
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  REQUIRE(writer.session().Run("as a reload does", "SELECT set_config('default_transaction_read_only', 'on', false)").ok());
  CHECK(writer.Commit(rows, 0).fate == Fate::kNothing);
  CHECK_FALSE(writer.in_doubt());
  CHECK_FALSE(writer.attached());
  REQUIRE(writer.Attach().status.ok());
  CHECK(writer.Commit(rows, 0).fate == Fate::kDone);
  CHECK(Int("SELECT count(*) FROM audit.record") == 2);
}

TEST_CASE_METHOD(Bed, "A bad row rejects the batch, a passing trouble does not") {
  Entry bad = Make(v1::RECORD_KIND_ADMIN, {});
  bad.companions.push_back(Note(base::RequestId::New(), -1));
  const EncodedRow poisoned = *Encode(std::move(bad), base::SystemClock());
  const EncodedRow* const mixed[] = {&row, &poisoned};
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  CHECK(writer.Commit(mixed, 0).fate == Fate::kRejected);
  CHECK(writer.attached());
  auto other = cluster.Connect(url);
  REQUIRE(other
              ->InTransaction("hold",
                              [&](base::Session& session) -> absl::Status {
                                TG_RETURN_IF_ERROR(session.Run("lock", "LOCK TABLE audit.record IN ACCESS EXCLUSIVE MODE").status());
                                CHECK(writer.Commit(rows, 0).fate == Fate::kNothing);
                                return absl::OkStatus();
                              })
              .ok());
  CHECK(writer.Commit(rows, 0).fate == Fate::kDone);
}

TEST_CASE_METHOD(Bed, "A value or a constraint condemns a row, what may be its fault makes it suspect, and what all meet is tried again") {
  struct Case {
    const char* code;
    Fate fate;
  };
  for (const Case& c :
       {Case{"22003", Fate::kRejected}, Case{"23505", Fate::kRejected}, Case{"23514", Fate::kRejected}, Case{"42501", Fate::kNothing},
        Case{"42P01", Fate::kNothing}, Case{"42703", Fate::kNothing}, Case{"53100", Fate::kNothing}, Case{"53200", Fate::kNothing},
        Case{"57014", Fate::kNothing}, Case{"0A000", Fate::kSuspect}, Case{"54000", Fate::kSuspect}, Case{"XX000", Fate::kSuspect},
        Case{"P0001", Fate::kSuspect}}) {
    INFO(c.code);
    Do(std::string(
           "CREATE OR REPLACE FUNCTION test.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '") +
       c.code + "'; END $$; CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON test.note FOR EACH ROW EXECUTE FUNCTION test.fail()");
    Entry entry = Make(v1::RECORD_KIND_ADMIN, {});
    entry.companions.push_back(Note(base::RequestId::New(), 1));
    row = *Encode(std::move(entry), base::SystemClock());
    LogWriter writer = Writer();
    REQUIRE(writer.Attach().status.ok());
    CHECK(writer.Commit(std::span(rows, 1), 0).fate == c.fate);
    CHECK_FALSE(writer.in_doubt());
  }
}

TEST_CASE_METHOD(Bed, "The claim is renewed by batches and by Renew, and lost with the epoch") {
  LogWriter writer = Writer();
  REQUIRE(writer.Attach().status.ok());
  Do("UPDATE audit.log_head SET expires_at = now() - interval '1 hour'");
  CHECK(writer.Renew().fate == Fate::kDone);
  CHECK(Int("SELECT count(*) FROM audit.log_head WHERE expires_at > now()") == 1);
  Do("UPDATE audit.log_head SET expires_at = now() - interval '1 hour'");
  CHECK(writer.Commit(rows, 0).fate == Fate::kDone);
  CHECK(Int("SELECT count(*) FROM audit.log_head WHERE expires_at > now()") == 1);
  Do("UPDATE audit.log_head SET epoch = epoch + 1");
  CHECK(writer.Renew().fate == Fate::kLost);
  CHECK(writer.Attach().fate == Fate::kLost);
}

}  // namespace
}  // namespace tollgate::audit
