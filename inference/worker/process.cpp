// How it works. posix_spawn: no code of ours runs between fork and exec, whatever the other threads do. The signals that stop a service are
// blocked in the child from its first instruction on, which it inherits: a service manager sends them to every process of the group.
//
// Tested by tests/inference/worker_test.cpp.
#include "inference/worker/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/clock.h"

extern char** environ;

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;

// What computing, and the loader of libraries, need to know of the machine. HOME: where CUDA keeps what it compiled.
std::vector<char*> Environment() {
  constexpr std::array<std::string_view, 12> kNames = {"LD_LIBRARY_PATH=", "PATH=", "HOME=", "TZ=",    "LANG=", "LC_ALL=", "CUDA_",
                                                       "NVIDIA_",          "GGML_", "ASAN_", "UBSAN_", "TSAN_"};
  std::vector<char*> kept;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    for (const std::string_view name : kNames) {
      if (std::string_view(*entry).starts_with(name)) kept.push_back(*entry);
    }
  }
  kept.push_back(nullptr);
  return kept;
}

class FileActions {
 public:
  explicit FileActions(int socket) {
    posix_spawn_file_actions_init(&raw_);
    posix_spawn_file_actions_addopen(&raw_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&raw_, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&raw_, socket, kWorkerDescriptor);
    posix_spawn_file_actions_addclosefrom_np(&raw_, kWorkerDescriptor + 1);
  }
  ~FileActions() { posix_spawn_file_actions_destroy(&raw_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  const posix_spawn_file_actions_t* raw() const { return &raw_; }

 private:
  posix_spawn_file_actions_t raw_{};
};

class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&raw_);
    sigset_t signals;
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&raw_, &signals);
    sigemptyset(&signals);
    for (const int stop : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&signals, stop);
    posix_spawnattr_setsigmask(&raw_, &signals);
    posix_spawnattr_setflags(&raw_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Attributes() { posix_spawnattr_destroy(&raw_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* raw() const { return &raw_; }

 private:
  posix_spawnattr_t raw_{};
};

std::string How(int status) {
  if (WIFSIGNALED(status)) return fmt::format("ended by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
  return fmt::format("ended with code {}", WEXITSTATUS(status));
}

}  // namespace

absl::StatusOr<WorkerProcess> WorkerProcess::Spawn(const std::string& program, const std::string& model) {
  TG_ASSIGN(auto ends, WorkerSocket::Pair());
  const FileActions files(ends.second.descriptor());
  const Attributes attributes;
  std::array<std::string, 3> words = {program, kWorkerCommand, model};
  std::array<char*, 4> arguments = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  std::vector<char*> environment = Environment();
  WorkerProcess process{0, std::move(ends.first)};
  const int failed = ::posix_spawn(&process.pid, program.c_str(), files.raw(), attributes.raw(), arguments.data(), environment.data());
  if (failed != 0) return base::Unavailable(fmt::format("the model's process cannot be started: {}", std::strerror(failed)));
  return process;
}

std::string EndWorker(pid_t pid, milliseconds patience) {
  // One that ended by itself, or is about to, tells how; one that only left its socket is made to.
  const auto start = base::SystemClock().Mono();
  for (bool killed = false;;) {
    int status = 0;
    const pid_t reaped = ::waitpid(pid, &status, WNOHANG);
    if (reaped == pid) return How(status);
    if (reaped < 0 && errno != EINTR) return "is gone";
    const auto waited = base::SystemClock().Mono() - start;
    if (!killed && waited > milliseconds(200)) killed = ::kill(pid, SIGKILL) == 0;
    if (waited > patience) return fmt::format("does not end although it was killed (process {})", pid);
    std::this_thread::sleep_for(milliseconds(1));
  }
}

}  // namespace tollgate::inference
