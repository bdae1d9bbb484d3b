// The engine of a model that computes in a child process of the same program: what ends that process ends what ran in it, with UNAVAILABLE
// and ENGINE_LOST, and nothing else; and it is started again. Internal to the room.
//
// Prompts are laid out, counted and checked on this side, by the model's vocabulary: that never waits for the other one. The process is
// killed when it does not answer (WorkerOptions has the times), or answers what is no answer. After five ends in a row it rests.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "inference/engine.h"
#include "inference/pool.h"

namespace tollgate::inference {

struct WorkerHost {
  WorkerOptions options;
  std::string backends_dir;
  std::optional<std::int64_t> memory_bytes;        // What the model may take of the machine's; none: what the machine has left then.
  std::optional<std::int64_t> memory_bytes_again;  // The same where its process ended and is started again.
  int nice = 0;                                    // Added to the niceness of the threads over there that compute.
  std::function<bool()> go_on = {};                // As PoolOptions has it, of the first load.
};

// Starts the process and waits until the model is loaded, or for why it is not: the error that its own engine has, with its numbers; or
// UNAVAILABLE: the process ended; or CANCELLED, and it was killed. On any thread. Interrupt kills the process.
absl::StatusOr<std::unique_ptr<Engine>> MakeWorkerEngine(const ModelOptions& model, const WorkerHost& host);

// CheckEngine in a process that ends with it: this one does not even look at a GPU.
absl::Status CheckInWorker(const ModelOptions& model, const WorkerHost& host);

}  // namespace tollgate::inference
