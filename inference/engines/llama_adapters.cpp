// How it works. A file is read by our own reader and its digest compared before libllama sees it. libllama computes with the set of adapters
// that its context was told last, and compares sets by address: so a set that is in use is put down before one of it is freed, else another
// that is loaded to the same address would pass for it. Room for the greater graph is made by libllama itself at the step after a change
// (llama_set_adapters_lora asks for it), so adapters may come and go while the context lives.
//
// Tested by tests/inference/adapter_model_test.cpp, tests/inference/interleaving_test.cpp.
#include "inference/engines/llama_adapters.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "inference/adapter_file.h"
#include "inference/engines/llama_library.h"
#include "inference/mapped_file.h"
#include "inference/memory_estimate.h"

namespace tollgate::inference {
namespace {

// What is free on the GPUs together: an adapter's matrices lie beside the weights that they change.
std::int64_t RoomOnGpus() {
  std::int64_t room = 0;
  for (const LlamaGpu& gpu : LlamaGpus()) room += gpu.room.free_bytes;
  return room;
}

absl::Status CheckDigest(const AdapterOptions& adapter, const base::Digest& found) {
  const std::string is = base::HexEncode(base::View(found));
  if (!adapter.sha256) {
    return base::FailedPrecondition(
        fmt::format("{} is not registered by its digest; if you trust the file, set sha256: {}", adapter.file, is));
  }
  if (found == *adapter.sha256) return absl::OkStatus();
  return base::FailedPrecondition(fmt::format("{} is not the file that was registered: its sha256 is {}, expected {}; fetch it again",
                                              adapter.file, is, base::HexEncode(base::View(*adapter.sha256))));
}

}  // namespace

absl::StatusOr<AdapterInfo> LlamaAdapters::Check(const AdapterOptions& adapter, std::int64_t memory_bytes) const {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(adapter.file));
  const auto read = ReadAdapter(file.bytes(), header_);
  if (!read.ok()) return base::Annotate(read.status(), adapter.file);
  AdapterInfo info{.name = adapter.name, .sha256 = base::Sha256(file.bytes()), .scale = adapter.scale, .rank = read->rank};
  TG_RETURN_IF_ERROR(CheckDigest(adapter, info.sha256));
  TG_RETURN_IF_ERROR(CheckAdapterFits(read->weights_bytes, read->computing_bytes, on_gpus_ ? RoomOnGpus() : memory_bytes));
  (on_gpus_ ? info.device_memory_bytes : info.memory_bytes) = read->weights_bytes + read->computing_bytes;
  return info;
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
