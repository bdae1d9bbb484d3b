// What a model will need in memory, and what there is: so that one that does not fit is refused in numbers instead of driving the machine
// out of memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/mutex.h"
#include "base/status.h"
#include "inference/gguf.h"
#include "inference/placement.h"
#include "inference/pool.h"

namespace tollgate::inference {

// Bytes. Of weights: the file's; of the context: exact; of computing: about; of moving: states that are on their way into the context,
// where slots share cells, at most.
struct MemoryNeed {
  std::int64_t weights = 0;
  std::int64_t context = 0;
  std::int64_t prefix_cache = 0;
  std::int64_t computing = 0;
  std::int64_t moving = 0;
  std::int64_t total() const { return weights + context + prefix_cache + computing + moving; }
};

// The most tokens of a step of a model that embeds: an input goes into one whole. Of one that chats: its context.
std::int64_t EmbedStepTokens(const ModelOptions& model);

// What of prefix_cache_bytes is for states of suspended sequences, where slots share cells, and what for prefixes.
std::int64_t SuspendedBytesMax(const ModelOptions& model);
std::int64_t PrefixBytesMax(const ModelOptions& model);

MemoryNeed EstimateMemory(const GgufHeader& header, std::int64_t file_bytes, const ModelOptions& model);

// OK, or RESOURCE_EXHAUSTED with all the numbers and what to lower.
absl::Status CheckFits(const MemoryNeed& need, const ModelOptions& model, std::int64_t available_bytes);

// OK, or RESOURCE_EXHAUSTED with the numbers: an adapter beside a model that is loaded.
absl::Status CheckAdapterFits(std::int64_t weights_bytes, std::int64_t computing_bytes, std::int64_t available_bytes);

// Where there are GPUs: what of it goes onto them, and what stays in the machine's memory (the prefixes that are kept, states on their way,
// and the weights' first table, reckoned as a layer).
struct SplitNeed {
  DeviceNeed devices;
  MemoryNeed host;
};
SplitNeed SplitOverDevices(const MemoryNeed& need, const GgufHeader& header);

// What this process may still take: of the machine, and of its control group and those around that, if one of them has less. INT64_MAX
// where it cannot be told. `root`: the folder that has proc and sys; empty = the machine's own.
std::int64_t MemoryAvailable(const std::string& root = "");

// What all models of a pool may take together. Thread-safe.
class MemoryLimit {
 public:
  // `limit_bytes` = 0: what there is, as `available` says; asked now, before the first model is loaded, and each time again.
  explicit MemoryLimit(std::int64_t limit_bytes, std::function<std::int64_t()> available);

  // What one more model may take beside those that were promised so many bytes together, used or not.
  std::int64_t Left(std::int64_t promised_bytes) const;

 private:
  const std::int64_t limit_bytes_;
  const std::function<std::int64_t()> available_;
  mutable base::Mutex mu_;
  mutable std::int64_t most_ GUARDED_BY(mu_) = 0;  // That was ever available.
};

}  // namespace tollgate::inference
