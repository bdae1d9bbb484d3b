// How it works. A file was read by our own reader and its digest compared before libllama sees it (CheckAdapterFile). libllama computes
// with the set of adapters that its context was told last, and compares sets by address: so a set that is in use is put down before one of
// it is freed, else another that is loaded to the same address would pass for it. Room for the greater graph is made by libllama itself at
// the step after a change (llama_set_adapters_lora asks for it), so adapters may come and go while the context lives.
//
// Tested by tests/inference/adapter_model_test.cpp, tests/inference/interleaving_test.cpp.
#include "inference/engines/llama_adapters.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "inference/adapter_file.h"
#include "inference/engines/llama_library.h"
#include "inference/mapped_file.h"

namespace tollgate::inference {
namespace {

// An adapter's matrices lie beside the weights that they change, which may all be on one of the model's GPUs.
std::int64_t RoomOnGpus(std::span<const DeviceShare> shares) {
  std::vector<DeviceRoom> rooms;
  for (LlamaGpu& gpu : LlamaGpus()) rooms.push_back(std::move(gpu.room));
  return RoomBeside(shares, rooms);
}

// A file by a path that goes on naming it while it is renamed or replaced.
class OpenFile {
 public:
  explicit OpenFile(const std::string& name) : fd_(::open(name.c_str(), O_RDONLY | O_CLOEXEC)) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_); }

 private:
  const int fd_;
};

// Each token of such a model is sent to a few of its experts.
bool HasExperts(const GgufHeader& header) {
  const auto routes = [](const GgufTensor& tensor) { return tensor.name.find(".ffn_gate_inp.") != std::string::npos; };
  return std::any_of(header.tensor_table.begin(), header.tensor_table.end(), routes);
}

}  // namespace

absl::StatusOr<AdapterInfo> LlamaAdapters::Check(const AdapterOptions& adapter, std::int64_t memory_bytes) const {
  const bool on_gpus = !shares_.empty();
  if (on_gpus && !in_own_process_ && HasExperts(header_)) {
    return base::FailedPrecondition(
        "the model has experts and is on a GPU, where an adapter under which its numbers overflow would end the whole gateway: set "
        "pool.isolation: process, or train the adapter for a model without experts");
  }
  return CheckAdapterFile(adapter, header_, on_gpus, on_gpus ? RoomOnGpus(shares_) : memory_bytes);
}

// The file is opened once, its digest compared, and libllama reads what was opened, whatever lies under the name by then.
absl::StatusOr<int> LlamaAdapters::Add(const AdapterOptions& adapter) {
  const OpenFile file(adapter.file);
  const auto bytes = MappedFile::Open(file.path());
  if (!bytes.ok()) return base::FailedPrecondition(fmt::format("{} cannot be opened any more", adapter.file));
  if (!adapter.sha256 || base::Sha256(bytes->bytes()) != *adapter.sha256)
    return base::FailedPrecondition(fmt::format("{} was changed after it was checked; fetch it again", adapter.file));
  llama_adapter_lora* raw = nullptr;
  try {
    raw = llama_adapter_lora_init(model_, file.path().c_str());
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
  std::erase_if(nonsense_, [handle](const auto& set) { return std::find(set.begin(), set.end(), handle) != set.end(); });
}

absl::Status LlamaAdapters::Usable(std::span<const int> set) const {
  for (const int handle : set) {
    const auto found = loaded_.find(handle);
    if (found == loaded_.end()) return base::FailedPrecondition("an adapter is not loaded any more");
    if (!nonsense_.contains({handle})) continue;
    return base::FailedPrecondition(fmt::format("{} gave numbers that are not finite, and is used no more: take it out and train it again",
                                                found->second.options.name));
  }
  if (set.size() < 2 || !nonsense_.contains({set.begin(), set.end()})) return absl::OkStatus();
  return base::FailedPrecondition(
      fmt::format("{} and those beside it gave numbers that are not finite, and are used together no more: try "
                  "each alone",
                  loaded_.at(set.front()).options.name));
}

void LlamaAdapters::GaveNonsense(std::span<const int> set) {
  if (set.empty()) return;
  if (nonsense_.size() >= kNonsenseMax) nonsense_.clear();
  nonsense_.emplace(set.begin(), set.end());
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
  if (llama_set_adapters_lora(context_, raw.data(), raw.size(), scales.data()) != 0)
    return base::Internal("the engine refused the adapters");
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
