#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

#include <set>
#include <thread>

#include "audit/log_writer.h"
#include "audit/losses.h"
#include "audit/ownership.h"
#include "audit/verify.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

constexpr std::chrono::milliseconds kClaim{10'000};

TEST_CASE_METHOD(AuditFixture, "Instances that start together get logs of their own") {
  std::vector<std::thread> threads;
  std::vector<std::int32_t> logs(8);
  for (std::size_t i = 0; i < logs.size(); ++i) {
    threads.emplace_back([&, i] {
      base::PostgresOptions options = cluster.Options(url);
      options.role = "tollgate_writer";
      auto session = base::Session::Connect(options);
      if (!session.ok()) return;
      const auto claim = TakeFree(**session, base::InstanceId::New(), kClaim);
      if (claim.ok()) logs[i] = claim->head.log_id;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(std::set(logs.begin(), logs.end()).size() == logs.size());
  CHECK(*std::min_element(logs.begin(), logs.end()) == 1);
}

TEST_CASE_METHOD(AuditFixture,
                 "A server that others follow, and that waits for none of them, is told from one that stands alone or waits") {
  const auto session = As("tollgate_writer");  // Which may not see what others do.
  CHECK_FALSE(*LosesByFailover(*session));
  Do("SELECT pg_create_physical_replication_slot('standby')");
  CHECK(*LosesByFailover(*session));
  CHECK(*LosesByFailover(*cluster.Connect(keys_url)));
  REQUIRE(sql().Run("wait for it", "ALTER SYSTEM SET synchronous_standby_names = 'standby'").ok());
  Do("SELECT pg_reload_conf()");
  const auto names = [&] { return cluster.Connect(url)->Run("ask", "SHOW synchronous_standby_names")->Text(0, 0); };
  while (names().empty()) std::this_thread::yield();
  const bool loses = *LosesByFailover(*As("tollgate_writer"));
  // Nothing commits now; these two ask for no commit.
  REQUIRE(sql().Run("set back", "ALTER SYSTEM RESET synchronous_standby_names").ok());
  REQUIRE(sql().Run("reload", "SELECT pg_reload_conf()").ok());
  while (!names().empty()) std::this_thread::yield();
  Do("SELECT pg_drop_replication_slot('standby')");
  CHECK_FALSE(loses);
}

TEST_CASE_METHOD(AuditFixture, "A log goes only to who may have it, and each takeover raises the epoch") {
  auto session = As("tollgate_writer");
  const auto mine = base::InstanceId::New(), other = base::InstanceId::New();
  const Claim first = *TakeFree(*session, mine, kClaim);
  const std::int32_t log = first.head.log_id;

  CHECK_FALSE(TakeBack(*session, log, other, kClaim)->has_value());
  CHECK_FALSE(TakeBack(*session, log + 1, mine, kClaim)->has_value());
  CHECK((*TakeBack(*session, log, mine, kClaim))->head.epoch == first.head.epoch + 1);

  CHECK(FindLapsed(*session, 0)->empty());
  Do("UPDATE audit.log_head SET expires_at = now() - interval '1 second'");
  CHECK(FindLapsed(*session, log)->empty());
  const auto lapsed = *FindLapsed(*session, 0);
  REQUIRE(lapsed.size() == 1);
  CHECK(lapsed[0] == Lapsed{log, first.head.epoch + 1});

  SECTION("its owner comes back first") {
    REQUIRE(TakeBack(*session, log, mine, kClaim)->has_value());
    CHECK_FALSE(Adopt(*session, lapsed[0], kClaim)->has_value());
  }
  SECTION("one adopter gets it, and the row still names the dead") {
    const auto adopted = *Adopt(*session, lapsed[0], kClaim);
    REQUIRE(adopted.has_value());
    CHECK(adopted->previous == mine);
    CHECK(adopted->head.epoch == first.head.epoch + 2);
    CHECK(Int("SELECT adopted FROM audit.log_head") == adopted->head.epoch);
    CHECK_FALSE(Adopt(*session, lapsed[0], kClaim)->has_value());
  }
  SECTION("a released log is free for anybody and lapses for nobody") {
    Do("UPDATE audit.log_head SET released = true");
    CHECK(FindLapsed(*session, 0)->empty());
    const auto taken = TakeFree(*session, other, kClaim);
    REQUIRE(taken.ok());
    CHECK(taken->head.log_id == log);
    CHECK(taken->previous == mine);
    CHECK(taken->head.epoch == first.head.epoch + 2);
    CHECK_FALSE(TakeBack(*session, log, mine, kClaim)->has_value());
  }
  SECTION("a released log that owes is nobody's to go on with, and somebody's to tell of") {
    const auto owed = base::InstanceId::New();
    Do("UPDATE audit.log_head SET released = true, owes_below = 5, owes = '" + owed.ToString() + "'");
    CHECK(TakeFree(*session, other, kClaim)->head.log_id == log + 1);
    REQUIRE(*FindLapsed(*session, 0) == lapsed);
    const auto adopted = *Adopt(*session, lapsed[0], kClaim);
    REQUIRE(adopted.has_value());
    CHECK(DeadOf(*adopted) == std::vector<audit::Dead>{{mine, first.head.epoch + 3}, {owed, 5}});
    CHECK(FindLapsed(*session, 0)->empty());
    CHECK(Int("SELECT count(*) FROM audit.log_head WHERE released") == 0);
  }
  SECTION("a released log is nobody's for who wants none of others") {
    Do("UPDATE audit.log_head SET released = true");
    CHECK(TakeFree(*session, other, kClaim, false)->head.log_id == log + 1);
    CHECK(TakeFree(*session, mine, kClaim, false)->head.log_id == log);
  }
}

TEST_CASE_METHOD(AuditFixture, "The database check wants the writer's role and durable settings") {
  CHECK(CheckDatabase(*As("tollgate_writer")).ok());
  CHECK(absl::IsFailedPrecondition(CheckDatabase(sql())));
  Do("CREATE ROLE audit_test_wide NOLOGIN; GRANT tollgate_writer TO audit_test_wide; GRANT UPDATE ON audit.record TO audit_test_wide");
  const absl::Status wide = CheckDatabase(*As("audit_test_wide"));
  CHECK(base::Message(wide).find("may change records") != std::string::npos);
  Do("REVOKE ALL ON audit.record FROM audit_test_wide; DROP ROLE audit_test_wide");
  auto session = As("tollgate_writer");
  REQUIRE(session->Run("weaken", "SELECT set_config('synchronous_commit', 'local', false)").ok());
  CHECK(base::Message(CheckDatabase(*session)).find("synchronous_commit = local") != std::string::npos);
}

TEST_CASE_METHOD(AuditFixture, "Partitions are made ahead, once, and a stray row in the default partition is told and never in the way") {
  auto session = As("tollgate_writer");
  CHECK_FALSE(MakePartitions(*session)->strays);
  CHECK(Int("SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit.record'::regclass") >= 10);
  Do("INSERT INTO audit.record (log_id, leaf_index, wall_us, day, attempt, segment, kind, leaf_hash, message) "
     "VALUES (1, 0, 0, (now() AT TIME ZONE 'UTC')::date + 9, 0, 0, 10, '', '')");
  CHECK(MakePartitions(*session)->strays);
  CHECK(MakePartitions(*session)->left_out == 0);
  CHECK(Int("SELECT left_out FROM audit.make_partitions_beside(20, 1000000)") == 1);
  CHECK(Int("SELECT left_out FROM audit.make_partitions_beside(20, 1000000)") == 1);
}

TEST_CASE_METHOD(AuditFixture, "No partition is made beside a default partition that takes long to read") {
  Do("INSERT INTO audit.record (log_id, leaf_index, wall_us, day, attempt, segment, kind, leaf_hash, message) "
     "SELECT 1, i, 0, (now() AT TIME ZONE 'UTC')::date + 30, 0, 0, 10, '', '' FROM generate_series(1, 1000) i");
  const std::int64_t before = Int("SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit.record'::regclass");
  CHECK(Int("SELECT left_out FROM audit.make_partitions_beside(20, 10000)") == 13);
  CHECK(Int("SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit.record'::regclass") == before);
  CHECK(Int("SELECT audit.move_strays()") == 1000);
  CHECK(Int("SELECT left_out FROM audit.make_partitions_beside(20, 10000)") == 0);
}

TEST_CASE_METHOD(AuditFixture,
                 "Who may make partitions makes a month of them at most, and none beside a long default partition, whatever it asks for") {
  const auto session = As("tollgate_writer");
  const std::string count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit.record'::regclass";
  Do("INSERT INTO audit.record (log_id, leaf_index, wall_us, day, attempt, segment, kind, leaf_hash, message) "
     "SELECT 1, i, 0, (now() AT TIME ZONE 'UTC')::date + 300, 0, 0, 10, '', repeat('x', 7000)::bytea FROM generate_series(1, 2600) i");
  const std::int64_t before = Int(count);
  REQUIRE(session->Run("make", "SELECT audit.make_partitions_beside(100000, 9223372036854775807)").ok());
  CHECK(Int(count) == before);
  REQUIRE(session->Run("make", "SELECT audit.make_partitions_beside(100000, NULL)").ok());
  CHECK(Int(count) == before);
  CHECK(Int("SELECT audit.move_strays()") == 2600);
  const std::int64_t moved = Int(count);
  REQUIRE(session->Run("make", "SELECT audit.make_partitions_beside(100000, 16777216)").ok());
  REQUIRE(session->Run("make", "SELECT audit.make_partitions(100000)").ok());
  CHECK(Int(count) == moved + 31 - 7);
}

TEST_CASE_METHOD(AuditFixture, "The owner, and nobody else, moves strays to partitions of their days; they verify and stay as ever") {
  auto session = As("tollgate_writer");
  const Claim claim = *TakeFree(*session, base::InstanceId::New(), kClaim);
  base::PostgresOptions postgres = cluster.Options(url);
  postgres.role = "tollgate_writer";
  LogWriter writer(postgres, kClaim, claim.head);
  REQUIRE(writer.Attach().status.ok());
  std::vector<EncodedRow> rows;
  for (const int days : {0, 10, 11, 10, 0}) {
    Entry entry = Make(v1::RECORD_KIND_ADMIN, {});
    entry.record.set_wall_us(base::ToMicros(base::SystemClock().Wall() + std::chrono::hours(24 * days)));
    rows.push_back(*Encode(std::move(entry), base::SystemClock()));
  }
  std::vector<const EncodedRow*> batch;
  for (const EncodedRow& row : rows) batch.push_back(&row);
  REQUIRE(writer.Commit(batch, 0).fate == LogWriter::Fate::kDone);
  CHECK(Int("SELECT count(*) FROM audit.record_default") == 3);

  CHECK(absl::IsPermissionDenied(session->Run("move", "SELECT audit.move_strays()").status()));
  CHECK(Int("SELECT audit.move_strays()") == 3);
  CHECK(Int("SELECT audit.move_strays()") == 0);
  CHECK(Int("SELECT count(*) FROM audit.record_default") == 0);
  CHECK(Int("SELECT count(*) FROM audit.record") == 5);
  CHECK(VerifyLog(*As("tollgate_verifier"), claim.head.log_id)->good);
  CHECK_FALSE(MakePartitions(*session)->strays);
  CHECK_FALSE(sql().Run("change", "DELETE FROM audit.record").ok());
  CHECK_FALSE(sql().Run("change", "TRUNCATE audit.record_default").ok());
  CHECK(writer.Commit(batch, 0).fate == LogWriter::Fate::kDone);
}

TEST_CASE_METHOD(AuditFixture, "An instance that has forgotten its log's number finds it by its name, and each log has epochs of its own") {
  auto session = As("tollgate_writer");
  const auto mine = base::InstanceId::New();
  const Claim first = *TakeFree(*session, mine, kClaim);
  const Claim other = *TakeFree(*session, base::InstanceId::New(), kClaim);
  CHECK(other.head.log_id != first.head.log_id);
  CHECK(other.head.epoch > first.head.epoch);
  const Claim again = *TakeFree(*session, mine, kClaim);
  CHECK(again.head.log_id == first.head.log_id);
  CHECK(again.head.epoch > other.head.epoch);
  CHECK(again.previous == mine);
}

TEST_CASE_METHOD(AuditFixture,
                 "Who reads the log for long holds up no partition's maker for long, and a start only if one is missing that is wanted") {
  auto reader = cluster.Connect(url);
  const std::string last = Text("SELECT to_char((now() AT TIME ZONE 'UTC')::date + 7, 'YYYYMMDD')");
  const std::string tomorrow = Text("SELECT to_char((now() AT TIME ZONE 'UTC')::date + 1, 'YYYYMMDD')");
  Do("DROP TABLE audit.record_" + last);
  const bool wanted = GENERATE(false, true);
  if (wanted) Do("DROP TABLE audit.record_" + tomorrow);
  REQUIRE(reader
              ->InTransaction("read for long",
                              [&](base::Session& in) -> absl::Status {
                                TG_RETURN_IF_ERROR(in.Run("read", "SELECT count(*) FROM audit.record").status());
                                auto session = As("tollgate_writer");
                                CHECK(absl::IsAborted(MakePartitions(*session).status()));
                                CHECK(*HasPartitions(*session) == !wanted);
                                const auto journal = PostgresJournal::Open(Options());
                                CHECK(journal.ok() == !wanted);
                                INFO(base::Message(journal.status()));
                                if (wanted) CHECK(base::Message(journal.status()).find("today or tomorrow") != std::string::npos);
                                return absl::OkStatus();
                              })
              .ok());
  auto session = As("tollgate_writer");
  CHECK(MakePartitions(*session).ok());
  CHECK(Text("SELECT to_regclass('audit.record_" + last + "') IS NOT NULL") == "t");
}

}  // namespace
}  // namespace tollgate::audit
