#include <catch2/catch_test_macros.hpp>

#include <set>

#include "tests/metering/rows.h"
#include "tests/support/postgres_cluster.h"

namespace tollgate::metering {
namespace {

using namespace std::chrono_literals;
using Cluster = test::PostgresCluster;

TEST_CASE("Who may do what with metering's tables") {
  const auto session = Cluster::Shared().Connect(Cluster::Shared().NewDatabase({"migrations/main"}));
  struct Row {
    const char* table;
    const char* role;
    std::string verbs;
  };
  const std::string all = "SELECT INSERT UPDATE DELETE";
  const Row allowed[] = {
      {"usage", "tollgate_writer", "SELECT INSERT"},
      {"transfer", "tollgate_writer", "SELECT INSERT"},
      {"holder", "tollgate_writer", all},
      {"balance", "tollgate_writer", all},
      {"lease", "tollgate_writer", all},
      {"usage", "tollgate_reader", "SELECT"},
      {"transfer", "tollgate_reader", "SELECT"},
      {"price", "tollgate_reader", "SELECT"},
      {"balance", "tollgate_reader", "SELECT"},
      {"usage", "tollgate_verifier", "SELECT"},
      {"transfer", "tollgate_verifier", "SELECT"},
      {"price", "tollgate_verifier", "SELECT"},
      {"holder", "tollgate_verifier", "SELECT"},
      {"balance", "tollgate_verifier", "SELECT"},
      {"lease", "tollgate_verifier", "SELECT"},
      {"price", "tollgate_directory", "SELECT INSERT"},
  };
  for (const char* table : {"usage", "transfer", "price", "holder", "balance", "lease"}) {
    for (const char* role :
         {"tollgate_writer", "tollgate_reader", "tollgate_directory", "tollgate_retention", "tollgate_verifier", "tollgate_keys"}) {
      std::string want;
      for (const Row& row : allowed) {
        if (std::string(row.table) == table && std::string(row.role) == role) want = row.verbs;
      }
      std::string have;
      for (const char* verb : {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}) {
        const auto rows = session->Run("privilege", "SELECT has_table_privilege($1::text, 'metering.' || $2::text, $3::text)",
                                       {std::string(role), std::string(table), std::string(verb)});
        REQUIRE(rows.ok());
        if (rows->Bool(0, 0)) have += (have.empty() ? "" : " ") + std::string(verb);
      }
      INFO(role << " on " << table);
      CHECK(have == want);
    }
  }
}

TEST_CASE("Usage, ledger and prices can only be added to, even by the owner") {
  const auto session = Cluster::Shared().Connect(Cluster::Shared().NewDatabase({"migrations/main"}));
  Serve(*session, Who(), base::SystemClock().Wall(), CountsOf(10, 0, 5, 5), 0);
  REQUIRE(session
              ->RunScript("price",
                          "INSERT INTO metering.price VALUES (gen_random_uuid(), 1, gen_random_uuid(), 1, 1, '\\x00', 1, 'm', 0, 1000, "
                          "1000, 1000, 'EUR')")
              .ok());
  for (const char* sql :
       {"UPDATE metering.usage SET output_tokens = 6, delivered_tokens = 0", "DELETE FROM metering.usage", "TRUNCATE metering.usage",
        "UPDATE metering.transfer SET amount_nanos = 1", "DELETE FROM metering.transfer", "TRUNCATE metering.transfer",
        "UPDATE metering.price SET output_nanos = 2000", "DELETE FROM metering.price", "TRUNCATE metering.price"}) {
    INFO(sql);
    CHECK(session->RunScript("change", sql).code() == absl::StatusCode::kPermissionDenied);
  }
}

TEST_CASE("The same settlement twice is refused, and so is what makes no sense") {
  const auto session = Cluster::Shared().Connect(Cluster::Shared().NewDatabase({"migrations/main"}));
  const Who who;
  const v1::Record request = RequestOf(who);
  const auto rows = Settlement(request, base::SystemClock().Wall(), CountsOf(10, 4, 5, 5));
  REQUIRE(rows.ok());
  for (const auto& row : *rows) {
    CHECK(InsertCompanion(*session, row, 1, 0).ok());
    CHECK(InsertCompanion(*session, row, 1, 1).code() == absl::StatusCode::kAlreadyExists);
  }
  const char* const price =
      "INSERT INTO metering.price VALUES (gen_random_uuid(), 1, gen_random_uuid(), 1, 1, '\\x00', {}, 'm', 0, {}, 1000, 1000, '{}')";
  CHECK(session->RunScript("price", fmt::format(fmt::runtime(price), 1, 1000, "EUR")).ok());
  CHECK(session->RunScript("price", fmt::format(fmt::runtime(price), 1, 1000, "EUR")).code() == absl::StatusCode::kAlreadyExists);
  CHECK(session->RunScript("price", fmt::format(fmt::runtime(price), 2, 0, "EUR")).code() == absl::StatusCode::kFailedPrecondition);
  CHECK(session->RunScript("price", fmt::format(fmt::runtime(price), 0, 1000, "EUR")).code() == absl::StatusCode::kFailedPrecondition);
  CHECK(session->RunScript("price", fmt::format(fmt::runtime(price), 3, 1000, "eur")).code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("Readers see the usage and the ledger of their tenant alone") {
  const std::string url = Cluster::Shared().NewDatabase({"migrations/main"});
  const auto session = Cluster::Shared().Connect(url);
  Who a, b, c;
  b.org = a.org;
  std::int64_t index = 0;
  for (const Who* who : {&a, &b, &c}) Serve(*session, *who, base::SystemClock().Wall(), CountsOf(10, 0, 5, 5), index++);
  base::PostgresOptions options = Cluster::Shared().Options(url);
  options.role = "tollgate_reader";
  auto reader = base::Session::Connect(options);
  REQUIRE(reader.ok());
  struct Row {
    std::string setting, value;
    std::int64_t sees;
  };
  for (const Row& row : {Row{"tollgate.team", a.team.ToString(), 1}, Row{"tollgate.org", a.org.ToString(), 2}, Row{"tollgate.all", "on", 3},
                         Row{"tollgate.team", "", 0}, Row{"tollgate.team", base::Uuid::NewV7().ToString(), 0}}) {
    for (const char* table : {"usage", "transfer"}) {
      std::int64_t sees = -1;
      const absl::Status status = (*reader)->InTransaction("read", [&](base::Session& s) -> absl::Status {
        TG_RETURN_IF_ERROR(s.Run("scope", "SELECT set_config($1::text, $2::text, true)", {row.setting, row.value}).status());
        TG_ASSIGN(const base::Rows rows, s.Run("count", fmt::format("SELECT count(*) FROM metering.{}", table)));
        sees = rows.Int(0, 0);
        return absl::OkStatus();
      });
      REQUIRE(status.ToString() == "OK");
      INFO(row.setting << " " << table);
      CHECK(sees == row.sees);
    }
  }
}

}  // namespace
}  // namespace tollgate::metering
