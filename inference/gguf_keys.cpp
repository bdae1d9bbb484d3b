// How it works. Tables: what libllama divides by, allocates by or asserts on must be there and in range. Then what its sources ask of
// several keys together, of every architecture (load_hparams) and of some (their graphs): the lists below follow src/models. What only
// computing meets is among it, because there nothing catches what libllama throws.
//
// Tested by tests/inference/gguf_keys_test.cpp, tests/inference/gguf_survival_test.cpp.
#include "inference/gguf_keys.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <string>

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

namespace tollgate::inference {
namespace {

// Whose graphs compute only where keys and values have heads of one size,
constexpr std::string_view kOneHeadSize[] = {
    "afmoe",          "bailingmoe2", "bert",          "bitnet",         "bloom",      "chatglm",
    "cohere2",        "command-r",   "deepseek2-ocr", "eurobert",       "gemma4",     "glm4",
    "glm4moe",        "gpt2",        "gptneox",       "granitehybrid",  "jais",       "jina-bert-v2",
    "jina-bert-v3",   "laguna",      "maple",         "minimax-01",     "minimax-m2", "minimax-m3",
    "modern-bert",    "mpt",         "muse-glimmer",  "nanbeige",       "nemotron",   "nemotron_h",
    "nemotron_h_moe", "neo-bert",    "nomic-bert",    "nomic-bert-moe", "openelm",    "phi2",
    "phi3",           "phimoe",      "qwen",          "qwen35",         "qwen35moe",  "qwen3next",
    "qwen4exp",       "refact",      "spark2_5",      "stablelm",       "starcoder",  "t5",
    "t5encoder"};
// and where all of a head is turned by position as well.
constexpr std::string_view kWholeHeadTurns[] = {
    "apertus",    "arcee",         "arctic",       "baichuan",   "chameleon",   "codeshell",      "cogvlm",        "cohere2moe",
    "dbrx",       "deci",          "deepseek",     "dots1",      "dream",       "ernie4_5",       "ernie4_5-moe",  "exaone",
    "exaone-moe", "exaone4",       "falcon",       "granite",    "granite_swa", "granitemoe",     "graniteswitch", "grok",
    "grovemoe",   "hunyuan-dense", "hunyuan-moe",  "hunyuan_vl", "hy_v3",       "internlm2",      "jais2",         "llada",
    "llada-moe",  "llama",         "llama-embed",  "llama4",     "maincoder",   "mellum",         "minicpm",       "mistral3",
    "olmo",       "olmo2",         "olmoe",        "orion",      "paddleocr",   "pangu-embedded", "plamo",         "pockettts",
    "qwen2",      "qwen2moe",      "qwen2vl",      "qwen3",      "qwen3moe",    "qwen3tts",       "qwen3vl",       "qwen3vlmoe",
    "rnd1",       "seed_oss",      "smallthinker", "smollm3",    "starcoder2",  "talkie",         "xverse"};
// Whose layers may differ in heads. The others take all layers for the first.
constexpr std::string_view kHeadsByLayer[] = {"bailingmoe3", "deci",          "dots3note",      "gemma4",        "glm5-next", "granite",
                                              "granite_swa", "granitehybrid", "granitemoe",     "graniteswitch", "jamba",     "kimi-k3",
                                              "kimi-linear", "laguna",        "lfm2",           "lfm2moe",       "mimo2",     "minicpm",
                                              "nanbeige",    "nemotron_h",    "nemotron_h_moe", "openelm",       "plamo2",    "plamo3",
                                              "rwkv6",       "rwkv6qwen2",    "spark2_5",       "step35"};
// Whose graphs have latent attention only, and those that have it or not.
constexpr std::string_view kLatent[] = {"deepseek32", "dots3note", "glm-dsa", "hy_v4"};
constexpr std::string_view kMayBeLatent[] = {"deepseek2", "mistral4"};
// Of these, what is kept is one head, of what is compressed and what is turned; or all heads, where it is not latent.
constexpr std::string_view kKeptLatent[] = {"deepseek2", "deepseek32", "glm-dsa", "mistral4"};
// That are nothing without experts.
constexpr std::string_view kOfExperts[] = {"bailingmoe2", "glm4moe",   "grovemoe", "lfm2moe",
                                           "llada-moe",   "qwen35moe", "qwen4exp", "smallthinker"};
// Whose positions have several parts.
constexpr std::string_view kManyPositions[] = {"qwen2vl", "qwen35", "qwen35moe", "qwen3vl", "qwen3vlmoe", "qwen4exp"};
// No models of their own: they draft for another, or hold no text.
constexpr std::string_view kNoModels[] = {"clip", "dflash", "eagle3", "gemma4-assistant", "wavtokenizer-dec"};

constexpr std::int64_t kExpertsMax = 1024;

// A number that must be there, alone or (where `layers` says so) as an array with one value a layer.
struct Wanted {
  std::string_view key;  // After "<architecture>.".
  std::int64_t least;
  std::int64_t most;
  bool array_allowed = false;
};
constexpr Wanted kForAll[] = {
    {"context_length", 16, 1LL << 31},         {"embedding_length", 8, 1 << 20},           {"block_count", 1, 512},
    {"feed_forward_length", 1, 1 << 24, true}, {"attention.head_count", 1, 1 << 16, true},
};
// libllama ends the process where one of these is missing.
constexpr Wanted kForDeepseek2[] = {
    {"attention.head_count_kv", 1, 1 << 16, true},
    {"attention.key_length", 1, 1 << 20},
    {"rope.dimension_count", 1, 1 << 20},
    {"expert_count", 1, kExpertsMax},
    {"expert_used_count", 1, 1 << 16},
};
// Where they are there, they must be in range.
constexpr Wanted kWhereGiven[] = {
    {"attention.head_count_kv", 1, 1 << 16, true},
    {"attention.key_length", 1, 1 << 20},
    {"attention.value_length", 1, 1 << 20},
    {"rope.dimension_count", 1, 1 << 20},
    {"vocab_size", 1, 1 << 24},
    {"expert_count", 0, kExpertsMax},
    {"expert_gating_func", 0, 4},
    {"pooling_type", 0, 4},
    {"full_attention_interval", 1, 1 << 16},
    {"wkv.head_size", 1, 1 << 20},
    {"ssm.time_step_rank", 1, 1 << 20},
    {"attention.output_group_count", 1, 1 << 16},
    {"attention.temperature_length", 1, 1LL << 31},
};

template <typename Names>
bool Holds(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

template <typename... Args>
absl::Status Bad(fmt::format_string<Args...> what, Args&&... args) {
  return base::InvalidArgument("the GGUF file " + fmt::format(what, std::forward<Args>(args)...));
}

// What the file says of a layer: a list's element, or the number that stands for all.
std::int64_t Of(const GgufHeader& header, std::string_view key, std::int64_t otherwise, std::size_t layer = 0) {
  const std::string name = fmt::format("{}.{}", header.architecture, key);
  if (const auto list = header.lists.find(name); list != header.lists.end())
    return layer < list->second.size() ? list->second[layer] : otherwise;
  const auto number = header.numbers.find(name);
  return number == header.numbers.end() ? otherwise : number->second;
}

absl::Status CheckNumber(const GgufHeader& header, const Wanted& wanted, bool required) {
  const std::string key = fmt::format("{}.{}", header.architecture, wanted.key);
  const auto number = header.numbers.find(key);
  if (number != header.numbers.end()) {
    if (number->second >= wanted.least && number->second <= wanted.most) return absl::OkStatus();
    return base::InvalidArgument(
        fmt::format("the GGUF file says {} = {}; {} to {} is possible", key, number->second, wanted.least, wanted.most));
  }
  if (const auto list = header.lists.find(key); wanted.array_allowed && list != header.lists.end()) {
    for (const std::int64_t value : list->second) {
      if (value < 0 || value > wanted.most) return Bad("says {} among {}; 0 to {} is possible", value, key, wanted.most);
    }
  }
  if (wanted.array_allowed && header.array_lengths.contains(key)) return absl::OkStatus();
  if (!required) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("the GGUF file lacks the number {}; convert the model again", key));
}

// Floats that must be in range where they are there: libllama ends the process on a negative epsilon.
struct WantedReal {
  std::string_view key;  // After "<architecture>.".
  double least;
  double most;
};
constexpr WantedReal kReals[] = {
    {"attention.layer_norm_rms_epsilon", 0, 1},
    {"attention.layer_norm_epsilon", 0, 1},
    {"attention.group_norm_epsilon", 0, 1},
    {"rope.freq_base", 1e-3, 1e12},
    {"rope.scaling.factor", 0, 1e6},
};

absl::Status CheckReal(const GgufHeader& header, const WantedReal& wanted) {
  const std::string key = fmt::format("{}.{}", header.architecture, wanted.key);
  const auto real = header.reals.find(key);
  if (real == header.reals.end() || (real->second >= wanted.least && real->second <= wanted.most)) return absl::OkStatus();
  return base::InvalidArgument(
      fmt::format("the GGUF file says {} = {:g}; {:g} to {:g} is possible", key, real->second, wanted.least, wanted.most));
}

absl::Status CheckTokenizer(const GgufHeader& header) {
  const auto tokens = header.array_lengths.find("tokenizer.ggml.tokens");
  if (!header.strings.contains("tokenizer.ggml.model") || tokens == header.array_lengths.end()) {
    return base::InvalidArgument("the GGUF file has no tokenizer (tokenizer.ggml.model, tokenizer.ggml.tokens); convert the model again");
  }
  if (tokens->second < 1 || tokens->second > (1 << 24))
    return base::InvalidArgument(fmt::format("the GGUF file's tokenizer has {} tokens", tokens->second));
  for (const char* key : {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
    const auto other = header.array_lengths.find(key);
    if (other != header.array_lengths.end() && other->second != tokens->second) {
      return base::InvalidArgument(fmt::format("the GGUF file has {} tokens but {} entries in {}", tokens->second, other->second, key));
    }
  }
  for (const auto& [key, value] : header.numbers) {
    if (!key.starts_with("tokenizer.ggml.") || !key.ends_with("_token_id")) continue;
    if (value < 0 || value >= tokens->second)
      return base::InvalidArgument(fmt::format("the GGUF file says {} = {}, which is no token", key, value));
  }
  return absl::OkStatus();
}

// libllama takes an empty token for one of this name, and a token for what stands before its first zero byte.
absl::Status CheckTokens(std::span<const std::string_view> tokens) {
  absl::flat_hash_map<std::string_view, std::size_t> seen;
  seen.reserve(tokens.size());
  std::deque<std::string> named;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::string_view text = tokens[i].substr(0, tokens[i].find('\0'));
    if (text.empty()) text = named.emplace_back(fmt::format("[EMPTY_{}]", i));
    const auto [known, added] = seen.emplace(text, i);
    if (!added) return Bad("has the same text for the tokens {} and {}; convert the model again", known->second, i);
  }
  return absl::OkStatus();
}

absl::Status CheckExperts(const GgufHeader& header) {
  const std::string& arch = header.architecture;
  std::int64_t count = Of(header, "expert_count", 0);
  std::int64_t used = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(header.layers); ++i) used = std::max(used, Of(header, "expert_used_count", 0, i));
  if ((arch == "hunyuan_vl" || arch == "hunyuan-dense") && count <= 1) count = used = 0;
  const std::int64_t groups = Of(header, "expert_group_count", 0), groups_used = Of(header, "expert_group_used_count", 0);
  if (used > count) return Bad("says {0}.expert_used_count = {1} of {2} experts", arch, used, count);
  if (count == 0 && Holds(kOfExperts, arch)) return Bad("says nothing of experts, which {} consists of", arch);
  if (count == 0 && groups != 0) return Bad("says {}.expert_group_count = {}, but has no experts", arch, groups);
  if (count == 0) return absl::OkStatus();
  const bool by_layer = arch == "nemotron_h_moe";
  if (used < 1 || (!by_layer && Of(header, "expert_used_count", 0) < 1))
    return Bad("has {} experts and uses none ({}.expert_used_count)", count, arch);
  for (std::size_t i = 0; by_layer && i < static_cast<std::size_t>(header.layers); ++i) {
    if (Of(header, "feed_forward_length", 0, i) > 0 && Of(header, "expert_used_count", 0, i) == 0 &&
        Of(header, "expert_feed_forward_length", 0, i) == 0)
      return Bad("does not say how wide the experts of layer {} are", i);
  }
  if (groups >= count) return Bad("says {}.expert_group_count = {} of {} experts", arch, groups, count);
  if (groups > 1 && (count % groups != 0 || groups_used < 1 || groups_used >= groups))
    return Bad("has {} experts in {} groups, of which it uses {} ({}.expert_group_used_count)", count, groups, groups_used, arch);
  return absl::OkStatus();
}

absl::Status CheckHeads(const GgufHeader& header) {
  const std::string& arch = header.architecture;
  for (std::size_t i = 0; i < static_cast<std::size_t>(header.layers); ++i) {
    const std::int64_t heads = Of(header, "attention.head_count", 0, i), shared = Of(header, "attention.head_count_kv", heads, i);
    if (shared > 0 && heads % shared != 0) return Bad("says that {} heads share {} in layer {}", heads, shared, i);
    const bool same = heads == Of(header, "attention.head_count", 0) && shared == Of(header, "attention.head_count_kv", heads);
    if (!Holds(kHeadsByLayer, arch) && (heads < 1 || shared < 1 || !same))
      return Bad("has other heads in layer {} ({}.attention.head_count), which {} cannot", i, arch, arch);
  }
  const std::int64_t heads = Of(header, "attention.head_count", 0);
  if (heads == 0) return absl::OkStatus();  // The sizes are all 0 then.
  std::int64_t key = Of(header, "embedding_length", 0) / heads, value = key, turned = -1;
  for (const std::string_view of : {"", "_swa"}) {
    key = Of(header, fmt::format("attention.key_length{}", of), key);
    value = Of(header, fmt::format("attention.value_length{}", of), value);
    turned = Of(header, fmt::format("rope.dimension_count{}", of), turned < 0 ? key : turned);
    const bool whole = Holds(kWholeHeadTurns, arch);
    if (key != value && (whole || Holds(kOneHeadSize, arch)))
      return Bad("says {}.attention.key_length{} = {} and value_length{} = {}; they must be the same", arch, of, key, of, value);
    if (turned > key || turned % 2 != 0 || (whole && turned != key))
      return Bad("says {}.rope.dimension_count{} = {}, which does not fit heads of {}", arch, of, turned, key);
  }
  return absl::OkStatus();
}

absl::Status CheckLatent(const GgufHeader& header) {
  const std::string& arch = header.architecture;
  const bool always = Holds(kLatent, arch);
  if (!always && !Holds(kMayBeLatent, arch)) return absl::OkStatus();
  const std::int64_t key = Of(header, "attention.key_length_mla", 0), value = Of(header, "attention.value_length_mla", 0);
  const bool latent = key > 0 && value > 0;
  if (always && !latent) return Bad("lacks {0}.attention.key_length_mla and value_length_mla; convert the model again", arch);
  const std::int64_t size = latent ? key : Of(header, "attention.key_length", 0), turned = Of(header, "rope.dimension_count", size);
  if (turned >= size) return Bad("says {}.rope.dimension_count = {}, which leaves nothing of keys of {}", arch, turned, size);
  if (!Holds(kKeptLatent, arch)) return absl::OkStatus();
  const std::int64_t heads = latent ? 1 : Of(header, "attention.head_count", 0), rank = Of(header, "attention.kv_lora_rank", 0);
  if (const std::int64_t kept = Of(header, "attention.head_count_kv", heads); kept != heads)
    return Bad("says {}.attention.head_count_kv = {} where attention keeps {}", arch, kept, heads);
  if (const std::int64_t kept = Of(header, "attention.key_length", 0); latent && kept != rank + turned)
    return Bad("says {}.attention.key_length = {} where it keeps {} and {}", arch, kept, rank, turned);
  return absl::OkStatus();
}

// libllama would open the others by itself, by names that it makes of this one's.
absl::Status CheckWhole(const GgufHeader& header) {
  const auto count = header.numbers.find("split.count");
  const bool told = count != header.numbers.end() || header.strings.contains("split.count") || header.reals.contains("split.count") ||
                    header.array_lengths.contains("split.count");
  if (!told || (count != header.numbers.end() && count->second == 1)) return absl::OkStatus();
  return Bad("is one of the files of a split model: make one of them with `llama-gguf-split --merge`");
}

absl::Status CheckTogether(const GgufHeader& header) {
  const std::string& arch = header.architecture;
  if (Holds(kNoModels, arch)) return Bad("holds no model that works alone ({})", arch);
  if (const std::int64_t ahead = Of(header, "nextn_predict_layers", 0); ahead < 0 || ahead >= header.layers)
    return Bad("says {}.nextn_predict_layers = {} of {} layers", arch, ahead, header.layers);
  if (const auto scaling = header.strings.find(arch + ".rope.scaling.type"); scaling != header.strings.end()) {
    constexpr std::string_view kScalings[] = {"none", "linear", "yarn", "longrope"};
    if (!Holds(kScalings, scaling->second)) return Bad("has an unknown {}.rope.scaling.type", arch);
  }
  if (arch != "plamo2" && Of(header, "ssm.group_count", 1) < 1) return Bad("says {}.ssm.group_count = 0", arch);
  if (Holds(kManyPositions, arch)) {
    std::int64_t parts = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::int64_t part = Of(header, "rope.dimension_sections", 1, i);
      if (part < 0) return Bad("says {} among {}.rope.dimension_sections", part, arch);
      parts += i < 3 ? part : 0;
    }
    if (parts == 0) return Bad("says nothing but 0 in {}.rope.dimension_sections", arch);
  }
  TG_RETURN_IF_ERROR(CheckExperts(header));
  TG_RETURN_IF_ERROR(CheckHeads(header));
  return CheckLatent(header);
}

}  // namespace

