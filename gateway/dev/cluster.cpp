// Everything is done with Postgres's own tools: initdb into a folder that is renamed when it is whole, so that an interrupted first start
// leaves nothing half made; pg_ctl to start, to ask and to stop. The postmaster is a session of its own (pg_ctl sees to that), so Ctrl-C
// does not reach it, and it outlives a `kill -9` of this program: the next start finds it by its pid file and takes it over. A pid file
// whose process is gone, or is something else by now, is removed.
//
// Root may not run Postgres: then the cluster belongs to `postgres` or `nobody`. Where that user cannot reach the folder (a checkout under
// /root), the cluster lies in /var/lib/tollgate-dev instead, and a link in the folder says so.
//
// The socket's path is limited to 107 bytes: it lies in the cluster's folder if that is short, else in /tmp.
//
// Tested by tests/gateway/dev/cluster_test.cpp.
#include "gateway/dev/cluster.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/postgres.h"

namespace tollgate::dev {
namespace fs = std::filesystem;
namespace {
constexpr std::size_t kSocketFolderMax = 85;  // Leaves room for "/.s.PGSQL.5432" under sockaddr_un's limit.
constexpr const char* kLogin = "tollgate";

absl::StatusOr<std::string> FindBinaries() {
  std::vector<fs::path> candidates;
  if (const char* chosen = std::getenv("TOLLGATE_POSTGRES_BIN"); chosen != nullptr) candidates.emplace_back(chosen);
  std::error_code ignored;
  std::vector<fs::path> versions;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) versions.push_back(entry.path() / "bin");
  std::sort(versions.rbegin(), versions.rend());
  candidates.insert(candidates.end(), versions.begin(), versions.end());
  for (const char* place : {"/usr/local/bin", "/usr/bin"}) candidates.emplace_back(place);
  for (const fs::path& candidate : candidates) {
    if (access((candidate / "pg_ctl").c_str(), X_OK) == 0 && access((candidate / "initdb").c_str(), X_OK) == 0) return candidate.string();
  }
  return base::FailedPrecondition(
      "Postgres is not installed (no pg_ctl and initdb found); run scripts/setup, or name its folder in TOLLGATE_POSTGRES_BIN");
}

absl::Status MakeFolder(const std::string& path, const std::optional<User>& user, unsigned mode) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return base::FailedPrecondition(fmt::format("cannot make the folder {}: {}", path, error.message()));
  const uid_t owner = user ? user->uid : geteuid();
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return base::FailedPrecondition(fmt::format("cannot look at {}: {}", path, std::strerror(errno)));
  if (info.st_uid != owner && (!user || chown(path.c_str(), user->uid, user->gid) != 0)) {
    return base::FailedPrecondition(fmt::format("{} belongs to another user; remove it, or choose another folder with --folder", path));
  }
  if (chmod(path.c_str(), mode) != 0)
    return base::FailedPrecondition(fmt::format("cannot change the mode of {}: {}", path, std::strerror(errno)));
  return absl::OkStatus();
}

std::string Fingerprint(const std::string& path) {
  const base::Digest digest = base::Sha256(path);
  return base::HexEncode(base::View(digest)).substr(0, 10);
}

// 'it''s' for Postgres's configuration.
std::string Quote(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + "'";
}

// host='…' for libpq, which escapes with a backslash.
std::string Address(const std::string& socket, const std::string& database, const std::string& user) {
  std::string host;
  for (const char c : socket) {
    if (c == '\'' || c == '\\') host += '\\';
    host += c;
  }
  return fmt::format("host='{}' port=5432 dbname={} user={}", host, database, user);
}

// A pid file whose process is no Postgres: its writer was killed and the number was given to another, or to nobody.
bool IsStale(const std::string& pid_file) {
  const auto text = base::ReadFile(pid_file);
  if (!text.ok()) return false;
  int pid = 0;
  std::from_chars(text->data(), text->data() + text->size(), pid);
  if (pid <= 1) return true;
  const auto name = base::ReadFile(fmt::format("/proc/{}/comm", pid));
  return !name.ok() || !name->starts_with("postgres");
}
}  // namespace

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Start(const std::string& folder) {
  std::unique_ptr<Cluster> cluster(new Cluster);
  TG_ASSIGN(cluster->bin_, FindBinaries());
  TG_ASSIGN(cluster->user_, ServerUser());
  TG_RETURN_IF_ERROR(cluster->Locate(folder));
  if (access((cluster->data_ + "/PG_VERSION").c_str(), F_OK) != 0) TG_RETURN_IF_ERROR(cluster->Make());
  TG_ASSIGN(cluster->adopted_, cluster->IsRunning());
  if (!cluster->adopted_) {
    TG_RETURN_IF_ERROR(cluster->WriteSettings());
    TG_RETURN_IF_ERROR(base::Annotate(
        cluster->Run({cluster->bin_ + "/pg_ctl", "-D", cluster->data_, "-l", cluster->home_ + "/server.log", "-w", "-t", "120", "start"}),
        fmt::format("Postgres did not start; see {}/server.log", cluster->home_)));
  }
  cluster->running_ = true;
  base::PostgresOptions options;
  options.url = Address(cluster->socket_, "postgres", "postgres");
  TG_ASSIGN(auto session, base::Session::Connect(options));
  for (const auto& [login, rights] : {std::pair(kLogin, "LOGIN CREATEROLE"), std::pair(kServeLogin, "LOGIN")}) {
    TG_ASSIGN(const base::Rows rows, session->Run("look for a login", "SELECT 1 FROM pg_roles WHERE rolname = $1", {std::string(login)}));
    if (rows.empty()) TG_RETURN_IF_ERROR(session->Run("make a login", fmt::format("CREATE ROLE {} {}", login, rights)).status());
  }
  return cluster;
}

