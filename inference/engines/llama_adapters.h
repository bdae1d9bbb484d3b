// LlamaAdapters: the LoRA adapters that are loaded beside one model, and which of them its context computes with. Internal to the engine.
// Check from any thread; the rest from the replica's.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <llama.h>

#include "base/status.h"
#include "inference/gguf.h"
#include "inference/placement.h"
#include "inference/types.h"

namespace tollgate::inference {

class LlamaAdapters {
 public:
  // Of a model with this header that lies on these GPUs; none: in the machine's memory. Model and context must outlive it.
  LlamaAdapters(llama_model* model, llama_context* context, GgufHeader header, std::vector<DeviceShare> shares, bool in_own_process)
      : model_(model), context_(context), header_(std::move(header)), shares_(std::move(shares)), in_own_process_(in_own_process) {}

  absl::StatusOr<AdapterInfo> Check(const AdapterOptions& adapter, std::int64_t memory_bytes) const;  // As Engine::CheckAdapter.
  absl::StatusOr<int> Add(const AdapterOptions& adapter);
  void Remove(int handle);

  // FAILED_PRECONDITION: one is not there, or they gave numbers that are not finite, together or one of them alone.
  absl::Status Usable(std::span<const int> set) const;
  // From now on these together are not Usable: of several it is not told whose doing it was, and each goes on in other company.
  void GaveNonsense(std::span<const int> set);

  // Makes the context compute with these from its next step on; costs nothing if it does so already.
  absl::Status Use(const std::vector<int>& set);

  // What tells states apart that were computed with these: by digest and scale, not by name. Empty for none.
  std::string Salt(std::span<const int> set) const;

 private:
  struct Loaded {
    llama_adapter_lora* raw = nullptr;  // The model's.
    AdapterOptions options;
  };
  static constexpr std::size_t kNonsenseMax = 10'000;  // Sets; with more, all are forgotten and have to show themselves again.

  llama_model* model_;
  llama_context* context_;
  const GgufHeader header_;
  const std::vector<DeviceShare> shares_;
  const bool in_own_process_;
  std::map<int, Loaded> loaded_;
  std::set<std::vector<int>> nonsense_;  // Sets that gave numbers which are not finite.
  std::vector<int> in_use_;
  int last_handle_ = 0;
};

}  // namespace tollgate::inference
