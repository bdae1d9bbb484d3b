#include "gateway/serve/secrets.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/support/temp_dir.h"

using namespace tollgate;

TEST_CASE("Secrets made by dev are refused by serve and taken by dev") {
  const test::TempDir dir;
  const std::string dev = dir.path() + "/dev", own = dir.path() + "/own", pepper = dir.path() + "/pepper";
  REQUIRE(audit::RootKey::Create(dev, true).ok());
  REQUIRE(audit::RootKey::Create(own, false).ok());
  REQUIRE(audit::RootKey::Create(pepper, false).ok());
  tollgate::v1::Config::Secrets config;
  config.set_pepper_file(pepper);
  config.set_root_key_file(own);
  const auto good = serve::ReadSecrets(config, false);
  REQUIRE(good.ok());
  CHECK(good->pepper.size() == 32);
  CHECK(good->directory_mac_key != good->pepper);

  config.set_root_key_file(dev);
  const auto refused = serve::ReadSecrets(config, false);
  CHECK(refused.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(base::Message(refused.status()).find(dev) != std::string::npos);
  CHECK(serve::ReadSecrets(config, true).ok());

  config.set_root_key_file(own);
  config.set_pepper_file(dev);
  CHECK_FALSE(serve::ReadSecrets(config, false).ok());
}
