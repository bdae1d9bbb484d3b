// Finds the `tollgate dev` of the folder, or starts one as a program of its own, so that what the demo shows is what a client sees.
//
// Tested by tests/e2e, which run it.
#include "gateway/dev/demo.h"

#include <csignal>
#include <filesystem>
#include <iostream>
#include <thread>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/cli/dev_files.h"
#include "gateway/cli/terminal.h"
#include "gateway/dev/demo_steps.h"
#include "gateway/dev/dev.h"
#include "gateway/dev/process.h"
#include "gateway/dev/program_line.h"

namespace tollgate::dev {
namespace {
constexpr std::chrono::seconds kStartPatience(180);

absl::StatusOr<std::unique_ptr<DemoClient>> ConnectTo(const std::string& folder) {
  TG_ASSIGN(const cli::DevEndpoints endpoints, cli::ReadDevEndpoints(folder));
  TG_ASSIGN(std::vector<cli::DevKey> keys, cli::ReadDevKeys(folder));
  return DemoClient::Connect(endpoints, std::move(keys));
}

// To the `tollgate dev` that has the folder, once it is ready; not OK: none has it, or it takes too long.
absl::StatusOr<std::unique_ptr<DemoClient>> ConnectTo(const std::string& folder, std::chrono::seconds patience) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  for (bool told = false;; told = true) {
    auto client = ConnectTo(folder);
    if (client.ok() || !IsTaken(folder) || std::chrono::steady_clock::now() >= give_up) return client;
    if (!told) std::cout << "A `tollgate dev` is starting here: waiting for it.\n" << std::flush;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// A `tollgate dev` of our own, ended with the object.
class OwnDev {
 public:
  ~OwnDev() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }

  absl::Status Start(const cli::DemoCommand& command) {
    std::error_code error;
    std::filesystem::create_directories(command.folder, error);
    const std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
    const std::string log = command.folder + "/demo.log";
    std::vector<std::string> argv = {
        self, "dev", "--folder", command.folder, "--http-port", "0", "--grpc-port", "0", "--admin-port", "0", "--probes-port", "0"};
    if (command.scripted) argv.push_back("--scripted");
    TG_ASSIGN(pid_, StartProgram(std::nullopt, argv, log));
    const auto give_up = std::chrono::steady_clock::now() + kStartPatience;
    while (std::chrono::steady_clock::now() < give_up) {
      const auto at = cli::ReadDevEndpoints(command.folder);
      if (at.ok() && at->pid == pid_) return absl::OkStatus();
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = 0;
        return base::Unavailable(fmt::format("`tollgate dev` did not start; see {}", log));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return base::Unavailable(fmt::format("`tollgate dev` was not ready after {} s; see {}", kStartPatience.count(), log));
  }

 private:
  pid_t pid_ = 0;
};

int Fail(const absl::Status& status) {
  std::cerr << "tollgate: " << base::Message(status) << "\n";
  return status.code() == absl::StatusCode::kUnavailable ? cli::kUnavailable : cli::kRefused;
}
}  // namespace

int RunDemo(const cli::DemoCommand& command) {
  OwnDev own;
  auto client = ConnectTo(command.folder, kStartPatience);
  if (!client.ok()) {
    std::cout << "No `tollgate dev` runs here: starting one for the time of the demo.\n" << std::flush;
    if (const absl::Status started = own.Start(command); !started.ok()) return Fail(started);
    client = ConnectTo(command.folder);
  }
  if (!client.ok()) return Fail(client.status());
  std::cout << fmt::format("The story of Tollgate in seven steps, with model {} and the sample company acme.\n", (*client)->model());
  cli::Terminal out(std::cout, isatty(STDOUT_FILENO) == 1);  // A model says what it likes.
  return Demo(**client, out.stream(), ProgramLine(command.folder)).Run() == 0 ? cli::kDone : cli::kRefused;
}

}  // namespace tollgate::dev
