// How it works. A model that embeds has a context for one step alone, none where it is an encoder; but libllama keeps the logits of every
// token of a step for it, used or not. Else the context's size follows from the header: for each token and layer, keys and values of each
// key-value head, in the type they are kept in. Where the heads differ by layer (an array), the count of query heads stands for all, which
// is never less. Computing takes a few activations of each token of a pass, and the logits of each slot.
//
// What there is: MemAvailable of /proc/meminfo; and of each control group that this process is in, the limit less what is used, where
// files' pages count as free: those that were used lately too, as weights of a model that is gone were, for nothing ages them while there
// is no want. A group's limit holds for all below it, so that all levels are looked at, up to the root. /proc/self/cgroup names the group:
// on a line "0::PATH" in version 2, on one for "memory" in version 1; a host may have both, of which one limits memory. In a container PATH
// may be the host's, of which the container sees the last part as its root: levels that are not there are passed over.
//
// What models were promised and have not touched yet counts there as free: weights are files' pages, prefixes are kept as they come. So
// what is free now is one bound, and what would be free without any model, less all that was promised, the other. The latter is the most
// that was ever seen free: models only lessen that.
//
// Tested by tests/inference/memory_estimate_test.cpp.
#include "inference/memory_estimate.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/pooling.h"

namespace tollgate::inference {
namespace {

constexpr std::int64_t kPassTokens = 512;  // Tokens that libllama computes at once, at most.
constexpr std::int64_t kMiB = 1 << 20;

// Products of what a file says, which may be anything: more than any machine has counts as that.
__extension__ typedef __int128 Wide;
constexpr Wide kEstimateMax = Wide{1} << 60;
std::int64_t Bytes(Wide bytes) { return static_cast<std::int64_t>(std::min(bytes, kEstimateMax)); }

std::int64_t Number(const GgufHeader& header, const char* key, std::int64_t otherwise) {
  const auto found = header.numbers.find(fmt::format("{}.{}", header.architecture, key));
  return found == header.numbers.end() ? otherwise : found->second;
}

std::int64_t MiB(std::int64_t bytes) { return (bytes + kMiB - 1) / kMiB; }

std::int64_t ReadNumber(const std::string& path) {
  std::ifstream file(path);
  std::int64_t number = -1;
  return file >> number ? number : -1;
}

// How a version of control groups names its files.
struct GroupFiles {
  const char* root;
  const char* most;
  const char* used;
  std::array<std::string_view, 2> pages;  // Lines of memory.stat.
};
constexpr GroupFiles kVersion2{"/sys/fs/cgroup", "memory.max", "memory.current", {"inactive_file", "active_file"}};
constexpr GroupFiles kVersion1{
    "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", {"total_inactive_file", "total_active_file"}};

// INT64_MAX: it has no limit, or is not there.
std::int64_t LeftOfGroup(const std::string& group, const GroupFiles& files) {
  const std::int64_t most = ReadNumber(fmt::format("{}/{}", group, files.most));
  const std::int64_t used = ReadNumber(fmt::format("{}/{}", group, files.used));
  if (most < 0 || used < 0) return std::numeric_limits<std::int64_t>::max();
  std::int64_t pages = 0;  // Of files, which give way.
  std::ifstream stat(group + "/memory.stat");
  std::string name;
  for (std::int64_t bytes = 0; stat >> name >> bytes;) {
    if (name == files.pages[0] || name == files.pages[1]) pages += bytes;
  }
  return most - used + std::min(pages, used);
}

// Of the group, and of all that it is in.
std::int64_t LeftOfGroups(const std::string& root, std::string path, const GroupFiles& files) {
  std::int64_t left = std::numeric_limits<std::int64_t>::max();
  for (;;) {
    left = std::min(left, LeftOfGroup(root + files.root + path, files));
    if (path.empty()) return left;
    path.resize(std::min(path.rfind('/'), path.size() - 1));
  }
}

std::int64_t LeftOfGroups(const std::string& root) {
  std::int64_t left = std::numeric_limits<std::int64_t>::max();
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // NUMBER:CONTROLLERS:PATH
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") left = std::min(left, LeftOfGroups(root, path, kVersion2));
    if (controllers.find(",memory,") != std::string::npos) left = std::min(left, LeftOfGroups(root, path, kVersion1));
  }
  return left;
}

}  // namespace

std::int64_t EmbedStepTokens(const ModelOptions& model) {
  if (model.pooling == Pooling::kNone) return model.context_tokens;
  return std::max<std::int64_t>(model.context_tokens, model.step_tokens_max);
}

std::int64_t SuspendedBytesMax(const ModelOptions& model) { return model.kv_tokens == 0 ? 0 : model.prefix_cache_bytes / 2; }

std::int64_t PrefixBytesMax(const ModelOptions& model) { return model.prefix_cache_bytes - SuspendedBytesMax(model); }