absl::Status CheckKeys(GgufHeader& header, std::span<const std::string_view> tokens) {
  const auto architecture = header.strings.find("general.architecture");
  if (architecture == header.strings.end() || architecture->second.empty())
    return base::InvalidArgument("the GGUF file lacks general.architecture");
  header.architecture = architecture->second;
  for (const Wanted& wanted : kForAll) TG_RETURN_IF_ERROR(CheckNumber(header, wanted, true));
  for (const Wanted& wanted : kWhereGiven) TG_RETURN_IF_ERROR(CheckNumber(header, wanted, false));
  for (const WantedReal& wanted : kReals) TG_RETURN_IF_ERROR(CheckReal(header, wanted));
  if (header.architecture == "deepseek2") {
    for (const Wanted& wanted : kForDeepseek2) TG_RETURN_IF_ERROR(CheckNumber(header, wanted, true));
  }
  TG_RETURN_IF_ERROR(CheckTokenizer(header));
  TG_RETURN_IF_ERROR(CheckTokens(tokens));
  header.context_tokens = header.numbers.at(header.architecture + ".context_length");
  header.layers = header.numbers.at(header.architecture + ".block_count");
  header.vocab_tokens = header.array_lengths.at("tokenizer.ggml.tokens");
  TG_RETURN_IF_ERROR(CheckTogether(header));
  if (const auto name = header.strings.find("general.name"); name != header.strings.end()) header.name = name->second;
  if (const auto t = header.strings.find("tokenizer.chat_template"); t != header.strings.end()) header.chat_template = t->second;
  if (header.tensors == 0)
    return base::InvalidArgument("the GGUF file holds no tensors: it is a vocabulary or a part of a split model, not a model");
  return CheckWhole(header);
}

}  // namespace tollgate::inference
