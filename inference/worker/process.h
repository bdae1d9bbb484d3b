// WorkerProcess: a child that a model computes in: started, killed, waited for. Internal to the room.
//
// It has no descriptor but standard error and its socket, no environment but a few names that computing needs, and dies with the thread
// that started it. It takes no notice of the signals by which a service is stopped: its parent ends it when what runs has ended.
#pragma once

#include <chrono>
#include <string>

#include <sys/types.h>

#include "base/status.h"
#include "inference/worker/socket.h"

namespace tollgate::inference {

constexpr char kWorkerCommand[] = "pool-worker";
constexpr int kWorkerDescriptor = 3;  // Where the child finds its socket.

struct WorkerProcess {
  pid_t pid = 0;
  WorkerSocket socket;  // Our end.

  // Starts `program pool-worker MODEL`. UNAVAILABLE says why not.
  static absl::StatusOr<WorkerProcess> Spawn(const std::string& program, const std::string& model);
};

// Kills the child and waits until it is gone: "ended by signal 6 (Aborted)". At most `patience`: one that the kernel holds is left to it.
std::string EndWorker(pid_t pid, std::chrono::milliseconds patience);

}  // namespace tollgate::inference
