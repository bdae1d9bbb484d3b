// A database with prices, a log, and requests as the journal leaves them, for tests of reports and of reconciliation.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "metering/usage_postgres.h"
#include "tests/metering/rows.h"
#include "tests/support/postgres_cluster.h"

namespace tollgate::metering {

inline const base::WallTime kDay = std::chrono::sys_days(std::chrono::year(2026) / 11 / 25);

struct Fixture {
  static constexpr std::int64_t kLogSize = 2'000'000;  // What has a higher index came later.

  std::string url = test::PostgresCluster::Shared().NewDatabase({"migrations/main"});
  std::unique_ptr<base::Session> session = test::PostgresCluster::Shared().Connect(url);
  std::int64_t index = 0;

  Fixture() {  // The prices of tests/metering/rows.h: version 1, and those of guard models.
    for (const auto& [version, model] : {std::pair{1, "smollm2"}, std::pair{2, "judge"}, std::pair{3, "other"}}) {
      Must(
          fmt::format("INSERT INTO metering.price VALUES (gen_random_uuid(), {0}, gen_random_uuid(), 1, 1, '\\x00', {0}, '{1}', 0, 150000, "
                      "75000, 600000, 'EUR')",
                      version, model));
    }
    Must(fmt::format("INSERT INTO audit.log_head VALUES (1, gen_random_uuid(), 1, 1, {}, 0, now())", kLogSize));
  }

  void Must(const std::string& script) { REQUIRE(session->RunScript("script", script).ToString() == "OK"); }
  // By the superuser, with the triggers off.
  void Plant(const std::string& script) {
    Must(fmt::format("SET session_replication_role = replica; {}; RESET session_replication_role", script));
  }

  v1::Record Serve(const Who& who, base::WallTime at, const v1::TokenCounts& tokens, const std::string& model = "smollm2") {
    return metering::Serve(*session, who, at, tokens, index++, model);
  }

  // A request with the rows that `rows` are of, and its REQUEST, of the time that it has or a second before.
  void Settle(v1::Record request, const v1::Record& end, base::WallTime at) {
    const auto rows = Settlement(request, at, end.end());
    REQUIRE(rows.ok());
    if (request.wall_us() == 0) {
      InsertRequest(*session, request, at, index);
    } else {
      InsertRecord(*session, request, 1, 1'000'000 + index);
    }
    for (const auto& row : *rows) REQUIRE(InsertCompanion(*session, row, 1, index).ToString() == "OK");
    InsertRecord(*session, end, 1, index++);
  }

  std::unique_ptr<base::Session> Verifier(std::chrono::milliseconds statement_timeout = std::chrono::seconds(60)) {
    base::PostgresOptions options = test::PostgresCluster::Shared().Options(url);
    options.role = "tollgate_verifier";
    options.statement_timeout = statement_timeout;
    auto verifier = base::Session::Connect(options);
    REQUIRE(verifier.ok());
    return *std::move(verifier);
  }

  Reconciliation Reconcile(base::WallTime from = kDay, base::WallTime to = kDay + std::chrono::hours(24),
                           const std::function<absl::Status()>& keep_going = {}) {
    const auto result = metering::Reconcile(*Verifier(), from, to, keep_going);
    REQUIRE(result.status().ToString() == "OK");
    return *result;
  }
};

}  // namespace tollgate::metering
