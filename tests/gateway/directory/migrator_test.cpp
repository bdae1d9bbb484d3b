#include "gateway/migrate/migrator.h"

#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "base/encoding.h"
#include "tests/support/postgres_cluster.h"

using namespace tollgate;
using migrate::Migration;
using test::PostgresCluster;

namespace {

base::PostgresOptions OptionsOf(const std::string& url) { return PostgresCluster::Shared().Options(url); }

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
