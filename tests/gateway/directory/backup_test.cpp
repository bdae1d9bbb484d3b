// What docs/backup.md tells a database administrator to do, done with pg_dump and pg_restore.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "audit/journal_postgres.h"
#include "audit/verify.h"
#include "base/encoding.h"
#include "gateway/migrate/logins.h"
#include "gateway/migrate/migrator.h"
#include "gateway/migrate/roles.h"
#include "tests/support/postgres_cluster.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;
using migrate::Database;
using test::PostgresCluster;

namespace {

constexpr const char* kRoles = "CREATE ROLE tollgate LOGIN CREATEROLE; CREATE ROLE tollgate_serve LOGIN";
constexpr const char* kRooms =
    "CREATE ROLE tollgate_writer; CREATE ROLE tollgate_reader; CREATE ROLE tollgate_keys; CREATE ROLE tollgate_directory; "
    "CREATE ROLE tollgate_retention; CREATE ROLE tollgate_verifier; "
    "GRANT tollgate_writer, tollgate_reader, tollgate_keys, tollgate_directory, tollgate_retention, tollgate_verifier TO tollgate WITH "
    "ADMIN OPTION";

// A program of Postgres's: whether it ended well. What it says goes to the test's output. `services`: PGSERVICEFILE.
bool Run(const std::string& command, const std::string& services = "") {
  return std::system(fmt::format("PGSERVICEFILE='{}' /usr/lib/postgresql/15/bin/{}", services, command).c_str()) == 0;
}

struct Site {
  PostgresCluster cluster;  // Of its own: roles are a cluster's.
  std::string url = cluster.NewDatabase(), keys_url = cluster.NewDatabase();

  explicit Site(bool rooms) {
    Do(url, kRoles);
    if (rooms) Do(url, kRooms);
    for (const std::string& database : {url, keys_url}) Do(database, fmt::format("ALTER DATABASE {} OWNER TO tollgate", Name(database)));
  }
  std::string Name(const std::string& database) { return cluster.Connect(database)->Run("ask", "SELECT current_database()")->Text(0, 0); }
  std::string AsOwner(const std::string& database) { return cluster.UrlAs(database, "tollgate"); }
  // A file with how the owner reaches both databases, so that no password stands in a command.
  void WriteServices(const std::string& file) {
    const std::string socket = cluster.Connect(url)->Run("ask", "SHOW unix_socket_directories")->Text(0, 0);
    const std::string port = cluster.Connect(url)->Run("ask", "SHOW port")->Text(0, 0);
    constexpr const char* kService = "[{}]\nhost={}\nport={}\ndbname={}\nuser=tollgate\n";
    REQUIRE(base::WriteFileAtomically(file,
                                      fmt::format(kService, "tollgate", socket, port, Name(url)) +
                                          fmt::format(kService, "tollgate_keys", socket, port, Name(keys_url)),
                                      0600)
                .ok());
  }
  void Do(const std::string& database, const std::string& sql) {
    const absl::Status status = cluster.Connect(database)->RunScript("test", sql);
    INFO(base::Message(status));
    REQUIRE(status.ok());
  }
  std::int64_t Count(const std::string& database, const std::string& table) {
    return cluster.Connect(database)->Run("count", "SELECT count(*) FROM " + table)->Int(0, 0);
  }
  // As `tollgate migrate` does; gives how many files it applied.
  absl::StatusOr<std::size_t> Migrate(const std::string& database, Database which) {
    const base::PostgresOptions owner = cluster.Options(AsOwner(database));
    TG_RETURN_IF_ERROR(migrate::MakeRoles(owner, which));
    TG_ASSIGN(const auto report, migrate::Migrate(owner, which == Database::kMain ? migrate::MainMigrations() : migrate::KeysMigrations()));
    TG_RETURN_IF_ERROR(migrate::CheckRights(*cluster.Connect(AsOwner(database)), which));
    TG_RETURN_IF_ERROR(migrate::GrantRoles(owner, which, "tollgate_serve"));
    return report.applied.size();
  }
};

constexpr const char* kUsage =
    "SET LOCAL ROLE tollgate_writer; INSERT INTO metering.usage (request_id, leaf_index, at_us, amount_nanos, epoch, input_tokens, "
    "cached_input_tokens, output_tokens, delivered_tokens, price_version, attempt, log_id, currency, model, end_user_hmac, leases) "
    "VALUES (gen_random_uuid(), 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 'EUR', 'm', '', '')";

}  // namespace

