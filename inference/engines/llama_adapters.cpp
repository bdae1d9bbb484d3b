// How it works. A file was read by our own reader and its digest compared before libllama sees it (CheckAdapterFile). libllama computes with
// the set of adapters that its context was told last, and compares sets by address: so a set that is in use is put down before one of it is
// freed, else another that is loaded to the same address would pass for it. Room for the greater graph is made by libllama itself at the
// step after a change (llama_set_adapters_lora asks for it), so adapters may come and go while the context lives.
//
// Tested by tests/inference/adapter_model_test.cpp, tests/inference/interleaving_test.cpp.
#include "inference/engines/llama_adapters.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "inference/adapter_file.h"
#include "inference/engines/llama_library.h"

namespace tollgate::inference {
namespace {

// What is free on the GPUs together: an adapter's matrices lie beside the weights that they change.
std::int64_t RoomOnGpus() {
  std::int64_t room = 0;
  for (const LlamaGpu& gpu : LlamaGpus()) room += gpu.room.free_bytes;
  return room;
}

}  // namespace

absl::StatusOr<AdapterInfo> LlamaAdapters::Check(const AdapterOptions& adapter, std::int64_t memory_bytes) const {
  return CheckAdapterFile(adapter, header_, on_gpus_, on_gpus_ ? RoomOnGpus() : memory_bytes);
}

absl::StatusOr<int> LlamaAdapters::Add(const AdapterOptions& adapter) {
  llama_adapter_lora* raw = nullptr;
  try {
    raw = llama_adapter_lora_init(model_, adapter.file.c_str());
  } catch (const std::exception& e) {
    return base::FailedPrecondition(fmt::format("libllama cannot load {}: {}", adapter.file, e.what()));
  }
  if (raw == nullptr) return base::FailedPrecondition(fmt::format("libllama cannot load {}; its lines above say why", adapter.file));
  loaded_.emplace(++last_handle_, Loaded{raw, adapter});
  return last_handle_;
}

void LlamaAdapters::Remove(int handle) {
  const auto found = loaded_.find(handle);
  if (found == loaded_.end()) return;
  if (std::find(in_use_.begin(), in_use_.end(), handle) != in_use_.end()) {
    llama_set_adapters_lora(context_, nullptr, 0, nullptr);
    in_use_.clear();
  }
  llama_adapter_lora_free(found->second.raw);
  loaded_.erase(found);
}

absl::Status LlamaAdapters::Usable(std::span<const int> set) const {
  for (const int handle : set) {
    const auto found = loaded_.find(handle);
    if (found == loaded_.end()) return base::FailedPrecondition("an adapter is not loaded any more");
    if (!found->second.nonsense) continue;
    return base::FailedPrecondition(fmt::format("{} gave numbers that are not finite, and is used no more: take it out and train it again",
                                                found->second.options.name));
  }
  return absl::OkStatus();
}

void LlamaAdapters::GaveNonsense(std::span<const int> set) {
  for (const int handle : set) {
    if (const auto found = loaded_.find(handle); found != loaded_.end()) found->second.nonsense = true;
  }
}

absl::Status LlamaAdapters::Use(const std::vector<int>& set) {
  if (set == in_use_) return absl::OkStatus();
  std::vector<llama_adapter_lora*> raw;
  std::vector<float> scales;
  for (const int handle : set) {
    const auto found = loaded_.find(handle);
    if (found == loaded_.end()) return base::Internal("a step was asked for with an adapter that is not loaded");
    raw.push_back(found->second.raw);
    scales.push_back(static_cast<float>(found->second.options.scale));
  }
  if (llama_set_adapters_lora(context_, raw.data(), raw.size(), scales.data()) != 0) return base::Internal("the engine refused the adapters");
  in_use_ = set;
  return absl::OkStatus();
}

std::string LlamaAdapters::Salt(std::span<const int> set) const {
  std::string salt;
  for (const int handle : set) {
    const AdapterOptions& options = loaded_.at(handle).options;
    salt += fmt::format("|{}*{}", base::HexEncode(base::View(*options.sha256)), options.scale);
  }
  return salt;
}

}  // namespace tollgate::inference
