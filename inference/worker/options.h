// How the processes are run that models compute in, with pool.isolation: process. A plain value.
#pragma once

#include <chrono>
#include <string>

namespace tollgate::inference {

// Where models compute: on threads of this process, which ends with what ends them; or each in a child process, whose end is its own.
enum class Isolation { kThread, kProcess };

struct WorkerOptions {
  std::string program = "/proc/self/exe";        // Started as `program pool-worker MODEL`; it calls ServeWorker (worker/serve.h).
  std::chrono::milliseconds hung_after{60'000};  // For one step or other call: then the process is taken for hung, and killed.
  std::chrono::milliseconds silent_max{10'000};  // For a sign of life, of which there are several a second while it works.
  std::chrono::milliseconds load_max{3'600'000};
  std::chrono::milliseconds restart_first{100};  // Wait before it is started again, doubled each time,
  std::chrono::milliseconds rest{60'000};  // and this after five ends in a row, none of which it had lived so long before, once loaded.
  bool log_json = false;                   // Its diagnostics are JSON, as ours.
};

}  // namespace tollgate::inference