TEST_CASE("A dump by the owner's login holds what row security guards, and is restored on another cluster, rights and all") {
  test::TempDir dir;
  Site here(false);
  REQUIRE(here.Migrate(here.url, Database::kMain).ok());
  REQUIRE(here.Migrate(here.keys_url, Database::kKeys).ok());
  std::int32_t log = 0;
  {
    audit::JournalOptions options;
    options.postgres_url = here.cluster.UrlAs(here.url, "tollgate_serve");
    options.state_dir = dir.File("state");
    options.adopt = false;
    const auto journal = audit::PostgresJournal::Open(options);
    INFO(base::Message(journal.status()));
    REQUIRE(journal.ok());
    log = (*journal)->log_id();
    audit::Entry entry;
    entry.record.set_kind(v1::RECORD_KIND_ADMIN);
    REQUIRE(audit::AppendAndWait(**journal, std::move(entry), std::chrono::steady_clock::now() + std::chrono::seconds(30)).ok());
  }
  here.Do(here.url, kUsage);
  here.Do(here.keys_url, "INSERT INTO keys.request VALUES (gen_random_uuid(), 1)");

  const std::string dump = dir.File("main.dump"), keys_dump = dir.File("keys.dump");
  const std::string services = dir.File("services"), services_there = dir.File("services_there");
  here.WriteServices(services);
  CHECK_FALSE(Run(fmt::format("pg_dump -Fc -f {} service=tollgate", dump), services));  // Refused, not cut short.
  REQUIRE(Run(fmt::format("pg_dump -Fc --enable-row-security -f {} service=tollgate", dump), services));
  REQUIRE(Run(fmt::format("pg_dump -Fc -f {} service=tollgate_keys", keys_dump), services));

  Site there(true);
  there.WriteServices(services_there);
  REQUIRE(Run(fmt::format("pg_restore --exit-on-error -d service=tollgate {}", dump), services_there));
  REQUIRE(Run(fmt::format("pg_restore --exit-on-error -d service=tollgate_keys {}", keys_dump), services_there));
  for (const Database which : {Database::kMain, Database::kKeys}) {
    const std::string& database = which == Database::kMain ? there.url : there.keys_url;
    const auto applied = there.Migrate(database, which);
    INFO(base::Message(applied.status()));
    REQUIRE(applied.ok());
    CHECK(*applied == 0);
    CHECK(migrate::CheckLogin(*there.cluster.Connect(there.cluster.UrlAs(database, "tollgate_serve")), which).ok());
  }
  for (const char* table : {"audit.record", "audit.log_head", "metering.usage", "public.tollgate_migration"}) {
    INFO(table);
    CHECK(there.Count(there.url, table) == here.Count(here.url, table));
    CHECK(there.Count(there.url, table) > 0);
  }
  CHECK(there.Count(there.keys_url, "keys.request") == 1);
  base::PostgresOptions verifier = there.cluster.Options(there.cluster.UrlAs(there.url, "tollgate_serve"));
  verifier.role = "tollgate_verifier";
  const auto session = base::Session::Connect(verifier);
  REQUIRE(session.ok());
  const auto report = audit::VerifyLog(**session, log);
  REQUIRE(report.ok());
  CHECK(report->problem == "");

  // Where the roles are missing a restore goes on without their rights, and `migrate` says what to do.
  Site bare(false);
  CHECK_FALSE(Run(fmt::format("pg_restore -d '{}' {} 2> /dev/null", bare.AsOwner(bare.url), dump)));
  CHECK_FALSE(Run(fmt::format("pg_restore -d '{}' {} 2> /dev/null", bare.AsOwner(bare.keys_url), keys_dump)));
  for (const Database which : {Database::kMain, Database::kKeys}) {
    const auto refused = bare.Migrate(which == Database::kMain ? bare.url : bare.keys_url, which);
    INFO(base::Message(refused.status()));
    CHECK(absl::IsFailedPrecondition(refused.status()));
    CHECK(base::Message(refused.status()).find("restore it again") != std::string::npos);
  }
}

TEST_CASE("An owner whom row security would show nothing is told so by `migrate`, for its dumps would lack usage and ledger") {
  Site site(true);
  REQUIRE(site.Migrate(site.url, Database::kMain).ok());
  site.Do(site.url, kUsage);
  const auto sees = [&] {
    return site.cluster.Connect(site.AsOwner(site.url))->Run("look", "SELECT count(*) FROM metering.usage")->Int(0, 0);
  };
  CHECK(sees() == 1);
  SECTION("it does not inherit") {
    site.Do(site.url, "ALTER ROLE tollgate NOINHERIT");
    CHECK(sees() == 0);
    const auto refused = site.Migrate(site.url, Database::kMain);
    CHECK(absl::IsFailedPrecondition(refused.status()));
    const std::string says = base::Message(refused.status());
    INFO(says);
    const auto begin = says.find("ALTER ROLE tollgate INHERIT");
    REQUIRE(begin != std::string::npos);
    site.Do(site.url, says.substr(begin, says.find(", and this again") - begin));
  }
  SECTION("it is no member any more, and may make itself one") {
    site.Do(site.url, "REVOKE tollgate_writer, tollgate_verifier FROM tollgate");
    CHECK(sees() == 0);
  }
  SECTION("it is no member any more, and may not make itself one") {
    site.Do(site.url, "REVOKE tollgate_writer, tollgate_verifier FROM tollgate");
    site.Do(site.url, "ALTER ROLE tollgate NOCREATEROLE");
    const auto refused = site.Migrate(site.url, Database::kMain);
    INFO(base::Message(refused.status()));
    CHECK(base::Message(refused.status()).find("GRANT tollgate_writer TO tollgate") != std::string::npos);
    site.Do(site.url, "ALTER ROLE tollgate CREATEROLE");
  }
  const auto taken = site.Migrate(site.url, Database::kMain);
  INFO(base::Message(taken.status()));
  CHECK(taken.ok());
  CHECK(sees() == 1);
}

TEST_CASE("No command of the docs gives a program of Postgres's a password as an argument, which every user of the machine can read") {
  const std::filesystem::path root(TOLLGATE_SOURCE_DIR);
  std::vector<std::filesystem::path> pages = {root / "README.md"};
  for (const auto& page : std::filesystem::recursive_directory_iterator(root / "docs")) pages.push_back(page.path());
  for (const auto& page : pages) {
    const auto text = base::ReadFile(page);
    if (!text.ok() || page.extension() != ".md") continue;
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      const auto program = std::min({line.find("pg_dump"), line.find("pg_restore"), line.find("psql ")});
      INFO(page.string() << ": " << line);
      CHECK((program == std::string::npos || line.find("$(cat", program) == std::string::npos));
    }
  }
}
