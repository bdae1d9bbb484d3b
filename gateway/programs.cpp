// serve and migrate are a configuration, one call, and the words for how it went.
//
// Tested by tests/e2e, which start the program.
#include "gateway/programs.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "audit/keys.h"
#include "base/diagnostics.h"
#include "base/encoding.h"
#include "base/postgres_address.h"
#include "base/secret_file.h"
#include "gateway/cli/terminal.h"
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

int CodeOf(const absl::Status& status) { return status.code() == absl::StatusCode::kUnavailable ? cli::kUnavailable : cli::kRefused; }

// It may quote what others wrote, as the header of a model's file.
void Say(const absl::Status& status) {
  cli::Terminal err(std::cerr, isatty(STDERR_FILENO) == 1);
  err.stream() << "tollgate: " << base::Message(status) << "\n";
}

int Fail(const absl::Status& status) {
  Say(status);
  return CodeOf(status);
}

// Why an instance does not serve: for people, or for the collector that reads its diagnostics.
void Tell(const absl::Status& status, bool json) {
  if (json) {
    base::Error("serve", "{}", base::Message(status));
  } else {
    Say(status);
  }
}

int Serve(const cli::ServeCommand& command) {
  const auto config = config::Load(command.config_path);
  if (!config.ok()) return Fail(config.status());
  const bool json = config->diagnostics().json();
  const auto server = serve::Server::Start(*config, {.dev = false, .build = TOLLGATE_VERSION});
  if (!server.ok()) {
    Tell(server.status(), json);
    return absl::IsCancelled(server.status()) ? cli::kDone : CodeOf(server.status());
  }
  const absl::Status ended = (*server)->RunUntilSignal();
  (*server)->Drain();
  if (ended.ok()) return cli::kDone;
  Tell(ended, json);
  return CodeOf(ended);
}

// A file with one URL, which may hold a password.
absl::StatusOr<std::string> ReadUrlFile(const std::string& file) {
  TG_ASSIGN(std::string text, base::ReadFile(file));
  if (const std::string fault = base::SecretFileFault(file, base::SecretReaders::kAnyGroup); !fault.empty())
    return base::FailedPrecondition(fmt::format("{} holds a password, which {}", file, fault));
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

// Where a new owner's key goes: standard output, or a file of its own that was not there before.
class KeyFile {
 public:
  // Made before the key is, lest there be one that nobody has.
  static absl::StatusOr<KeyFile> Make(const std::string& path) {
    KeyFile made(path, path.empty() ? -1 : ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!path.empty() && made.fd_ < 0)
      return base::FailedPrecondition(fmt::format("--owner-key-file: {} cannot be made: {}", path, std::strerror(errno)));
    return made;
  }
  KeyFile(KeyFile&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  KeyFile& operator=(KeyFile&&) = delete;
  ~KeyFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(path_.c_str());
  }

  absl::Status Write(const std::string& key) {
    const std::string line = key + "\n";
    if (path_.empty()) {
      std::cout << line << std::flush;
      return absl::OkStatus();
    }
    const int fd = std::exchange(fd_, -1);
    const bool whole = ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) && ::fsync(fd) == 0;
    ::close(fd);
    return whole ? absl::OkStatus()
                 : base::FailedPrecondition(fmt::format("{} could not be written: revoke that key, make another with --new-owner", path_));
  }

 private:
  KeyFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

bool IsHere(const std::string& file) { return ::access(file.c_str(), R_OK) == 0; }

// Nothing asks for a key. A wrong root key is told where there is one; a machine that only migrates needs none.
absl::Status MakeNone(const v1::Config& config, const cli::MigrateCommand& command, const std::string& main_url, bool has_keys) {
  if (!has_keys) {
    std::cerr << "there is no key yet, and none was asked for: `tollgate migrate --owner NAME` makes the first, where the root key and the "
                 "pepper are\n";
  } else if (!command.owner.empty() || !command.key_file.empty()) {
    std::cerr << "there are keys already: none was made; should no owner's key be left, use --new-owner NAME\n";
  }
  if (!IsHere(config.secrets().root_key_file())) {
    std::cerr << "secrets.root_key_file is not here: whether the directory is of that root key was not looked at\n";
    return absl::OkStatus();
  }
  TG_ASSIGN(const audit::RootKey root, audit::RootKey::Load(config.secrets().root_key_file()));
  return migrate::CheckDirectory(main_url, root.Derive("directory-mac"));
}

// The first owner's key, or another. Without --owner the first is made for who sits at a terminal alone: what a job prints is kept by
// others.
absl::Status MakeOwner(const v1::Config& config, const cli::MigrateCommand& command, const std::string& main_url,
                       const std::string& keys_url) {
  TG_ASSIGN(const bool has_keys, migrate::HasKeys(main_url));
  const bool first = !has_keys && (!command.owner.empty() || !command.key_file.empty() || ::isatty(STDOUT_FILENO) == 1);
  if (!first && command.new_owner.empty()) return MakeNone(config, command, main_url, has_keys);
  TG_ASSIGN(const serve::InstallationSecrets secrets, serve::ReadSecrets(config.secrets(), false));
  TG_ASSIGN(KeyFile file, KeyFile::Make(command.key_file));
  const std::string user = cli::UserName();
  const std::string& owner = command.new_owner.empty() ? command.owner : command.new_owner;
  TG_ASSIGN(const auto key, migrate::MakeFirstOwner({.postgres_url = main_url,
                                                     .keys_url = keys_url,
                                                     .state_dir = config.state_dir() + "/migrate",
                                                     .mac_key = secrets.directory_mac_key,
                                                     .pepper = secrets.pepper,
                                                     .actor = "cli:" + user,
                                                     .owner = owner.empty() ? user : owner,
                                                     .build = TOLLGATE_VERSION,
                                                     .another = !command.new_owner.empty()}));
  if (!key) return absl::OkStatus();  // Another made the first one meanwhile.
  std::cerr << fmt::format("{}, role owner: keep it safe, it is {} this once\n", command.new_owner.empty() ? "the first key" : "a key",
                           command.key_file.empty() ? "shown" : "written");
  return file.Write(*key);
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
  if (command.lost_records) {
    TG_ASSIGN(const auto accepted, migrate::GoOnWithoutRecords({.owner_url = main.owner_url,
                                                                .state_dir = config.state_dir() + "/migrate",
                                                                .actor = "cli:" + cli::UserName(),
                                                                .reason = *command.lost_records,
                                                                .build = TOLLGATE_VERSION}));
    std::cerr << migrate::Words(accepted) << "\n";
  }
  if (command.lost_keys) {
    TG_ASSIGN(const serve::InstallationSecrets secrets, serve::ReadSecrets(config.secrets(), false));
    TG_RETURN_IF_ERROR(migrate::GoOnWithoutKeys(secrets.root, {.postgres_url = main.owner_url,
                                                               .keys_url = keys.owner_url,
                                                               .state_dir = config.state_dir() + "/migrate",
                                                               .actor = "cli:" + cli::UserName(),
                                                               .reason = *command.lost_keys,
                                                               .build = TOLLGATE_VERSION}));
    std::cerr << "it is on record that content keys are lost\n";
  }
  return MakeOwner(config, command, main.owner_url, keys.owner_url);
}

int Migrate(const cli::MigrateCommand& command) {
  const auto config = config::Load(command.config_path, config::Files::kDatabaseUrls);
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
