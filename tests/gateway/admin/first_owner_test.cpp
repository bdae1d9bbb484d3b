#include "gateway/migrate/first_owner.h"

#include <catch2/catch_test_macros.hpp>

#include "audit/verify.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using test::PostgresCluster;

TEST_CASE("The first owner's key is on record in a log that verifies") {
  PostgresCluster& cluster = PostgresCluster::Shared();
  test::TempDir dir;
  migrate::FirstOwnerOptions options;
  options.postgres_url = cluster.NewDatabase({"migrations/main"});
  options.keys_url = cluster.NewDatabase({"migrations/keys"});
  options.state_dir = dir.File("migrate");
  options.mac_key = std::string(32, 'm');
  options.pepper = std::string(32, 'p');
  options.actor = "cli:root";
  options.owner = "root@example";
  options.build = "test";
  const auto made = migrate::MakeFirstOwner(options);
  INFO(made.status());
  REQUIRE(made.ok());
  REQUIRE(made->has_value());
  CHECK((*made)->starts_with("tg_live_"));
  const auto again = migrate::MakeFirstOwner(options);
  REQUIRE(again.ok());
  CHECK_FALSE(again->has_value());

  const auto session = cluster.Connect(options.postgres_url);
  CHECK(session->Run("look", "SELECT count(*) FROM audit.record WHERE kind = 7")->Int(0, 0) == 4);
  const auto logs = audit::ListLogs(*session);
  REQUIRE(logs.ok());
  for (const std::int32_t log : *logs) {
    const auto report = audit::VerifyLog(*session, log);
    REQUIRE(report.ok());
    INFO(report->problem);
    CHECK(report->good);
  }
}
