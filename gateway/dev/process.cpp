// Between fork and exec only what is allowed there: everything that allocates is done before.
//
// Tested by tests/gateway/dev/cluster_test.cpp.
#include "gateway/dev/process.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/encoding.h"

namespace tollgate::dev {
namespace {
constexpr int kCannotRun = 127;

[[noreturn]] void Become(const User* user, char* const* argv, int output) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  const int empty = open("/dev/null", O_RDONLY);
  dup2(empty, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  close_range(3, ~0U, 0);
  if (user != nullptr && (setgroups(1, &user->gid) != 0 || setgid(user->gid) != 0 || setuid(user->uid) != 0)) _exit(kCannotRun);
  if (user != nullptr && chdir("/") != 0) _exit(kCannotRun);  // A working folder that the user may not enter troubles some programs.
  execv(argv[0], argv);
  _exit(kCannotRun);
}

std::string LastLines(const std::string& path) {
  const auto text = base::ReadFile(path);
  if (!text.ok()) return "";
  std::size_t at = text->size();
  for (int lines = 0; at > 0 && lines < 6; ++lines) {
    at = text->rfind('\n', at - 1);
    if (at == std::string::npos) at = 0;
  }
  return text->substr(at);
}
}  // namespace

absl::StatusOr<std::optional<User>> ServerUser() {
  if (geteuid() != 0) return std::optional<User>();
  for (const char* name : {"postgres", "nobody"}) {
    if (const passwd* entry = getpwnam(name); entry != nullptr) return std::optional<User>(User{name, entry->pw_uid, entry->pw_gid});
  }
  return base::FailedPrecondition(
      "Postgres does not run as root, and there is neither a user postgres nor nobody; run as an ordinary user");
}

absl::StatusOr<pid_t> StartProgram(const std::optional<User>& user, const std::vector<std::string>& argv, const std::string& output) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const int file = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return base::Internal(fmt::format("cannot write {}: {}", output, std::strerror(errno)));
  const pid_t child = fork();
  if (child == 0) Become(user ? &*user : nullptr, arguments.data(), file);
  close(file);
  if (child < 0) return base::Unavailable(fmt::format("cannot start {}: {}", argv[0], std::strerror(errno)));
  return child;
}

absl::Status RunProgram(const std::optional<User>& user, const std::vector<std::string>& argv, const std::string& output) {
  TG_ASSIGN(const pid_t child, StartProgram(user, argv, output));
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return absl::OkStatus();
  if (WIFSIGNALED(state)) return base::Cancelled(fmt::format("{} was ended by signal {}", argv[0], WTERMSIG(state)));
  if (WEXITSTATUS(state) == kCannotRun)
    return base::Internal(fmt::format("cannot run {}{}", argv[0], user ? " as user " + user->name : ""));
  return base::Internal(fmt::format("{} failed (exit code {}):{}", argv[0], WEXITSTATUS(state), LastLines(output)));
}

}  // namespace tollgate::dev
