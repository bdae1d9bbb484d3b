#include "gateway/migrate/lost_keys.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/support/postgres_cluster.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using test::PostgresCluster;

TEST_CASE("Who goes on without lost keys is on record, with the reason, and each time") {
  PostgresCluster& cluster = PostgresCluster::Shared();
  test::TempDir dir;
  const audit::RootKey root = audit::RootKey::FromBytes(std::string(32, 'r'));
  migrate::LostKeysOptions options;
  options.postgres_url = cluster.NewDatabase({"migrations/main"});
  options.keys_url = cluster.NewDatabase({"migrations/keys"});
  options.state_dir = dir.File("migrate");
  options.actor = "cli:root";
  options.build = "test";
  const auto session = cluster.Connect(options.postgres_url);
  const auto records = [&] { return session->Run("look", "SELECT count(*) FROM audit.record WHERE kind = 7")->Int(0, 0); };
  CHECK(absl::IsInvalidArgument(migrate::GoOnWithoutKeys(root, options)));
  options.reason = "the disk is gone";
  const absl::Status done = migrate::GoOnWithoutKeys(root, options);
  INFO(base::Message(done));
  REQUIRE(done.ok());
  CHECK(records() == 1);
  CHECK(session->Run("look", "SELECT count(*) FROM audit.record WHERE position('the disk is gone'::bytea IN message) > 0")->Int(0, 0) == 1);
  REQUIRE(migrate::GoOnWithoutKeys(root, options).ok());
  CHECK(records() == 2);
  CHECK(cluster.Connect(options.keys_url)->Run("look", "SELECT count(*) FROM keys.loss")->Int(0, 0) == 2);
  CHECK(absl::IsFailedPrecondition(migrate::GoOnWithoutKeys(audit::RootKey::FromBytes(std::string(32, 'x')), options)));
  CHECK(records() == 2);
}
