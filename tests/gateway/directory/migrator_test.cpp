#include "gateway/migrate/migrator.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <future>
#include <thread>

#include <fmt/format.h>

#include "base/encoding.h"
#include "tests/support/postgres_cluster.h"

using namespace tollgate;
using migrate::Migration;
using test::PostgresCluster;

namespace {

base::PostgresOptions OptionsOf(const std::string& url) {
  base::PostgresOptions options = PostgresCluster::Shared().Options(url);
  options.statement_timeout = options.lock_timeout = std::chrono::minutes(1);
  return options;
}

std::unique_ptr<base::Session> ConnectAs(base::PostgresOptions options, const std::string& application) {
  options.application_name = application;
  auto session = base::Session::Connect(options);
  REQUIRE(session.ok());
  return *std::move(session);
}

std::string Ask(base::Session& session, const std::string& sql) {
  const auto rows = session.Run("ask", sql);
  INFO(base::Message(rows.status()));
  REQUIRE(rows.ok());
  return rows->Text(0, 0);
}

bool Says(const absl::Status& status, const std::string& words) { return base::Message(status).find(words) != std::string::npos; }

const Migration kFirst = {"0001_a.sql", "CREATE TABLE a (x int); CREATE SEQUENCE tries;"};

}  // namespace

TEST_CASE("The program carries every migration, byte for byte") {
  for (const auto& [folder, migrations] :
       {std::pair(std::string("main"), migrate::MainMigrations()), std::pair(std::string("keys"), migrate::KeysMigrations())}) {
    REQUIRE_FALSE(migrations.empty());
    for (const Migration& m : migrations) {
      const auto file = base::ReadFile(std::string(TOLLGATE_SOURCE_DIR) + "/migrations/" + folder + "/" + std::string(m.name));
      REQUIRE(file.ok());
      CHECK(*file == m.sql);
      CHECK(m.sql.starts_with("-- Why: "));
    }
  }
}

TEST_CASE("Migrating applies everything once; the second time nothing is left to do") {
  const auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  const auto session = PostgresCluster::Shared().Connect(options.url);
  CHECK(absl::IsFailedPrecondition(migrate::CheckMigrated(*session, migrate::MainMigrations())));
  const auto first = migrate::Migrate(options, migrate::MainMigrations());
  INFO(first.status());
  REQUIRE(first.ok());
  CHECK(first->applied.size() == migrate::MainMigrations().size());
  CHECK(first->already == 0);
  const auto second = migrate::Migrate(options, migrate::MainMigrations());
  REQUIRE(second.ok());
  CHECK(second->applied.empty());
  CHECK(second->already == static_cast<int>(first->applied.size()));
  CHECK(migrate::CheckMigrated(*session, migrate::MainMigrations()).ok());
}

TEST_CASE("The keys database is migrated the same way") {
  const auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  REQUIRE(migrate::Migrate(options, migrate::KeysMigrations()).ok());
  CHECK(migrate::CheckMigrated(*PostgresCluster::Shared().Connect(options.url), migrate::KeysMigrations()).ok());
}

TEST_CASE("Several migrators at once apply each migration once") {
  const auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  std::vector<std::thread> threads;
  std::vector<absl::StatusOr<migrate::Report>> reports(4, base::Unknown("not run"));
  for (auto& report : reports) threads.emplace_back([&] { report = migrate::Migrate(options, migrate::MainMigrations()); });
  for (auto& thread : threads) thread.join();
  std::size_t applied = 0;
  for (const auto& report : reports) {
    INFO(report.status());
    REQUIRE(report.ok());
    applied += report->applied.size();
  }
  CHECK(applied == migrate::MainMigrations().size());
}

TEST_CASE("A migration that changed, is unknown, or does not run is refused, and nothing is left half done") {
  const auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  const auto session = PostgresCluster::Shared().Connect(options.url);
  const std::vector<Migration> one = {{"0001_a.sql", "CREATE TABLE a (x int);"}};
  REQUIRE(migrate::Migrate(options, one).ok());

  const std::vector<Migration> changed = {{"0001_a.sql", "CREATE TABLE a (x bigint);"}, {"0002_b.sql", "CREATE TABLE b (x int);"}};
  const auto refused = migrate::Migrate(options, changed);
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK(base::Message(refused.status()).find("0001_a.sql was applied with another text") != std::string::npos);
  CHECK(absl::IsFailedPrecondition(migrate::CheckMigrated(*session, changed)));

  const std::vector<Migration> broken = {one[0], {"0002_b.sql", "CREATE TABLE b (x int); CREATE TABLE b (x int);"}};
  const auto failed = migrate::Migrate(options, broken);
  CHECK_FALSE(failed.ok());
  CHECK(base::Message(failed.status()).find("0002_b.sql") != std::string::npos);
  CHECK(session->Run("look", "SELECT to_regclass('b') IS NULL")->Bool(0, 0));

  const std::vector<Migration> two = {one[0], {"0002_b.sql", "CREATE TABLE b (x int);"}};
  REQUIRE(migrate::Migrate(options, two).ok());
  const auto newer = migrate::Migrate(options, one);
  CHECK(absl::IsFailedPrecondition(newer.status()));
  CHECK(base::Message(newer.status()).find("newer version") != std::string::npos);
  const std::vector<Migration> between = {one[0], {"0001_b.sql", "SELECT 1;"}, two[1]};
  CHECK(absl::IsFailedPrecondition(migrate::Migrate(options, between).status()));
}