MemoryNeed EstimateMemory(const GgufHeader& header, std::int64_t file_bytes, const ModelOptions& model) {
  const std::int64_t width = Number(header, "embedding_length", 0);
  const std::int64_t heads = std::max<std::int64_t>(Number(header, "attention.head_count", 1), 1);
  const std::int64_t kv_heads = Number(header, "attention.head_count_kv", heads);
  const std::int64_t key = Number(header, "attention.key_length", width / heads);
  const std::int64_t value = Number(header, "attention.value_length", width / heads);
  const Wide per_token = Wide{header.layers} * kv_heads * (key + value);
  const bool embeds = model.pooling != Pooling::kNone;
  const std::int64_t at_once = embeds ? 1 : model.slots;
  const auto blocks = [](std::int64_t t) { return (t + 255) / 256 * 256; };  // libllama's.
  const std::int64_t tokens = model.kv_tokens > 0 ? blocks(model.kv_tokens) : blocks(EmbedStepTokens(model)) * at_once;
  const auto keeping = [&](std::int64_t count) {
    switch (model.kv) {
      case KvType::kQ8: return Bytes(per_token * count / 32 * 34);
      case KvType::kF16: return Bytes(per_token * count * 2);
      case KvType::kF32: break;
    }
    return Bytes(per_token * count * 4);
  };
  MemoryNeed need;
  need.weights = file_bytes;
  need.context = keeping(tokens);
  if (model.kv_tokens > 0) need.moving = keeping(2 * model.context_tokens);  // What makes room for a snapshot (LlamaEngine::Put).
  if (embeds && IsEncoder(header)) need.context = 0;
  need.prefix_cache = embeds ? 0 : model.prefix_cache_bytes;
  const std::int64_t pass = std::min<std::int64_t>(kPassTokens, std::max(model.step_tokens_max, model.slots + 16));
  const std::int64_t activations = 6 * width + 3 * Number(header, "feed_forward_length", 4 * width) + 2 * heads * (key + value);
  const std::int64_t rows = model.device_sampling == DeviceSampling::kOff ? 2 : 6;  // libllama's places for what the device may give.
  need.computing = Bytes(4 * (Wide{pass} * activations + Wide{rows} * model.slots * header.vocab_tokens));
  if (embeds) {
    const std::int64_t step = EmbedStepTokens(model);
    need.computing = Bytes(Wide{4} * step * (activations + (IsEncoder(header) ? 1 : 2) * header.vocab_tokens + width));
  }
  return need;
}

absl::Status CheckFits(const MemoryNeed& need, const ModelOptions& model, std::int64_t available_bytes) {
  if (need.total() <= available_bytes) return absl::OkStatus();
  base::ErrorDetail detail;
  detail.reason = "MODEL_DOES_NOT_FIT";
  detail.may_retry = false;
  const std::string context = model.kv_tokens > 0 ? fmt::format("{} slots that share {} tokens", model.slots, model.kv_tokens)
                                                  : fmt::format("{} slots x {} tokens", model.slots, model.context_tokens);
  return base::WithDetail(
      base::ResourceExhausted(fmt::format("it needs about {} MiB (weights {}, context of {} {}, prefix cache {}, "
                                          "computing {}) and {} MiB are free: lower "
                                          "{} or prefix_cache_bytes{}, or unload another model",
                                          MiB(need.total()), MiB(need.weights), context, MiB(need.context), MiB(need.prefix_cache),
                                          MiB(need.computing + need.moving), std::max<std::int64_t>(available_bytes, 0) / kMiB,
                                          model.kv_tokens > 0 ? "kv_tokens" : "slots, context_tokens",
                                          model.kv == KvType::kF16 ? ", keep the context in 8 bits" : "")),
      detail);
}

absl::Status CheckAdapterFits(std::int64_t weights_bytes, std::int64_t computing_bytes, std::int64_t available_bytes) {
  if (weights_bytes + computing_bytes <= available_bytes) return absl::OkStatus();
  base::ErrorDetail detail;
  detail.reason = "MODEL_DOES_NOT_FIT";
  detail.may_retry = false;
  return base::WithDetail(base::ResourceExhausted(fmt::format(
                              "it needs about {} MiB (its matrices {}, computing {}) and {} MiB are free: unload another adapter or model",
                              MiB(weights_bytes + computing_bytes), MiB(weights_bytes), MiB(computing_bytes),
                              std::max<std::int64_t>(available_bytes, 0) / kMiB)),
                          detail);
}

SplitNeed SplitOverDevices(const MemoryNeed& need, const GgufHeader& header) {
  SplitNeed split;
  split.devices = {need.weights, need.context, need.computing, header.layers};
  split.host.weights = need.weights / (header.layers + 1);
  split.host.prefix_cache = need.prefix_cache;
  split.host.moving = need.moving;
  return split;
}

std::int64_t MemoryAvailable(const std::string& root) {
  std::int64_t available = std::numeric_limits<std::int64_t>::max();
  std::ifstream meminfo(root + "/proc/meminfo");
  std::string name;
  std::string unit;
  std::int64_t kib = 0;
  while (meminfo >> name >> kib && std::getline(meminfo, unit)) {
    if (name == "MemAvailable:") available = kib * 1024;
  }
  return std::min(available, LeftOfGroups(root));
}

MemoryLimit::MemoryLimit(std::int64_t limit_bytes, std::function<std::int64_t()> available)
    : limit_bytes_(limit_bytes), available_(std::move(available)), most_(limit_bytes == 0 ? available_() : 0) {}

std::int64_t MemoryLimit::Left(std::int64_t promised_bytes) const {
  if (limit_bytes_ != 0) return limit_bytes_ - promised_bytes;
  constexpr std::int64_t kUnknown = std::numeric_limits<std::int64_t>::max();  // Its files could not be read just then.
  const std::int64_t now = available_();
  base::Lock lock(mu_);
  if (now != kUnknown) most_ = most_ == kUnknown ? now : std::max(most_, now);
  return std::min(now, most_ - promised_bytes);
}

}  // namespace tollgate::inference
