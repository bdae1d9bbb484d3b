// What remembers: the directory, then keys and journal, then quotas over the journal's epoch.
// Tested by tests/e2e, which start the program.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/diagnostics.h"
#include "base/postgres_address.h"
#include "gateway/migrate/logins.h"
#include "gateway/migrate/migrator.h"
#include "gateway/serve/parts.h"
#include "metering/books.h"

namespace tollgate::serve {

namespace v1 = tollgate::v1;
using std::chrono::milliseconds;

base::PostgresOptions PostgresFor(const v1::Config& config, const std::string& role) {
  const auto& p = config.postgres();
  return {.url = p.url(),
          .connect_timeout = milliseconds(p.connect_timeout_ms()),
          .statement_timeout = milliseconds(p.statement_timeout_ms()),
          .lock_timeout = milliseconds(p.lock_timeout_ms()),
          .role = role};
}

namespace {

absl::Status CheckDatabase(const base::PostgresOptions& postgres, migrate::Database database,
                           std::span<const migrate::Migration> migrations) {
  TG_ASSIGN(auto session, base::Session::Connect(postgres));
  TG_RETURN_IF_ERROR(migrate::CheckMigrated(*session, migrations));
  return migrate::CheckLogin(*session, database);
}

absl::Status CheckDatabases(const v1::Config& config) {
  base::PostgresOptions postgres = PostgresFor(config, "");
  // Both before the first connection: what logs in tells its password.
  TG_RETURN_IF_ERROR(base::Annotate(base::CheckPostgresAddress(config.postgres().url()), "postgres.url"));
  TG_RETURN_IF_ERROR(base::Annotate(base::CheckPostgresAddress(config.postgres().keys_url()), "postgres.keys_url"));
  TG_RETURN_IF_ERROR(base::Annotate(CheckDatabase(postgres, migrate::Database::kMain, migrate::MainMigrations()), "postgres.url"));
  postgres.url = config.postgres().keys_url();
  return base::Annotate(CheckDatabase(postgres, migrate::Database::kKeys, migrate::KeysMigrations()), "postgres.keys_url");
}

// Usage and ledger rows of a request that a dead instance left open.
absl::StatusOr<std::vector<base::Companion>> Settle(const audit::OpenRequest& open, v1::EndBody& end) {
  TG_RETURN_IF_ERROR(metering::FillAmounts(open.request.request().price(), end));
  // The ABORT's own wall time: usage and record fall into the same period.
  const base::WallTime at = base::FromMicros(open.request.wall_us() + end.total_us());
  return metering::Settlement(open.request, at, end);
}

// The usage of the lives that ended is counted again: with month quotas up to a month's rows. Nobody waits for it.
constexpr std::chrono::hours kReturnTimeout{2};

audit::LogTaken ReturnLeasesWith(const v1::Config& config) {
  base::PostgresOptions postgres = PostgresFor(config, "tollgate_writer");
  postgres.statement_timeout = kReturnTimeout;
  return [options = std::move(postgres)](base::InstanceId owner, std::int64_t epoch, const std::function<bool()>& stopping) {
    return metering::ReturnLeasesUnless(stopping, options, owner, epoch);
  };
}

absl::Status OpenJournal(Parts& parts) {
  const v1::Config& config = parts.config;
  const auto& j = config.journal();
  audit::JournalOptions options;
  options.postgres_url = config.postgres().url();
  options.keys_url = config.postgres().keys_url();
  options.role = config.postgres().role();
  options.state_dir = config.state_dir();
  options.build = parts.build;
  options.queue_rows_max = static_cast<std::size_t>(j.queue_records_max());
  options.queue_bytes_max = static_cast<std::size_t>(j.queue_bytes_max());
  options.queue_age_max = milliseconds(j.queue_age_max_ms());
  options.batch_rows_max = static_cast<std::size_t>(j.batch_records_max());
  options.batch_bytes_max = static_cast<std::size_t>(j.batch_bytes_max());
  options.statement_timeout = milliseconds(config.postgres().statement_timeout_ms());
  options.connect_timeout = milliseconds(config.postgres().connect_timeout_ms());
  options.lock_timeout = milliseconds(config.postgres().lock_timeout_ms());
  options.recovery = {Settle, ReturnLeasesWith(config)};
  TG_ASSIGN(parts.journal, audit::PostgresJournal::Open(std::move(options)));
  return absl::OkStatus();
}

// Of grants from before it was kept who gave them nobody knows whether an owner did.
absl::Status WarnOfClosedGrants(directory::PostgresDirectory& directory) {
  TG_ASSIGN(const auto snapshot, directory.InForce());
  const std::vector<std::string> models = snapshot->ClosedGrants();
  if (models.empty()) return absl::OkStatus();
  base::Warn("directory",
             "restricted models are on allow-lists where no owner put them, and are closed there: {}; an owner opens them by granting them "
             "again (tollgate models grants, tollgate models grant MODEL …)",
             fmt::join(models, ", "));
  return absl::OkStatus();
}

}  // namespace

absl::Status BuildData(Parts& parts) {
  const v1::Config& config = parts.config;
  TG_ASSIGN(InstallationSecrets secrets, ReadSecrets(config.secrets(), parts.dev));
  parts.secrets = std::make_unique<InstallationSecrets>(std::move(secrets));
  TG_RETURN_IF_ERROR(CheckPorts(config));
  TG_RETURN_IF_ERROR(CheckDatabases(config));
  directory::DirectoryOptions directory{.postgres = PostgresFor(config, "tollgate_directory"),
                                        .mac_key = parts.secrets->directory_mac_key,
                                        .poll_interval = milliseconds(config.directory_poll_ms()),
                                        .stale_max = milliseconds(config.directory_stale_max_ms())};
  TG_ASSIGN(parts.directory, directory::PostgresDirectory::Open(std::move(directory), base::SystemClock()));
  TG_RETURN_IF_ERROR(WarnOfClosedGrants(*parts.directory));
  audit::PostgresKeysOptions keys{.url = config.postgres().keys_url(),
                                  .main_url = config.postgres().url(),
                                  .main_role = config.postgres().role(),
                                  .connect_timeout = milliseconds(config.postgres().connect_timeout_ms()),
                                  .statement_timeout = milliseconds(config.postgres().statement_timeout_ms()),
                                  .lock_timeout = milliseconds(config.postgres().lock_timeout_ms())};
  TG_ASSIGN(parts.keys, audit::OpenPostgresKeys(parts.secrets->root, std::move(keys)));
  TG_RETURN_IF_ERROR(OpenJournal(parts));
  metering::PostgresLeasesOptions leases{.postgres = PostgresFor(config, config.postgres().role()),
                                         .holder = {parts.journal->instance(), parts.journal->epoch()}};
  parts.leases = std::make_unique<metering::PostgresLeases>(base::SystemClock(), std::move(leases));
  parts.quotas = std::make_unique<metering::Quotas>(base::SystemClock(), *parts.leases);
  parts.directory->OnChange(
      [quotas = parts.quotas.get()](const std::shared_ptr<const directory::Snapshot>& snapshot) { quotas->SetRules(snapshot->Quotas()); });
  parts.quotas->StartTicking();
  parts.gates = gates::OpenPostgresGates(PostgresFor(config, config.postgres().role()), parts.secrets->root.Derive("approval-mac"));
  return absl::OkStatus();
}

}  // namespace tollgate::serve
