// initdb and postgres run as the user `postgres` when the tests run as root, because Postgres refuses root. The postmaster dies with the
// thread that started it (PR_SET_PDEATHSIG), so that an aborted test leaves nothing behind but a folder.
//
// Migrations run once for each set of folders, into a template; each test then gets a copy, which takes about 50 ms.
// Tested by tests/base/postgres_test.cpp.
#include "tests/support/postgres_cluster.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/encoding.h"

namespace tollgate::test {
namespace {

namespace fs = std::filesystem;
using base::Message;

constexpr char kBinaries[] = "/usr/lib/postgresql/15/bin/";

// Starts a program as the cluster's user, its output in `log`.
pid_t Spawn(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const passwd* user = ::getuid() == 0 ? ::getpwnam("postgres") : nullptr;
  TG_CHECK(::getuid() != 0 || user != nullptr, "tests that run as root need the user postgres: run scripts/setup --tests");
  const uid_t uid = user != nullptr ? user->pw_uid : 0;
  const gid_t gid = user != nullptr ? user->pw_gid : 0;
  const pid_t pid = ::fork();
  TG_CHECK(pid >= 0, "fork failed");
  if (pid > 0) return pid;
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(out, 1);
  ::dup2(out, 2);
  if (uid != 0 && (::setgroups(0, nullptr) != 0 || ::setgid(gid) != 0 || ::setuid(uid) != 0)) ::_exit(126);
  ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
  ::setpgid(0, 0);  // Ctrl-C reaches the test alone, which then stops the cluster.
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

std::string TextOf(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

[[noreturn]] void Fail(const std::string& what, const std::string& log) {
  const std::string text = TextOf(log);
  base::Die(__FILE__, __LINE__,
            fmt::format("{}; the end of its log:\n{}", what, text.substr(text.size() - std::min<std::size_t>(text.size(), 2000))));
}

int ParentOf(const fs::path& process) {
  std::ifstream in(process / "stat");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto end = text.rfind(')');  // The name in brackets may hold anything.
  if (end == std::string::npos || end + 4 >= text.size()) return 0;
  return std::atoi(text.c_str() + end + 4);
}

void Check(const absl::Status& status) { TG_CHECK(status.ok(), Message(status)); }

}  // namespace

PostgresCluster& PostgresCluster::Shared() {
  static PostgresCluster cluster;
  return cluster;
}

PostgresCluster::PostgresCluster() {
  const std::string log = dir_.File("log");
  const passwd* user = ::getuid() == 0 ? ::getpwnam("postgres") : nullptr;
  if (user != nullptr) TG_CHECK(::chown(dir_.path().c_str(), user->pw_uid, user->pw_gid) == 0, "chown failed");
  const pid_t made = Spawn({std::string(kBinaries) + "initdb", "-D", dir_.File("data"), "-U", "postgres", "-A", "trust", "-E", "UTF8",
                            "--no-locale", "--no-sync", "--no-instructions"},
                           log);
  int status = 0;
  ::waitpid(made, &status, 0);
  if (status != 0) Fail("initdb failed", log);
  // Here and not on the command line, so that a test may set another (ALTER SYSTEM).
  std::ofstream(dir_.File("data/postgresql.conf"), std::ios::app) << "listen_addresses = ''\nfull_page_writes = on\n";
  Start();
}

PostgresCluster::~PostgresCluster() {
  if (!running()) return;
  SigCont();
  ::kill(pid_, SIGQUIT);
  Reap();
}

void PostgresCluster::Start() {
  TG_CHECK(!running(), "the cluster runs already");
  std::vector<std::string> command = {std::string(kBinaries) + "postgres", "-D", dir_.File("data"), "-k", dir_.path()};
  for (const char* setting :
       {"shared_buffers=32MB", "max_connections=60", "autovacuum=off", "max_wal_size=256MB", "log_min_messages=warning",
        "log_min_error_statement=panic", "fsync=on", "synchronous_commit=on", "recovery_init_sync_method=syncfs"}) {
    command.insert(command.end(), {"-c", setting});
  }
  pid_ = Spawn(command, dir_.File("log"));
  base::PostgresOptions options = Options(UrlOf("postgres"));
  // Long: it syncs the file system first, and waits for what others write to it.
  const auto started = std::chrono::steady_clock::now();
  while (!base::Session::Connect(options).ok()) {
    int status = 0;
    const auto waited = std::chrono::steady_clock::now() - started;
    const bool ended = ::waitpid(pid_, &status, WNOHANG) == pid_;
    if (waited > std::chrono::seconds(ended ? 15 : 180)) Fail("Postgres did not start", dir_.File("log"));
    // After Kill9 the old shared memory may be in use a moment longer than the processes are seen: Postgres ends at once, so try again.
    if (ended) pid_ = Spawn(command, dir_.File("log"));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void PostgresCluster::Stop() {
  TG_CHECK(running(), "the cluster does not run");
  ::kill(pid_, SIGINT);
  Reap();
}

void PostgresCluster::Kill9() {
  TG_CHECK(running(), "the cluster does not run");
  ::kill(pid_, SIGSTOP);  // So that no child is born unseen.
  const std::vector<int> processes = Processes();
  // Those that were found: once the postmaster is gone its children have another parent, and one that is stopped does not see it go.
  for (const int pid : processes) ::kill(pid, SIGKILL);
  Reap();
  // The shared memory is free for the next start once every child is gone.
  for (const int pid : processes) {
    while (::kill(pid, 0) == 0 && fs::exists(fmt::format("/proc/{}/exe", pid))) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

std::string PostgresCluster::Log() const { return TextOf(dir_.File("log")); }

void PostgresCluster::SigStop() { Signal(SIGSTOP); }
void PostgresCluster::SigCont() { Signal(SIGCONT); }

void PostgresCluster::Reap() {
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = 0;
}

// The postmaster first, so that it starts no more children while they are found.
void PostgresCluster::Signal(int signal) const {
  ::kill(pid_, signal);
  for (const int pid : Processes()) ::kill(pid, signal);
}

std::vector<int> PostgresCluster::Processes() const {
  std::vector<int> out = {pid_};
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename();
    int pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec == std::errc() && ParentOf(entry.path()) == pid_)
      out.push_back(pid);
  }
  return out;
}

std::string PostgresCluster::UrlOf(const std::string& database) const {
  return fmt::format("postgresql:///{}?host={}&user=postgres", database, dir_.path());
}

std::string PostgresCluster::UrlAs(const std::string& url, const std::string& role) const {
  return url.substr(0, url.rfind("&user=")) + "&user=" + role;
}

base::PostgresOptions PostgresCluster::Options(const std::string& url) const {
  base::PostgresOptions options;
  options.url = url;
  options.application_name = "tollgate-test";
  options.search_path = "public";                   // Of tables that tests make.
  options.idle_timeout = std::chrono::minutes(10);  // Tests do much while they hold a lock.
  return options;
}

std::unique_ptr<base::Session> PostgresCluster::Connect(const std::string& url) const {
  auto session = base::Session::Connect(Options(url));
  Check(session.status());
  return *std::move(session);
}

std::string PostgresCluster::NewDatabase(const std::vector<std::string>& folders) {
  base::PostgresOptions options = Options(UrlOf("postgres"));
  options.statement_timeout = std::chrono::seconds(60);  // Copying waits for the disk.
  auto admin = base::Session::Connect(options);
  Check(admin.status());
  auto found = templates_.find(folders);
  if (found == templates_.end() && !folders.empty()) {
    found = templates_.emplace(folders, fmt::format("template_{}", templates_.size())).first;
    Check((*admin)->Run("create a template", "CREATE DATABASE " + found->second).status());
    options.url = UrlOf(found->second);
    auto session = base::Session::Connect(options);
    Check(session.status());
    for (const std::string& folder : folders) {
      std::vector<fs::path> files;
      for (const auto& entry : fs::directory_iterator(fs::path(TOLLGATE_SOURCE_DIR) / folder)) {
        if (entry.path().extension() == ".sql") files.push_back(entry.path());
      }
      std::sort(files.begin(), files.end());
      for (const auto& file : files) {
        const auto sql = base::ReadFile(file);
        Check(sql.status());
        Check((*session)->RunScript(file.filename().string(), *sql));
      }
    }
  }
  const std::string name = fmt::format("test_{}", ++databases_);
  const std::string source = folders.empty() ? "template0" : found->second;
  Check((*admin)->Run("create a database", fmt::format("CREATE DATABASE {} TEMPLATE {}", name, source)).status());
  return UrlOf(name);
}

}  // namespace tollgate::test
