#include "gateway/migrate/lost_records.h"

#include <catch2/catch_test_macros.hpp>

#include "audit/journal_postgres.h"
#include "audit/ownership.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using test::PostgresCluster;

namespace {

struct LossBed {
  PostgresCluster& cluster = PostgresCluster::Shared();
  test::TempDir dir;
  std::string url = cluster.NewDatabase({"migrations/main"});
  std::unique_ptr<base::Session> session = cluster.Connect(url);
  migrate::LostRecordsOptions options{url, dir.File("migrate"), "cli:root", "the standby was behind", "test"};

  absl::StatusOr<std::unique_ptr<audit::PostgresJournal>> Open(const std::string& state, bool adopt = false) {
    audit::JournalOptions journal;
    journal.postgres_url = url;
    journal.state_dir = dir.File(state);
    journal.build = "test";
    journal.adopt = adopt;
    journal.recovery.settle = [](const audit::OpenRequest&, v1::EndBody&) { return std::vector<base::Companion>(); };
    return audit::PostgresJournal::Open(journal);
  }
  void Append(audit::PostgresJournal& journal, int records) {
    for (int i = 0; i < records; ++i) {
      audit::Entry entry;
      entry.record.set_kind(v1::RECORD_KIND_ADMIN);
      REQUIRE(AppendAndWait(journal, std::move(entry), std::chrono::steady_clock::now() + std::chrono::seconds(30)).ok());
    }
  }
  // An instance that wrote so many records and has ended; its log.
  std::int32_t Wrote(const std::string& state, int records) {
    const auto journal = Open(state);
    REQUIRE(journal.ok());
    Append(**journal, records);
    return (*journal)->log_id();
  }
  std::int64_t Int(const std::string& sql) { return session->Run("ask", sql)->Int(0, 0); }
  // As a failover to a standby that was behind does.
  void Lose(std::int32_t log, std::int64_t from) {
    const std::string where = " WHERE log_id = " + std::to_string(log), index = std::to_string(from);
    REQUIRE(session
                ->RunScript("lose", "SET LOCAL session_replication_role = replica; DELETE FROM audit.record" + where +
                                        " AND leaf_index >= " + index + "; UPDATE audit.log_head SET next_index = " + index +
                                        ", open_from = " + index + where)
                .ok());
  }
};

}  // namespace

TEST_CASE_METHOD(LossBed, "Who goes on without lost records is on record, with the reason, and so is what each log has lost, once") {
  const std::int32_t log = Wrote("a", 5);
  Lose(log, 3);
  const auto refused = Open("a").status();
  CHECK(absl::IsDataLoss(refused));
  CHECK(base::Message(refused).find("migrate --lost-records REASON") != std::string::npos);

  const auto accepted = migrate::GoOnWithoutRecords(options);
  INFO(base::Message(accepted.status()));
  REQUIRE(accepted.ok());
  CHECK(accepted->served.empty());
  CHECK(Int("SELECT count(*) FROM audit.record WHERE position('the standby was behind'::bytea IN message) > 0") == 1);

  for (int i = 0; i < 2; ++i) {
    const auto again = Open("a");
    INFO(base::Message(again.status()));
    REQUIRE(again.ok());
    CHECK((*again)->log_id() == log);
    CHECK(Int("SELECT count(*) FROM audit.record WHERE position('records 3 to 6, which were acknowledged, are lost'::bytea IN message) > "
              "0") == 1);
  }
  // What is lost later was not accepted then.
  Lose(log, 4);
  CHECK(absl::IsDataLoss(Open("a").status()));
  REQUIRE(migrate::GoOnWithoutRecords(options).ok());
  CHECK(Open("a").ok());
}

