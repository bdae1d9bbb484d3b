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
  const auto session = cluster.Connect(options.postgres_url);
  REQUIRE(session
              ->RunScript("another's log, released",
                          "INSERT INTO audit.log_head (log_id, instance_id, epoch, fence, next_index, open_from, expires_at, released) "
                          "VALUES (1, gen_random_uuid(), 1, 1, 0, 0, now(), true)")
              .ok());
  CHECK(migrate::HasKeys(options.postgres_url).value() == false);
  CHECK(migrate::CheckDirectory(options.postgres_url, options.mac_key).ok());
  const auto made = migrate::MakeFirstOwner(options);
  INFO(made.status());
  REQUIRE(made.ok());
  REQUIRE(made->has_value());
  CHECK((*made)->starts_with("tg_live_"));
  CHECK(session->Run("look", "SELECT epoch FROM audit.log_head WHERE log_id = 1")->Int(0, 0) == 1);
  const auto records = [&] { return session->Run("look", "SELECT count(*) FROM audit.record")->Int(0, 0); };
  const std::int64_t before = records();
  const auto again = migrate::MakeFirstOwner(options);
  REQUIRE(again.ok());
  CHECK_FALSE(again->has_value());
  CHECK(records() == before);  // Not even a START.
  migrate::FirstOwnerOptions another = options;
  another.another = true;
  another.owner = "eve@example";
  const auto new_owner = migrate::MakeFirstOwner(another);
  INFO(new_owner.status());
  REQUIRE(new_owner.ok());
  REQUIRE(new_owner->has_value());
  CHECK(**new_owner != **made);
  CHECK(session->Run("look", "SELECT count(*) FROM directory.key WHERE roles = 'owner' AND owner = 'eve@example'")->Int(0, 0) == 1);
  migrate::FirstOwnerOptions other = options;
  other.mac_key = std::string(32, 'x');
  CHECK(absl::IsDataLoss(migrate::MakeFirstOwner(other).status()));
  CHECK(absl::IsDataLoss(migrate::CheckDirectory(options.postgres_url, other.mac_key)));
  CHECK(migrate::HasKeys(options.postgres_url).value());  // For which no secret is needed.

  CHECK(session->Run("look", "SELECT count(*) FROM audit.record WHERE kind = 7")->Int(0, 0) == 5);
  const auto logs = audit::ListLogs(*session);
  REQUIRE(logs.ok());
  for (const std::int32_t log : *logs) {
    const auto report = audit::VerifyLog(*session, log);
    REQUIRE(report.ok());
    INFO(report->problem);
    CHECK(report->good);
  }
}
