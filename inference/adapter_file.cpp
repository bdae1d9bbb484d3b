// How it works. The form is gguf.cpp's to check. Then the keys, by type too, because libllama asks for them without asking what they are;
// then each pair against the base's weight, every dimension of it; then every value. Where libllama would take less than what stands in the
// file (norms' vectors; weights that its graph of an architecture multiplies plainly: the tables below follow its sources) or handles it
// badly (an embedding that is the output too, weights in NVFP4, adapters that begin at a token), the adapter is refused rather than used in
// part.
//
// Tested by tests/inference/adapter_file_test.cpp, tests/inference/adapter_model_test.cpp.
#include "inference/adapter_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "inference/mapped_file.h"
#include "inference/memory_estimate.h"

namespace tollgate::inference {
namespace {

constexpr std::uint32_t kF32 = 0, kF16 = 1, kQ8 = 8, kBf16 = 30, kNvfp4 = 40;
constexpr std::size_t kQ8BlockBytes = 34;  // A 16-bit scale and 32 numbers.
constexpr std::int64_t kPassTokens = 512;  // Tokens that libllama computes at once, at most.
constexpr double kAlphaMax = 1e6;
constexpr std::string_view kSuffixA = ".lora_a", kSuffixB = ".lora_b";

// What libllama multiplies with the adapters in force, "blk.N.….weight"; beside the output and the embedding.
constexpr std::string_view kAdapted[] = {"attn_q",        "attn_k",       "attn_v",         "attn_qkv",
                                         "attn_output",   "ffn_gate",     "ffn_up",         "ffn_down",
                                         "ffn_gate_inp",  "ffn_up_exps",  "ffn_gate_exps",  "ffn_gate_up_exps",
                                         "ffn_down_exps", "ffn_up_shexp", "ffn_gate_shexp", "ffn_down_shexp"};
// Where it multiplies attn_q and the output without, as all that is named after latent attention,
constexpr std::string_view kLatent[] = {"deepseek2", "deepseek32", "deepseek4", "glm-dsa", "dots3note", "hy-v4", "plm", "minicpm3"};
// and where it does so with much else.
constexpr std::string_view kTakesNone[] = {"bailingmoe3", "glm5-next", "kimi-k3", "kimi-linear", "granite-switch"};

using Shape = std::vector<std::int64_t>;

template <typename Names>
bool Holds(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

absl::Status Bad(const std::string& what) { return base::InvalidArgument(what); }

std::string Show(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

absl::Status CheckText(const GgufHeader& header, const char* key, std::string_view wanted) {
  const auto found = header.strings.find(key);
  if (found == header.strings.end())
    return Bad(fmt::format("the file has no {}: it is no LoRA adapter; convert it with --outtype f16", key));
  if (found->second == wanted) return absl::OkStatus();
  return Bad(fmt::format("the file says {} = \"{}\"; a LoRA adapter of this model says \"{}\"", key, found->second.substr(0, 64), wanted));
}

absl::StatusOr<double> AlphaOf(const GgufHeader& header) {
  constexpr const char* kKey = "adapter.lora.alpha";
  const auto found = header.reals.find(kKey);
  if (found == header.reals.end() || header.wide_reals.contains(kKey)) return Bad(fmt::format("the file lacks {} as a 32-bit float", kKey));
  if (found->second > 0 && found->second <= kAlphaMax) return found->second;
  return Bad(fmt::format("the file says {} = {:g}; more than 0 and at most {:g} is possible", kKey, found->second, kAlphaMax));
}

// The first value that is no finite number, or -1.
template <typename Raw, typename IsFinite>
std::int64_t FirstBad(std::string_view data, std::size_t stride, IsFinite is_finite) {
  for (std::size_t at = 0; at + sizeof(Raw) <= data.size(); at += stride) {
    Raw raw;
    std::memcpy(&raw, data.data() + at, sizeof raw);
    if (!is_finite(raw)) return static_cast<std::int64_t>(at / stride);
  }
  return -1;
}

absl::Status CheckValues(std::string_view file, const GgufTensor& tensor) {
  const std::string_view data = file.substr(tensor.at, tensor.bytes);
  const auto half = [](std::uint16_t raw) { return (raw & 0x7C00U) != 0x7C00U; };
  std::int64_t bad = -1;
  switch (tensor.type) {
    case kF32: bad = FirstBad<std::uint32_t>(data, 4, [](std::uint32_t raw) { return std::isfinite(std::bit_cast<float>(raw)); }); break;
    case kF16: bad = FirstBad<std::uint16_t>(data, 2, half); break;
    case kBf16: bad = FirstBad<std::uint16_t>(data, 2, [](std::uint16_t raw) { return (raw & 0x7F80U) != 0x7F80U; }); break;
    case kQ8: bad = FirstBad<std::uint16_t>(data, kQ8BlockBytes, half); break;
    default: return Bad(fmt::format("tensor {} is of type {}; adapters hold F32, F16, BF16 or Q8_0", tensor.name, tensor.type));
  }
  if (bad < 0) return absl::OkStatus();
  return Bad(fmt::format("tensor {} holds something that is no finite number (element {}); train or convert it again", tensor.name, bad));
}

struct Pair {
  const GgufTensor* a = nullptr;
  const GgufTensor* b = nullptr;
};

absl::StatusOr<std::map<std::string, Pair>> PairsOf(const GgufHeader& header) {
  std::map<std::string, Pair> pairs;
  for (const GgufTensor& tensor : header.tensor_table) {
    const std::string_view name = tensor.name;
    const bool is_a = name.ends_with(kSuffixA), is_b = name.ends_with(kSuffixB);
    const std::string weight(name.substr(0, name.size() - (is_a || is_b ? kSuffixA.size() : 0)));
    if (!is_a && !is_b) return Bad(fmt::format("tensor {} is neither .lora_a nor .lora_b of a weight: it would not be used", tensor.name));
    if (weight.find(".lora_") != std::string::npos) return Bad(fmt::format("tensor {} has a name that means two things", tensor.name));
    (is_a ? pairs[weight].a : pairs[weight].b) = &tensor;
  }
  if (pairs.empty()) return Bad("the file holds no tensors: it changes nothing");
  return pairs;
}

// Whether a step multiplies by it with the adapters in force. What it would ignore was trained for nothing, or worse, for half of
// something.
bool IsAdapted(std::string_view weight, std::string_view architecture) {
  const bool latent = Holds(kLatent, architecture);
  if (weight == "token_embd.weight") return true;
  if (weight == "output.weight") return !latent;
  if (!weight.starts_with("blk.") || !weight.ends_with(".weight")) return false;
  weight.remove_suffix(std::string_view(".weight").size());
  const std::string_view part = weight.substr(weight.rfind('.') + 1);
  return Holds(kAdapted, part) && !(latent && part == "attn_q");
}

// What A and B of this weight must look like, at this rank.
std::pair<Shape, Shape> Wanted(const std::string& weight, const Shape& base, std::int64_t rank) {
  if (weight == "token_embd.weight") return {{rank, base[1]}, {rank, base[0]}};  // Looked up, not multiplied: the other way round.
  Shape a = base, b = base;
  a[1] = rank;
  b[0] = rank;
  return {a, b};
}

absl::Status CheckPair(const std::string& weight, const Pair& pair, const GgufHeader& base, const GgufTensor* of) {
  if (pair.a == nullptr) return Bad(fmt::format("weight {} has a .lora_b and no .lora_a", weight));
  if (pair.b == nullptr) return Bad(fmt::format("weight {} has a .lora_a and no .lora_b", weight));
  if (of == nullptr) return Bad(fmt::format("weight {} is none of the model's: the adapter was made for another one", weight));
  const Shape& shape = of->shape;
  if (shape.size() < 2 || shape.size() > 3)
    return Bad(fmt::format("weight {} of the model is {}: an adapter changes matrices alone", weight, Show(shape)));
  if (!IsAdapted(weight, base.architecture))
    return Bad(
        fmt::format("weight {} of a {} model is one that libllama uses without adapters; train without it", weight, base.architecture));
  if (of->type == kNvfp4) return Bad(fmt::format("weight {} of the model is in NVFP4, which libllama cannot adapt", weight));
  const bool tied =
      std::none_of(base.tensor_table.begin(), base.tensor_table.end(), [](const auto& t) { return t.name == "output.weight"; });
  if (weight == "token_embd.weight" && tied)
    return Bad("weight token_embd.weight is the model's output too, which libllama cannot adapt; train without it");
  const std::int64_t rank = pair.b->shape.front();
  const auto [a, b] = Wanted(weight, shape, rank);
  if (pair.a->shape == a && pair.b->shape == b) return absl::OkStatus();
  return Bad(
      fmt::format("weight {} of the model is {}, so at rank {} .lora_a must be {} and .lora_b {}; they are {} and {}: the adapter "
                  "was made for another model",
                  weight, Show(shape), rank, Show(a), Show(b), Show(pair.a->shape), Show(pair.b->shape)));
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

absl::StatusOr<AdapterFile> ReadAdapter(std::string_view file, const GgufHeader& base) {
  TG_ASSIGN(const GgufHeader header, ReadGgufForm(file));
  if (Holds(kTakesNone, base.architecture))
    return Bad(fmt::format("libllama uses most weights of {} models without adapters: these models take none", base.architecture));
  TG_RETURN_IF_ERROR(CheckText(header, "general.type", "adapter"));
  TG_RETURN_IF_ERROR(CheckText(header, "adapter.type", "lora"));
  TG_RETURN_IF_ERROR(CheckText(header, "general.architecture", base.architecture));
  AdapterFile out;
  TG_ASSIGN(out.alpha, AlphaOf(header));
  constexpr const char* kInvoked = "adapter.alora.invocation_tokens";
  if (header.array_lengths.contains(kInvoked) || header.numbers.contains(kInvoked) || header.strings.contains(kInvoked))
    return Bad("the adapter begins to act at certain tokens (aLoRA), which is not supported");
  TG_ASSIGN(const auto pairs, PairsOf(header));
  for (const auto& [weight, pair] : pairs) {
    const auto of =
        std::find_if(base.tensor_table.begin(), base.tensor_table.end(), [&name = weight](const auto& t) { return t.name == name; });
    TG_RETURN_IF_ERROR(CheckPair(weight, pair, base, of == base.tensor_table.end() ? nullptr : &*of));
    for (const GgufTensor* tensor : {pair.a, pair.b}) {
      TG_RETURN_IF_ERROR(CheckValues(file, *tensor));
      out.weights_bytes += static_cast<std::int64_t>(tensor->bytes);
    }
    ++out.pairs;
    out.rank = std::max(out.rank, pair.b->shape.front());
    const std::int64_t widest = std::max(pair.b->shape[1], pair.a->shape[1]);
    out.computing_bytes = std::max(out.computing_bytes, std::int64_t{2 * sizeof(float)} * kPassTokens * widest);
  }
  return out;
}

absl::StatusOr<AdapterInfo> CheckAdapterFile(const AdapterOptions& adapter, const GgufHeader& header, bool on_gpus,
                                             std::int64_t room_bytes) {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(adapter.file));
  const auto read = ReadAdapter(file.bytes(), header);
  if (!read.ok()) return base::Annotate(read.status(), adapter.file);
  AdapterInfo info{.name = adapter.name, .sha256 = base::Sha256(file.bytes()), .scale = adapter.scale, .rank = read->rank};
  TG_RETURN_IF_ERROR(CheckDigest(adapter, info.sha256));
  TG_RETURN_IF_ERROR(CheckAdapterFits(read->weights_bytes, read->computing_bytes, room_bytes));
  (on_gpus ? info.device_memory_bytes : info.memory_bytes) = read->weights_bytes + read->computing_bytes;
  return info;
}

}  // namespace tollgate::inference