TEST_CASE_METHOD(LossBed, "What a log loses later that was served when a loss was accepted is no accepted loss") {
  std::int32_t log = 0;
  {
    const auto serves = Open("a");
    REQUIRE(serves.ok());
    log = (*serves)->log_id();
    Append(**serves, 3);
    const auto accepted = migrate::GoOnWithoutRecords(options);
    REQUIRE(accepted.ok());
    CHECK(accepted->served == std::vector<std::int32_t>{log});
    CHECK(Int("SELECT count(*) FROM audit.loss WHERE log_id = " + std::to_string(log)) == 0);
    CHECK(Int("SELECT count(*) FROM audit.loss WHERE log_id = 0") == 1);
  }
  Lose(log, 2);
  CHECK(absl::IsDataLoss(Open("a").status()));
}

TEST_CASE_METHOD(LossBed, "What an instance that does not run has lost is accepted also where its log is held by another by now") {
  const std::int32_t log = Wrote("a", 5);
  Lose(log, 3);
  const std::string mine = " WHERE log_id = " + std::to_string(log);
  std::unique_ptr<audit::PostgresJournal> other;
  SECTION("by an adopter, for as long as it takes to bring home what it held") {
    REQUIRE(session->Run("let it go unasked", "UPDATE audit.log_head SET released = false, expires_at = now() - interval '1 minute'" + mine)
                .ok());
    const auto adopted = audit::Adopt(*session, {log, Int("SELECT epoch FROM audit.log_head" + mine)}, std::chrono::hours(1));
    REQUIRE(adopted.ok());
    REQUIRE(adopted->has_value());
  }
  SECTION("by an instance that goes on with it") {
    other = *Open("b", true);
    REQUIRE(other->log_id() == log);
    Append(*other, 9);
  }
  SECTION("by an instance that was given its number, for the log itself was lost") {
    for (const char* table : {"record", "log_head"}) {
      REQUIRE(session->RunScript("lose", std::string("SET LOCAL session_replication_role = replica; DELETE FROM audit.") + table).ok());
    }
    other = *Open("b");
    REQUIRE(other->log_id() == log);
    Append(*other, 9);
  }
  REQUIRE(absl::IsDataLoss(Open("a").status()));
  const auto accepted = migrate::GoOnWithoutRecords(options);
  INFO(base::Message(accepted.status()));
  REQUIRE(accepted.ok());
  CHECK(accepted->served.size() == (other ? 1 : 0));
  CHECK((Words(*accepted).find("; it does not count for those that run, with log 1:") == std::string::npos) == !other);
  const auto again = Open("a");
  INFO(base::Message(again.status()));
  REQUIRE(again.ok());
  CHECK(((*again)->log_id() == log) == !other);
  CHECK(Int("SELECT count(*) FROM audit.record WHERE position('which were acknowledged, are lost'::bytea IN message) > 0") == 1);
}

TEST_CASE_METHOD(LossBed, "A log that the database knows nothing of any more is accepted with the others, also for the tool itself") {
  {
    const auto journal = Open("a");
    REQUIRE(journal.ok());
  }
  REQUIRE(migrate::GoOnWithoutRecords(options).ok());  // Now the tool has a log too …
  {
    const auto journal = Open("a");
    REQUIRE(journal.ok());
  }
  for (const char* table : {"record", "log_head"}) {  // … and both are gone.
    REQUIRE(session->RunScript("lose", std::string("SET LOCAL session_replication_role = replica; DELETE FROM audit.") + table).ok());
  }
  CHECK(absl::IsDataLoss(Open("a").status()));
  const auto accepted = migrate::GoOnWithoutRecords(options);
  INFO(base::Message(accepted.status()));
  REQUIRE(accepted.ok());
  CHECK(Open("a").ok());
}

TEST_CASE_METHOD(LossBed, "Without a reason nothing is accepted, and nobody who serves may accept it") {
  options.reason.clear();
  CHECK(absl::IsInvalidArgument(migrate::GoOnWithoutRecords(options).status()));
  options.reason = std::string(501, 'x');
  CHECK(absl::IsInvalidArgument(migrate::GoOnWithoutRecords(options).status()));
  CHECK(Int("SELECT count(*) FROM audit.loss") == 0);
  CHECK(absl::IsPermissionDenied(
      session->RunScript("try", "SET LOCAL ROLE tollgate_writer; INSERT INTO audit.loss VALUES (now(), 1, 1, 'x')")));
}
