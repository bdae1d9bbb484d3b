// Makes the engine that a model's options ask for, in this process. Internal to the room.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "inference/engine.h"
#include "inference/gguf.h"
#include "inference/placement.h"
#include "inference/pool.h"

namespace tollgate::inference {

// What an engine finds where it is made.
struct EngineHost {
  std::string backends_dir;                  // As PoolOptions has it.
  std::optional<std::int64_t> memory_bytes;  // What the model may take of the machine's; none: what the machine has left.
  const base::Clock* clock = &base::SystemClock();
  std::function<bool()> go_on;  // As PoolOptions has it.
};

// The bytes that it may take.
std::int64_t MemoryOf(const EngineHost& host);

using EngineFactory = std::function<absl::StatusOr<std::unique_ptr<Engine>>(const ModelOptions& model, const EngineHost& host)>;

// On the thread that will drive it.
absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const ModelOptions& model, const EngineHost& host);

// How the engine of a model's strict answers is loaded, beside that of the others: one at a time, nothing kept of one for the next.
ModelOptions StrictOf(ModelOptions model);

// Names that engine in a refusal.
absl::Status AboutStrict(const absl::Status& status);

// Whether the file's header is good and there is memory for it, and for its second engine if it is `strict`; reads nothing else of it.
// RESOURCE_EXHAUSTED, in numbers.
absl::Status CheckEngine(const ModelOptions& model, const EngineHost& host);

// What of that is arithmetic: a llama with this header on GPUs with these rooms, none: on the processor, and `memory_bytes` of the
// machine's.
absl::Status CheckRoom(const ModelOptions& model, const GgufHeader& header, std::int64_t file_bytes, std::int64_t memory_bytes,
                       std::vector<DeviceRoom> rooms);

// Of a model that was loaded elsewhere, as `loaded` says: of the weights nothing is read.
absl::StatusOr<std::unique_ptr<PromptSide>> MakePromptSide(const ModelOptions& model, const ModelInfo& loaded);

}  // namespace tollgate::inference
