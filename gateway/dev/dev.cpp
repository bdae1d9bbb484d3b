// One step after the other: folder and lock, Postgres, schema, secrets, server, company, banner. The stop signals are blocked from the
// first line, so that Ctrl-C ends the program between two steps and never in the middle of one; helper programs get them unblocked.
//
// Tested by tests/e2e, which start the program.
#include "gateway/dev/dev.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/keys.h"
#include "base/encoding.h"
#include "gateway/cli/dev_files.h"
#include "gateway/cli/user_name.h"
#include "gateway/config/config.h"
#include "gateway/dev/banner.h"
#include "gateway/dev/cluster.h"
#include "gateway/dev/company.h"
#include "gateway/dev/program_line.h"
#include "gateway/migrate/logins.h"
#include "gateway/migrate/migrator.h"
#include "gateway/serve/server.h"
#include "gateway/serve/stop_signals.h"

namespace tollgate::dev {
namespace fs = std::filesystem;
using std::chrono::steady_clock;
namespace {
constexpr std::chrono::seconds kDrain(10);  // At the end, for requests under way.

absl::Status GoOn() { return serve::StopSignalPending() ? base::Cancelled("interrupted") : absl::OkStatus(); }

void Say(const std::string& text) { std::cout << text << "\n" << std::flush; }

struct ModelChoice {
  std::string name;
  std::string file;  // Empty: scripted.
};

absl::StatusOr<ModelChoice> ChooseModel(const cli::DevCommand& command) {
  if (command.scripted) return ModelChoice{"scripted", ""};
  ModelChoice choice;
  choice.file = command.model_file;
  if (const char* chosen = std::getenv("TOLLGATE_MODEL"); choice.file.empty() && chosen != nullptr) choice.file = chosen;
  if (choice.file.empty()) choice.file = TOLLGATE_DEFAULT_MODEL;
  if (access(choice.file.c_str(), R_OK) != 0) {
    return base::NotFound(
        fmt::format("there is no model at {}; run scripts/setup, name a GGUF file with --model, or start with --scripted", choice.file));
  }
  choice.file = fs::absolute(choice.file).string();
  for (const char c : fs::path(choice.file).stem().string())
    choice.name += std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::tolower(c)) : '-';
  if (choice.name.starts_with("smollm2-135m")) choice.name = "smollm2";
  return choice;
}

// One `tollgate dev` per folder. The lock goes with the process, however it ends.
std::string LockOf(const std::string& folder) { return folder + "/lock"; }

absl::Status Lock(const std::string& folder) {
  const int file = open(LockOf(folder).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0)
    return base::FailedPrecondition(
        fmt::format("cannot write to {}: {}; choose another folder with --folder", folder, std::strerror(errno)));
  if (flock(file, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  const auto other = cli::ReadDevEndpoints(folder);
  return base::FailedPrecondition(fmt::format("another `tollgate dev`{} uses {}; end it first, or choose another folder with --folder",
                                              other.ok() ? fmt::format(" (process {})", other->pid) : "", folder));
}

absl::Status EnsureSecret(const std::string& path) {
  return access(path.c_str(), F_OK) == 0 ? absl::OkStatus() : audit::RootKey::Create(path, true);
}

absl::Status PrepareDatabases(Cluster& cluster) {
  struct Row {
    const char* name;
    migrate::Database database;
    std::span<const migrate::Migration> migrations;
  };
  for (const auto& [name, database, migrations] : {Row{"tollgate", migrate::Database::kMain, migrate::MainMigrations()},
                                                   Row{"tollgate_keys", migrate::Database::kKeys, migrate::KeysMigrations()}}) {
    TG_RETURN_IF_ERROR(cluster.EnsureDatabase(name));
    base::PostgresOptions options;
    options.url = cluster.Url(name);
    options.statement_timeout = std::chrono::minutes(1);
    TG_ASSIGN(const migrate::Report report, migrate::Migrate(options, migrations));
    TG_RETURN_IF_ERROR(migrate::GrantRoles(options, database, Cluster::kServeLogin));
    if (!report.applied.empty()) Say(fmt::format("  database {}: {} migrations applied", name, report.applied.size()));
  }
  return absl::OkStatus();
}

v1::Config Configure(const cli::DevCommand& command, const std::string& folder, const Cluster& cluster, const ModelChoice& model) {
  v1::Config config = config::Defaults();
  config.mutable_listeners()->mutable_http()->set_port(command.http_port);
  config.mutable_listeners()->mutable_grpc()->set_port(command.grpc_port);
  config.mutable_listeners()->mutable_admin_grpc()->set_port(command.admin_port);
  config.mutable_listeners()->mutable_probes()->set_port(command.probes_port);
  config.mutable_postgres()->set_url(cluster.ServeUrl("tollgate"));
  config.mutable_postgres()->set_keys_url(cluster.ServeUrl("tollgate_keys"));
  config.mutable_secrets()->set_root_key_file(folder + "/root_key");
  config.mutable_secrets()->set_pepper_file(folder + "/pepper");
  config.set_state_dir(folder + "/state");
  config.set_drain_wait_ms(0);
  config.set_drain_ms(std::chrono::milliseconds(kDrain).count());
  config.mutable_grpc()->set_reflection(true);
  config.mutable_diagnostics()->set_level(command.verbose ? "info" : "error");
  v1::Config::Model& entry = *config.mutable_pool()->add_models();
  entry.set_name(model.name);
  entry.set_engine(model.file.empty() ? "scripted" : "llama");
  entry.set_file(model.file);
  entry.set_licence(model.file.empty() ? "" : "Apache-2.0");
  config::FillDefaults(config);
  return config;
}

absl::Status Run(const cli::DevCommand& command, const std::string& version) {
  const auto began = steady_clock::now();
  TG_ASSIGN(const ModelChoice model, ChooseModel(command));
  const std::string folder = fs::weakly_canonical(fs::absolute(command.folder)).string();
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    return base::FailedPrecondition(fmt::format("cannot make the folder {}: {}; choose another with --folder", folder, error.message()));
  TG_RETURN_IF_ERROR(Lock(folder));
  Say("Postgres: starting a private cluster");
  TG_ASSIGN(const std::unique_ptr<Cluster> cluster, Cluster::Start(folder));
  Say(fmt::format("  {} {}",
                  cluster->made()      ? "made"
                  : cluster->adopted() ? "took over the running one at"
                                       : "started",
                  cluster->data_folder()));
  TG_RETURN_IF_ERROR(GoOn());
  TG_RETURN_IF_ERROR(PrepareDatabases(*cluster));
  TG_RETURN_IF_ERROR(EnsureSecret(folder + "/root_key"));
  TG_RETURN_IF_ERROR(EnsureSecret(folder + "/pepper"));
  TG_RETURN_IF_ERROR(GoOn());
  Say(fmt::format("model {}: {}", model.name, model.file.empty() ? "answers by rote" : "loading " + model.file));
  const v1::Config config = Configure(command, folder, *cluster, model);
  TG_ASSIGN(std::unique_ptr<serve::Server> server, serve::Server::Start(config, {.dev = true, .build = version}));
  TG_RETURN_IF_ERROR(GoOn());
  TG_ASSIGN(const std::vector<cli::DevKey> keys, MakeCompany(server->changes(), {model.name, folder, "cli:" + cli::UserName()}));
  TG_RETURN_IF_ERROR(server->AwaitChanges());  // The banner's lines are pasted at once.
  const serve::Ports ports = server->ports();
  const cli::DevEndpoints endpoints{ports.http, ports.grpc, ports.admin_grpc, ports.probes, model.name, kOrg, getpid()};
  TG_RETURN_IF_ERROR(cli::WriteDevEndpoints(folder, endpoints));
  const double seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
  std::cout << Banner({endpoints, keys, ProgramLine(command.folder), command.folder, seconds}) << std::flush;
  const absl::Status ended = server->RunUntilSignal();
  cli::RemoveDevEndpoints(folder);
  Say(ended.ok() ? fmt::format("ending: running requests may finish, at most {} s; Ctrl-C again ends them now", kDrain.count())
                 : "ending: " + base::Message(ended));
  server.reset();  // Drains, and lets go of the database before it is stopped.
  TG_RETURN_IF_ERROR(cluster->Stop());
  Say("ended; the next start finds everything as it was");
  return ended;
}
}  // namespace

bool IsTaken(const std::string& folder) {
  const int file = open(LockOf(folder).c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return false;
  const bool taken = flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(file);
  return taken;
}

int RunDev(const cli::DevCommand& command, const std::string& version) {
  serve::BlockStopSignals();
  const absl::Status status = Run(command, version);
  if (status.ok() || status.code() == absl::StatusCode::kCancelled) return cli::kDone;
  std::cerr << "tollgate: " << base::Message(status) << "\n";
  return status.code() == absl::StatusCode::kUnavailable ? cli::kUnavailable : cli::kRefused;
}

}  // namespace tollgate::dev