absl::Status Cluster::Locate(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return base::FailedPrecondition(fmt::format("cannot make the folder {}: {}", folder, error.message()));
  home_ = folder + "/postgres";
  chmod(folder.c_str(), user_ ? 0711 : 0700);  // The server's user passes through; keys and state in it have modes of their own.
  if (user_) {
    if (!RunProgram(user_, {"/usr/bin/test", "-x", folder}, "/dev/null").ok()) {
      TG_ASSIGN(home_, Elsewhere(folder));
    }
  }
  TG_RETURN_IF_ERROR(MakeFolder(home_, user_, 0700));
  data_ = home_ + "/data";
  socket_ = home_ + "/socket";
  if (socket_.size() > kSocketFolderMax) socket_ = fmt::format("/tmp/tollgate-{}", Fingerprint(folder));
  return MakeFolder(socket_, user_, 0700);
}

absl::StatusOr<std::string> Cluster::Elsewhere(const std::string& folder) {
  const std::string elsewhere = "/var/lib/tollgate-dev/" + Fingerprint(folder);
  const std::string link = folder + "/postgres";
  std::error_code error;
  if (!fs::is_symlink(link, error)) {  // The folder is new: a cluster that an earlier one of this name left is nobody's any more.
    if (fs::exists(elsewhere + "/data/postmaster.pid", error)) {
      home_ = elsewhere;
      Run({bin_ + "/pg_ctl", "-D", elsewhere + "/data", "-m", "immediate", "-w", "stop"}).IgnoreError();
    }
    fs::remove_all(elsewhere, error);
  }
  fs::create_directories(elsewhere, error);
  if (error) {
    return base::FailedPrecondition(
        fmt::format("user {} cannot enter {}, and {} cannot be made; choose another folder with --folder", user_->name, folder, elsewhere));
  }
  if (!fs::is_symlink(link, error)) fs::create_directory_symlink(elsewhere, link, error);
  return elsewhere;
}

absl::Status Cluster::Make() {
  made_ = true;
  const std::string fresh = home_ + "/data.new";
  std::error_code error;
  fs::remove_all(fresh, error);
  TG_RETURN_IF_ERROR(
      base::Annotate(Run({bin_ + "/initdb", "-D", fresh, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"}),
                     "cannot make a Postgres cluster"));
  TG_ASSIGN(std::string settings, base::ReadFile(fresh + "/postgresql.conf"));
  settings += "\ninclude_if_exists = 'tollgate.conf'  # Written by `tollgate dev` at each start.\n";
  TG_RETURN_IF_ERROR(base::WriteFileAtomically(fresh + "/postgresql.conf", settings, 0644));
  fs::rename(fresh, data_, error);
  if (error) return base::Internal(fmt::format("cannot rename {}: {}", fresh, error.message()));
  return absl::OkStatus();
}

absl::Status Cluster::WriteSettings() {
  const std::string settings = fmt::format(
      "listen_addresses = ''\n"
      "port = 5432\n"
      "unix_socket_directories = {}\n"
      "unix_socket_permissions = 0700\n"
      "max_connections = 60\n"
      "shared_buffers = 64MB\n"
      "wal_level = minimal\n"
      "max_wal_senders = 0\n"
      "max_wal_size = 512MB\n"
      "log_timezone = 'UTC'\n"
      "timezone = 'UTC'\n"
      "log_checkpoints = off\n"
      "log_min_messages = warning\n",
      Quote(socket_));
  return base::WriteFileAtomically(data_ + "/tollgate.conf", settings, 0644);
}

absl::StatusOr<bool> Cluster::IsRunning() {
  const std::string pid_file = data_ + "/postmaster.pid";
  if (access(pid_file.c_str(), F_OK) != 0) return false;
  if (IsStale(pid_file)) {
    unlink(pid_file.c_str());
    return false;
  }
  if (!Run({bin_ + "/pg_ctl", "-D", data_, "status"}).ok()) return false;
  base::PostgresOptions options;
  options.url = Address(socket_, "postgres", "postgres");
  if (base::Session::Connect(options).ok()) return true;
  // It runs but does not answer here (the folder was moved, or it is going down): end it and start anew.
  TG_RETURN_IF_ERROR(Run({bin_ + "/pg_ctl", "-D", data_, "-m", "fast", "-w", "-t", "60", "stop"}));
  return false;
}

absl::Status Cluster::Run(const std::vector<std::string>& argv) { return RunProgram(user_, argv, home_ + "/tool.log"); }

Cluster::~Cluster() { Stop().IgnoreError(); }

absl::Status Cluster::EnsureDatabase(const std::string& name) {
  base::PostgresOptions options;
  options.url = Address(socket_, "postgres", "postgres");
  TG_ASSIGN(auto session, base::Session::Connect(options));
  TG_ASSIGN(const base::Rows rows, session->Run("look for a database", "SELECT 1 FROM pg_database WHERE datname = $1", {name}));
  if (!rows.empty()) return absl::OkStatus();
  return Run({bin_ + "/createdb", "-h", socket_, "-p", "5432", "-U", "postgres", "-O", kLogin, name});
}

std::string Cluster::Url(const std::string& database) const { return Address(socket_, database, kLogin); }

std::string Cluster::ServeUrl(const std::string& database) const { return Address(socket_, database, kServeLogin); }

absl::Status Cluster::Stop() {
  if (!running_) return absl::OkStatus();
  running_ = false;
  return Run({bin_ + "/pg_ctl", "-D", data_, "-m", "fast", "-w", "-t", "60", "stop"});
}

}  // namespace tollgate::dev
