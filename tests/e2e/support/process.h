// A program that a test starts, watches and kills. Its output goes to files, so that nothing it prints can block it.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace tollgate::e2e {

using std::chrono::milliseconds;

struct Spawning {
  std::map<std::string, std::string> environment;  // On top of the test's own.
  int descriptors_max = 0;                         // RLIMIT_NOFILE; 0 = as the test's own.
};

// One thread. Ends the program with SIGKILL if it still runs when this goes; the program dies with the test in any case.
class Process {
 public:
  explicit Process(std::vector<std::string> command, const Spawning& how = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int pid() const { return pid_; }
  bool Running();
  void Signal(int signal) const;
  void Kill9();  // And waits until it is gone.
  // The exit code, 128 + signal if one ended it; nothing if it still runs after `patience`.
  std::optional<int> Wait(milliseconds patience);
  std::string Out() const;
  std::string Err() const;
  // Waits until `text` is in standard error or output; false after `patience`, or when the program ends without it.
  bool WaitForErr(const std::string& text, milliseconds patience);
  bool WaitForOut(const std::string& text, milliseconds patience);
  std::int64_t ResidentKib() const;

 private:
  bool WaitFor(const std::string& file, const std::string& text, milliseconds patience);

  test::TempDir dir_;
  int pid_ = 0;
  std::optional<int> code_;
};

struct Finished {
  int code = -1;  // -1: it had to be killed after the patience.
  std::string out;
  std::string err;
};

// Runs a program to its end.
Finished RunToEnd(std::vector<std::string> command, milliseconds patience = milliseconds(30'000), const Spawning& how = {});

// The program under test: TOLLGATE_BINARY, or the one of this build.
std::string TollgateBinary();
Finished RunTollgate(std::vector<std::string> arguments, milliseconds patience = milliseconds(30'000));

// The interpreter that has OpenAI's client.
std::string SdkPython();

void Pause();  // A few milliseconds, between two looks at another process.

// Polls until `condition` holds; false after `patience`. For what another process brings about.
template <typename Condition>
bool Eventually(Condition condition, milliseconds patience = milliseconds(10'000)) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  for (;;) {
    if (condition()) return true;
    if (std::chrono::steady_clock::now() > give_up) return false;
    Pause();
  }
}

}  // namespace tollgate::e2e