TEST_CASE("A migration that waits for who reads for long holds nobody else up, and is applied once that one has ended") {
  const auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  REQUIRE(migrate::Migrate(options, std::vector<Migration>{kFirst}).ok());
  const std::vector<Migration> two = {kFirst, {"0002_b.sql", "ALTER TABLE a ADD COLUMN y int;"}};
  const auto reader = ConnectAs(options, "reader"), other = ConnectAs(options, "other");
  std::future<absl::StatusOr<migrate::Report>> migrated;
  const absl::Status read = reader->InTransaction("read for long", [&](base::Session& in) -> absl::Status {
    TG_RETURN_IF_ERROR(in.Run("read", "SELECT count(*) FROM a").status());
    migrated = std::async(std::launch::async, [&] { return migrate::Migrate(options, two); });
    while (Ask(*other,
               "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tollgate migrate' "
               "AND wait_event_type = 'Lock'") == "0" &&
           migrated.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) {
    }
    CHECK(Ask(*other, "SELECT count(*) FROM a") == "0");  // Behind a migration that waited for long it would, too.
    CHECK(migrated.wait_for(std::chrono::seconds(0)) != std::future_status::ready);
    return absl::OkStatus();
  });
  REQUIRE(read.ok());
  const auto report = migrated.get();
  INFO(base::Message(report.status()));
  REQUIRE(report.ok());
  CHECK(report->applied == std::vector<std::string>{"0002_b.sql"});
  CHECK(Ask(*other, "SELECT count(y) FROM a") == "0");
}

TEST_CASE("A migration that does not get its locks in time is undone, and says who holds them and not what they do") {
  auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  REQUIRE(migrate::Migrate(options, std::vector<Migration>{kFirst}).ok());
  const std::vector<Migration> two = {kFirst, {"0002_b.sql", "CREATE TABLE b (x int); ALTER TABLE a ADD COLUMN y int;"}};
  const auto reader = ConnectAs(options, "monthly report");
  const absl::Status read = reader->InTransaction("read for long", [&](base::Session& in) -> absl::Status {
    const std::string pid = Ask(in, "SELECT pg_backend_pid() FROM (SELECT count(*) FROM a) secret");
    options.lock_timeout = std::chrono::milliseconds(1500);
    const absl::Status failed = migrate::Migrate(options, two).status();
    INFO(base::Message(failed));
    CHECK(absl::IsAborted(failed));
    CHECK(Says(failed,
               fmt::format("migration 0002_b.sql failed, and was undone; what it needs is held by pid {} (monthly report, since 2", pid)));
    CHECK_FALSE(Says(failed, "secret"));
    return absl::OkStatus();
  });
  REQUIRE(read.ok());
  CHECK(Ask(*reader, "SELECT to_regclass('b') IS NULL") == "t");
}

TEST_CASE("A migration that did not get a lock is made again, with more patience, and one that failed otherwise is not") {
  const auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  const auto session = ConnectAs(options, "test");
  // What a sequence has counted stays counted when all else is undone.
  const auto fails_once = [](const char* state) {
    return fmt::format(
        "DO $$ BEGIN IF nextval('tries') = 1 THEN RAISE EXCEPTION 'no' USING ERRCODE = '{}'; END IF; END $$; "
        "CREATE TABLE limits AS SELECT current_setting('lock_timeout') AS lock;",
        state);
  };
  const std::string locked = fails_once("55P03"), broken = fails_once("P0001");
  const bool again = GENERATE(true, false);
  const auto report = migrate::Migrate(options, std::vector<Migration>{kFirst, {"0002_b.sql", again ? locked : broken}});
  INFO(base::Message(report.status()));
  CHECK(report.ok() == again);
  CHECK(Ask(*session, "SELECT last_value FROM tries") == (again ? "2" : "1"));
  if (again) CHECK(Ask(*session, "SELECT lock FROM limits") == "1200ms");
}

TEST_CASE("A migration may take as long as its caller says, and asks for locks for a moment") {
  auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  const auto session = ConnectAs(options, "test");
  options.statement_timeout = std::chrono::minutes(90);
  const Migration tells = {
      "0001_a.sql",
      "CREATE TABLE limits AS SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') AS t, "
      "current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('client_connection_check_interval') AS u;"};
  REQUIRE(migrate::Migrate(options, std::vector<Migration>{tells}).ok());
  CHECK(Ask(*session, "SELECT t FROM limits") == "90min 500ms");
  CHECK(Ask(*session, "SELECT u FROM limits") == "30s 5s");  // Whoever interrupts or pauses it holds nobody up for long.
  options.statement_timeout = std::chrono::seconds(2);
  const absl::Status late = migrate::Migrate(options, std::vector<Migration>{tells, {"0002_b.sql", "SELECT pg_sleep(60);"}}).status();
  INFO(base::Message(late));
  CHECK(absl::IsUnavailable(late));
  CHECK(Says(late, "migration 0002_b.sql failed"));
}

TEST_CASE("Who finds another migration at work waits for it, and names it in the end") {
  auto options = OptionsOf(PostgresCluster::Shared().NewDatabase());
  const auto at_work = ConnectAs(options, "tollgate migrate");
  const std::string pid = Ask(*at_work, fmt::format("SELECT pg_backend_pid() FROM pg_advisory_lock({})", 0x746f6c6c67617465));
  options.statement_timeout = std::chrono::seconds(2);
  const absl::Status refused = migrate::Migrate(options, std::vector<Migration>{kFirst}).status();
  INFO(base::Message(refused));
  CHECK(absl::IsAborted(refused));
  CHECK(Says(refused, fmt::format("another migration is at work, pid {} (tollgate migrate, since 2", pid)));
  REQUIRE(Ask(*at_work, fmt::format("SELECT pg_advisory_unlock({})", 0x746f6c6c67617465)) == "t");
  CHECK(migrate::Migrate(options, std::vector<Migration>{kFirst}).ok());
}
