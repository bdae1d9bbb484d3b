// A database of its own, as the gateway's writer sees it.
#pragma once

#include <memory>
#include <string>

#include <catch2/catch_test_macros.hpp>

#include "base/postgres.h"
#include "tests/support/postgres_cluster.h"

namespace tollgate::metering {

struct WriterDatabase {
  std::string url = test::PostgresCluster::Shared().NewDatabase({"migrations/main"});

  // The superuser takes the role, as the gateway's login does.
  base::PostgresOptions WriterOptions() const {
    base::PostgresOptions options = test::PostgresCluster::Shared().Options(url);
    options.role = "tollgate_writer";
    return options;
  }
  std::unique_ptr<base::Session> Writer() const {
    auto session = base::Session::Connect(WriterOptions());
    REQUIRE(session.status().ToString() == "OK");
    return *std::move(session);
  }
};

}  // namespace tollgate::metering
