// serve and migrate are a configuration, one call, and the words for how it went.
//
// Tested by tests/e2e, which start the program.
#include "gateway/programs.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iostream>

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/encoding.h"
#include "base/postgres_address.h"
#include "gateway/cli/user_name.h"
#include "gateway/config/config.h"
#include "gateway/dev/demo.h"
#include "gateway/dev/dev.h"
#include "gateway/fetch/fetch.h"
#include "gateway/migrate/first_owner.h"
#include "gateway/migrate/logins.h"
#include "gateway/migrate/lost_keys.h"
#include "gateway/migrate/lost_records.h"
#include "gateway/migrate/migrator.h"
#include "gateway/migrate/roles.h"
#include "gateway/serve/secrets.h"
#include "gateway/serve/server.h"
#include "inference/cuda_devices.h"

namespace tollgate {
namespace {

int Fail(const absl::Status& status) {
  std::cerr << "tollgate: " << base::Message(status) << "\n";
  return status.code() == absl::StatusCode::kUnavailable ? cli::kUnavailable : cli::kRefused;
}

int Serve(const cli::ServeCommand& command) {
  const auto config = config::Load(command.config_path);
  if (!config.ok()) return Fail(config.status());
  const auto server = serve::Server::Start(*config, {.dev = false, .build = TOLLGATE_VERSION});
  if (absl::IsCancelled(server.status())) {
    std::cerr << "tollgate: " << base::Message(server.status()) << "\n";
    return cli::kDone;
  }
  if (!server.ok()) return Fail(server.status());
  const absl::Status ended = (*server)->RunUntilSignal();
  (*server)->Drain();
  return ended.ok() ? cli::kDone : Fail(ended);
}

// A file with one URL, which may hold a password.
absl::StatusOr<std::string> ReadUrlFile(const std::string& file) {
  TG_ASSIGN(std::string text, base::ReadFile(file));
  struct stat info {};
  if (::stat(file.c_str(), &info) == 0 && (info.st_mode & S_IRWXO) != 0)
    return base::FailedPrecondition(fmt::format("others may read {}, which holds a password; run: chmod 600 {}", file, file));
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  if (text.empty()) return base::FailedPrecondition(fmt::format("{} holds no URL of a Postgres database", file));
  return text;
}

// One of the two databases: what logs in as its owner, and what `serve` logs in with.
struct Migrated {
  const char* what;
  const char* field;
  migrate::Database database;
  std::span<const migrate::Migration> migrations;
  std::string owner_url;
  std::string serve_url;
};

// What is beside the tables: who has which rights, and who may connect.
absl::Status LookAround(const base::PostgresOptions& owner, const Migrated& one, const std::string& login, bool fresh) {
  {
    TG_ASSIGN(const auto session, base::Session::Connect(owner));
    TG_RETURN_IF_ERROR(migrate::CheckRights(*session, one.database));
  }
  if (one.owner_url == one.serve_url) return absl::OkStatus();
  TG_RETURN_IF_ERROR(base::Annotate(migrate::GrantRoles(owner, one.database, login), one.field));
  TG_ASSIGN(const std::string sql, migrate::CloseToOthers(owner, login, fresh));
  if (sql.empty()) return absl::OkStatus();
  std::cerr << fmt::format(
      "note: every login of this Postgres server may connect to this database; if none but {} should, run as its owner: {}\n", login, sql);
  return absl::OkStatus();
}

absl::Status MigrateOne(const v1::Config& config, const Migrated& one) {
  base::PostgresOptions options;
  options.url = one.owner_url;
  options.connect_timeout = std::chrono::milliseconds(config.postgres().connect_timeout_ms());
  options.statement_timeout = std::chrono::hours(12);  // An index on years of usage takes hours.
  options.lock_timeout = std::chrono::minutes(5);
  const bool apart = one.owner_url != one.serve_url;
  const absl::Status roles = migrate::MakeRoles(options, one.database);
  const auto report = roles.ok() ? migrate::Migrate(options, one.migrations) : absl::StatusOr<migrate::Report>(roles);
  if (!report.ok()) {
    const char* remedy =
        apart || !absl::IsPermissionDenied(report.status()) ? "" : " (give the owner's URLs with --database-url FILE --keys-url FILE)";
    return base::Annotate(report.status(), fmt::format("database of {}{}", one.what, remedy));
  }
  std::cerr << fmt::format("{}: {} applied, {} were there\n", one.what, report->applied.size(), report->already);
  for (const std::string& name : report->applied) std::cerr << "  " << name << "\n";
  TG_ASSIGN(const base::PostgresAddress serve, base::ResolvePostgres(one.serve_url));
  TG_RETURN_IF_ERROR(LookAround(options, one, serve.login, report->already == 0));
  TG_ASSIGN(const auto session, base::Session::Connect(options));
  const absl::Status fit = base::Annotate(migrate::CheckLogin(*session, one.database, serve.login), one.field);
  if (apart || fit.ok()) return fit;
  // The owner's own configuration: serve may well have another.
  std::cerr << fmt::format("note, if `serve` is to take this configuration: {}\n", base::Message(fit));
  return absl::OkStatus();
}

absl::Status MigrateAll(const v1::Config& config, const cli::MigrateCommand& command) {
  const auto& p = config.postgres();
  Migrated main{"records, directory and usage", "postgres.url", migrate::Database::kMain, migrate::MainMigrations(), p.url(), p.url()};
  Migrated keys{"content keys", "postgres.keys_url", migrate::Database::kKeys, migrate::KeysMigrations(), p.keys_url(), p.keys_url()};
  if (!command.url_file.empty()) {
    TG_ASSIGN(main.owner_url, ReadUrlFile(command.url_file));
    TG_ASSIGN(keys.owner_url, ReadUrlFile(command.keys_url_file));
    TG_RETURN_IF_ERROR(base::Annotate(base::CheckPostgresAddress(main.owner_url), "--database-url"));
    TG_RETURN_IF_ERROR(base::Annotate(base::CheckPostgresAddress(keys.owner_url), "--keys-url"));
  }
  for (const Migrated* one : {&main, &keys}) TG_RETURN_IF_ERROR(base::Annotate(base::CheckPostgresAddress(one->serve_url), one->field));
  for (const Migrated* one : {&main, &keys}) TG_RETURN_IF_ERROR(MigrateOne(config, *one));
  TG_ASSIGN(const serve::InstallationSecrets secrets, serve::ReadSecrets(config.secrets(), false));
  const std::string user = cli::UserName();
  if (command.lost_records) {
    TG_ASSIGN(const auto accepted, migrate::GoOnWithoutRecords({.owner_url = main.owner_url,
                                                                .state_dir = config.state_dir() + "/migrate",
                                                                .actor = "cli:" + cli::UserName(),
                                                                .reason = *command.lost_records,
                                                                .build = TOLLGATE_VERSION}));
    std::cerr << fmt::format("it is on record that records are lost: {} logs may go on without{}\n", accepted.accepted,
                             accepted.served == 0 ? "" : fmt::format("; {} are being served, and are not among them", accepted.served));
  }
  if (command.lost_keys) {
    TG_RETURN_IF_ERROR(migrate::GoOnWithoutKeys(secrets.root, {.postgres_url = main.owner_url,
                                                               .keys_url = keys.owner_url,
                                                               .state_dir = config.state_dir() + "/migrate",
                                                               .actor = "cli:" + user,
                                                               .reason = *command.lost_keys,
                                                               .build = TOLLGATE_VERSION}));
    std::cerr << "it is on record that content keys are lost\n";
  }
  const std::string& owner = command.new_owner.empty() ? command.owner : command.new_owner;
  TG_ASSIGN(const auto key, migrate::MakeFirstOwner({.postgres_url = main.owner_url,
                                                     .keys_url = keys.owner_url,
                                                     .state_dir = config.state_dir() + "/migrate",
                                                     .mac_key = secrets.directory_mac_key,
                                                     .pepper = secrets.pepper,
                                                     .actor = "cli:" + user,
                                                     .owner = owner.empty() ? user : owner,
                                                     .build = TOLLGATE_VERSION,
                                                     .another = !command.new_owner.empty()}));
  if (!key && !command.owner.empty()) {
    std::cerr << "there are keys already: --owner made none; should no owner's key be left, use --new-owner NAME\n";
  }
  if (!key) return absl::OkStatus();
  std::cerr << fmt::format("{}, role owner: keep it safe, it is shown this once\n", command.new_owner.empty() ? "the first key" : "a key");
  std::cout << *key << "\n";
  return absl::OkStatus();
}

int Migrate(const cli::MigrateCommand& command) {
  const auto config = config::Load(command.config_path);
  if (!config.ok()) return Fail(config.status());
  const absl::Status status = MigrateAll(*config, command);
  return status.ok() ? cli::kDone : Fail(status);
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int Pull(const cli::PullCommand& command) {
  const auto digest = base::HexDecode(command.sha256);
  if (!digest.ok() || digest->size() != base::Digest().size())
    return Fail(base::InvalidArgument("--sha256: use 64 hexadecimal digits, as its publisher states them"));
  fetch::FetchOptions options{.source = command.source, .folder = command.folder, .name = command.name};
  std::copy(digest->begin(), digest->end(), options.sha256.begin());
  options.s3_endpoint = Environment("AWS_ENDPOINT_URL");
  options.s3_key_id = Environment("AWS_ACCESS_KEY_ID");
  options.s3_secret = Environment("AWS_SECRET_ACCESS_KEY");
  options.s3_session_token = Environment("AWS_SESSION_TOKEN");
  if (const std::string region = Environment("AWS_REGION"); !region.empty()) options.s3_region = region;
  const auto fetched = fetch::Fetch(options);
  if (!fetched.ok()) return Fail(fetched.status());
  if (fetched->resumed_from > 0) std::cerr << fmt::format("went on after {} bytes\n", fetched->resumed_from);
  std::cerr << (fetched->was_there ? "it was there already\n" : "digest and header are good\n");
  std::cout << fmt::format("{}\n", fetched->path);
  return cli::kDone;
}

cli::DeviceLines Devices() {
  const inference::CudaReport report = inference::DiscoverCuda();
  cli::DeviceLines lines{.devices = {}, .driver = report.driver, .runtime = report.runtime, .notes = report.notes};
  for (const inference::CudaDevice& device : report.devices) {
    lines.devices.push_back({.index = device.index,
                             .name = device.name,
                             .uuid = device.uuid,
                             .capability = device.capability,
                             .memory_bytes = device.memory_bytes,
                             .free_bytes = device.free_bytes,
                             .utilisation_percent = device.utilisation_percent.value_or(-1),
                             .temperature_celsius = device.temperature_celsius.value_or(-1),
                             .ecc = !device.ecc   ? ""
                                    : *device.ecc ? "on"
                                                  : "off",
                             .ecc_errors = device.ecc_errors.value_or(-1)});
  }
  return lines;
}

}  // namespace

cli::Programs MakePrograms() {
  return {.serve = Serve,
          .dev = [](const cli::DevCommand& command) { return dev::RunDev(command, TOLLGATE_VERSION); },
          .demo = [](const cli::DemoCommand& command) { return dev::RunDemo(command); },
          .migrate = Migrate,
          .pull = Pull,
          .devices = Devices,
          .version = TOLLGATE_VERSION};
}

}  // namespace tollgate
