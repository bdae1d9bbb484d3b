#include "tests/e2e/support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/status.h"

namespace tollgate::e2e {
namespace {

using Clock = std::chrono::steady_clock;

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

[[noreturn]] void Exec(const std::vector<std::string>& command, const Spawning& how, const std::string& out, const std::string& err) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGHUP, SIG_DFL);  // Whatever the test was started under.
  ::dup2(::open("/dev/null", O_RDONLY), 0);
  ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644), 1);
  ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644), 2);
  for (int fd = 3; fd < 1024; ++fd) ::close(fd);
  if (how.descriptors_max > 0) {
    const auto most = static_cast<rlim_t>(how.descriptors_max);
    const rlimit limit{most, most};
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  for (const auto& [name, value] : how.environment) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

void Pause() { std::this_thread::sleep_for(milliseconds(5)); }

Process::Process(std::vector<std::string> command, const Spawning& how) {
  const std::string out = dir_.File("out");
  const std::string err = dir_.File("err");
  pid_ = ::fork();
  TG_CHECK(pid_ >= 0, "fork failed");
  if (pid_ == 0) Exec(command, how, out, err);
}

Process::~Process() { Kill9(); }

bool Process::Running() { return !Wait(milliseconds(0)).has_value(); }

void Process::Signal(int signal) const {
  if (!code_) ::kill(pid_, signal);
}

void Process::Kill9() {
  Signal(SIGKILL);
  Wait(milliseconds(60'000));
}

std::optional<int> Process::Wait(milliseconds patience) {
  const auto give_up = Clock::now() + patience;
  while (!code_) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    } else if (Clock::now() >= give_up) {
      return std::nullopt;
    } else {
      std::this_thread::sleep_for(milliseconds(2));
    }
  }
  return code_;
}

std::string Process::Out() const { return ReadAll(dir_.File("out")); }
std::string Process::Err() const { return ReadAll(dir_.File("err")); }

bool Process::WaitFor(const std::string& file, const std::string& text, milliseconds patience) {
  const auto give_up = Clock::now() + patience;
  for (;;) {
    const bool running = Running();
    if (ReadAll(dir_.File(file)).find(text) != std::string::npos) return true;
    if (!running || Clock::now() > give_up) return false;
    Pause();
  }
}

bool Process::WaitForErr(const std::string& text, milliseconds patience) { return WaitFor("err", text, patience); }
bool Process::WaitForOut(const std::string& text, milliseconds patience) { return WaitFor("out", text, patience); }

std::int64_t Process::ResidentKib() const {
  std::ifstream in("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:")) return std::atoll(line.c_str() + 6);
  }
  return 0;
}

Finished RunToEnd(std::vector<std::string> command, milliseconds patience, const Spawning& how) {
  Process process(std::move(command), how);
  const auto code = process.Wait(patience);
  process.Kill9();
  return {code.value_or(-1), process.Out(), process.Err()};
}

std::string TollgateBinary() {
  const char* named = std::getenv("TOLLGATE_BINARY");
  return named != nullptr ? named : std::string(TOLLGATE_BINARY_DIR) + "/bin/tollgate";
}

// Wherever set-up's link leads: an environment's folder, or its program.
std::string SdkPython() {
  const std::filesystem::path link = TOLLGATE_SOURCE_DIR "/build/setup/sdk-python";
  if (std::filesystem::is_directory(link)) return (link / "bin/python").string();
  return std::filesystem::is_symlink(link) ? std::filesystem::read_symlink(link).string() : link.string();
}

Finished RunTollgate(std::vector<std::string> arguments, milliseconds patience) {
  arguments.insert(arguments.begin(), TollgateBinary());
  return RunToEnd(std::move(arguments), patience);
}

}  // namespace tollgate::e2e
