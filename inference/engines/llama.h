// The llama engine: libllama in this process. Checks everything before libllama sees it, because libllama ends the process on what it does
// not expect.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "inference/engine.h"
#include "inference/gguf.h"
#include "inference/placement.h"
#include "inference/pool.h"

namespace tollgate::inference {

// What a model takes, and where it goes.
struct LlamaPlan {
  std::int64_t host_bytes = 0;      // Of the machine's memory.
  std::vector<DeviceShare> shares;  // Of GPUs, in libllama's order of them; none: it computes on the processor.
  std::int64_t device_bytes() const;
};

// What is free now on the GPUs that libllama sees, in its order of them; none: it computes on the processor. FAILED_PRECONDITION: libllama
// has nothing to compute with.
absl::StatusOr<std::vector<DeviceRoom>> LlamaRooms(const std::string& backends_dir);

// Whether a file with this header fits: into these rooms of GPUs, or into `memory_bytes` where there is none. A pure function.
// RESOURCE_EXHAUSTED, in numbers: it does not.
absl::StatusOr<LlamaPlan> PlanLlama(const ModelOptions& model, const GgufHeader& header, std::int64_t file_bytes, std::int64_t memory_bytes,
                                    std::span<const DeviceRoom> rooms);

// Reads and checks the file's header and digest, and that it fits into `memory_bytes`, then loads it. `backends_dir`: where ggml's loadable
// backends are; empty = as built. CANCELLED: `go_on`, asked again and again meanwhile, said no.
absl::StatusOr<std::unique_ptr<Engine>> MakeLlamaEngine(const ModelOptions& model, const std::string& backends_dir,
                                                        std::int64_t memory_bytes = INT64_MAX, const std::function<bool()>& go_on = {});

}  // namespace tollgate::inference
