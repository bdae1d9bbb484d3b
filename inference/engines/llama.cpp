// How it works. The file's header is read by our own reader and its digest compared before libllama sees it; then the model is loaded, a
// context made, and what libllama made of it is read back and compared with what was asked for.
//
// Tested by tests/inference/model_test.cpp, tests/inference/tiny_model_test.cpp.
#include "inference/engines/llama.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <llama.h>

#include "base/encoding.h"
#include "inference/engines/llama_embedder.h"
#include "inference/engines/llama_engine.h"
#include "inference/gguf.h"
#include "inference/mapped_file.h"
#include "inference/memory_estimate.h"
#include "inference/pooling.h"

namespace tollgate::inference {
namespace {

constexpr int kThreadsBesideGpu = 4;

struct Checked {
  GgufHeader header;
  LlamaPlan plan;
};

absl::StatusOr<Checked> CheckFile(const ModelOptions& model, const std::string& backends_dir, std::int64_t memory_bytes,
                                  const std::function<bool()>& go_on, ModelInfo& info) {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(model.file));
  auto header = ReadGguf(file.bytes());
  if (!header.ok()) return base::Annotate(header.status(), model.file);
  TG_ASSIGN(info.sha256, file.Digest(go_on));
  if (!model.sha256) {
    return base::FailedPrecondition(fmt::format("{} is not registered by its digest; if you trust the file, set sha256: {}", model.file,
                                                base::HexEncode(base::View(info.sha256))));
  }
  if (info.sha256 != *model.sha256) {
    return base::FailedPrecondition(fmt::format("{} is not the file that was registered: its sha256 is {}, expected {}; fetch it again",
                                                model.file, base::HexEncode(base::View(info.sha256)),
                                                base::HexEncode(base::View(*model.sha256))));
  }
  if (model.context_tokens > header->context_tokens) {
    return base::FailedPrecondition(
        fmt::format("context_tokens is {}, but the model was trained for {}", model.context_tokens, header->context_tokens));
  }
  TG_ASSIGN(info.pooling, ResolvePooling(model.pooling, *header));
  info.architecture = header->architecture;
  info.vocab_tokens = header->vocab_tokens;
  info.size_bytes = static_cast<std::int64_t>(file.bytes().size());
  TG_ASSIGN(const std::vector<DeviceRoom> rooms, LlamaRooms(backends_dir));
  TG_ASSIGN(LlamaPlan plan, PlanLlama(model, *header, info.size_bytes, memory_bytes, rooms));
  info.memory_bytes = plan.host_bytes;
  info.device_memory_bytes = plan.device_bytes();
  return Checked{*std::move(header), std::move(plan)};
}

// Layers go where the plan says: libllama deals them out by proportion, and proportions that are counts of layers come out exact.
LlamaModel LoadWeights(const std::string& path, const LlamaPlan& plan, const std::function<bool()>& go_on) {
  const LlamaLoading loading;
  llama_model_params params = llama_model_default_params();
  params.check_tensors = true;
  if (go_on) {
    params.progress_callback = [](float /*progress*/, void* asked) { return (*static_cast<const std::function<bool()>*>(asked))(); };
    params.progress_callback_user_data = const_cast<std::function<bool()>*>(&go_on);
  }
  const std::vector<LlamaGpu> gpus = LlamaGpus();
  std::vector<ggml_backend_dev_t> devices;
  std::vector<float> split(llama_max_devices(), 0.0F);
  for (const DeviceShare& share : plan.shares) {
    split[devices.size()] = static_cast<float>(share.layers);
    devices.push_back(gpus[share.device].device);
  }
  if (devices.empty()) return LlamaModel(llama_model_load_from_file(path.c_str(), params));
  params.split_mode = devices.size() > 1 ? LLAMA_SPLIT_MODE_LAYER : LLAMA_SPLIT_MODE_NONE;
  params.n_gpu_layers = -1;
  params.main_gpu = 0;
  params.tensor_split = split.data();
  devices.push_back(nullptr);
  params.devices = devices.data();
  return LlamaModel(llama_model_load_from_file(path.c_str(), params));
}

// libllama gives each sequence whole blocks of 256 tokens.
std::int64_t CacheTokens(const ModelOptions& model) {
  const auto blocks = [](std::int64_t tokens) { return (tokens + 255) / 256 * 256; };
  return model.kv_tokens > 0 ? blocks(model.kv_tokens) : blocks(model.context_tokens) * model.slots;
}

LlamaContext MakeContext(llama_model* weights, const ModelOptions& model, int step_tokens_max) {
  const LlamaLoading loading;
  llama_context_params params = llama_context_default_params();
  const auto slots = static_cast<std::uint32_t>(model.slots);
  params.n_ctx = static_cast<std::uint32_t>(CacheTokens(model));
  params.n_batch = static_cast<std::uint32_t>(step_tokens_max);
  params.n_ubatch = std::min<std::uint32_t>(params.n_batch, 512);
  params.n_seq_max = slots;
  params.n_outputs_max = slots;
  params.n_outputs_max_per_seq = 1;
  params.kv_unified = model.kv_tokens > 0;
  if (model.kv == KvType::kQ8) {
    params.type_k = params.type_v = GGML_TYPE_Q8_0;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
  } else if (model.kv == KvType::kF32) {
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  }
  params.no_perf = true;
  return LlamaContext(llama_init_from_model(weights, params));
}

// Where cells are shared all logits are proof that they are finite; how strict answers are made depends on nothing that may be off.
bool DeviceCuts(const ModelOptions& model, const LlamaPlan& plan) {
  if (model.kv_tokens > 0 || model.strict) return false;
  return model.device_sampling == DeviceSampling::kOn || (model.device_sampling == DeviceSampling::kAuto && !plan.shares.empty());
}

// A model that is on GPUs leaves looking up its tokens' embeddings to the processor: a few threads do, and spin beside nobody.
int Threads(const ModelOptions& model, const LlamaPlan& plan) {
  if (model.threads > 0) return model.threads;
  const int spare = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1);
  return plan.shares.empty() ? spare : std::min(spare, kThreadsBesideGpu);
}

absl::StatusOr<LlamaModel> Weights(const ModelOptions& model, const LlamaPlan& plan, const std::function<bool()>& go_on) {
  LlamaModel weights = LoadWeights(model.file, plan, go_on);
  if (go_on && !go_on()) return BrokenOff();
  if (weights == nullptr) return base::FailedPrecondition(fmt::format("libllama cannot load {}; its lines above say why", model.file));
  return weights;
}

absl::StatusOr<std::unique_ptr<Engine>> Load(const ModelOptions& model, const std::function<bool()>& go_on, ModelInfo info,
                                             ChatFormat format, Checked checked) {
  const LlamaPlan& plan = checked.plan;
  TG_ASSIGN(LlamaModel weights, Weights(model, plan, go_on));
  if (llama_model_has_encoder(weights.get()) || llama_model_is_diffusion(weights.get())) {
    return base::FailedPrecondition(fmt::format("{} holds no model that continues text", model.file));
  }
  if (static_cast<std::size_t>(model.slots) > llama_max_parallel_sequences()) {
    return base::InvalidArgument(
        fmt::format("slots is {}; libllama runs at most {} sequences", model.slots, llama_max_parallel_sequences()));
  }
  const int step_tokens_max =
      static_cast<int>(std::min<std::int64_t>(std::max(model.step_tokens_max, model.slots + 16), CacheTokens(model)));
  LlamaContext context = MakeContext(weights.get(), model, step_tokens_max);
  if (context == nullptr) {
    return base::FailedPrecondition(fmt::format("libllama made no context for {} slots of {} tokens{}; its lines above say why",
                                                model.slots, model.context_tokens,
                                                model.kv == KvType::kQ8 ? " in 8-bit blocks, which not every model's heads fit" : ""));
  }
  const llama_context* made = context.get();
  if (llama_n_ctx_seq(made) < model.context_tokens || static_cast<int>(llama_n_seq_max(made)) < model.slots ||
      static_cast<int>(llama_n_batch(made)) < step_tokens_max) {
    return base::FailedPrecondition(fmt::format("libllama made a smaller context than asked for: {} slots of {} tokens, {} a step",
                                                llama_n_seq_max(made), llama_n_ctx_seq(made), llama_n_batch(made)));
  }
  TG_ASSIGN(LlamaVocab vocab, LlamaVocab::Make(weights.get(), std::move(format)));
  info.vocab_tokens = vocab.tokens();
  info.grammars = info.logprobs = true;
  const int threads = Threads(model, plan);
  if (model.strict)
    info.strict = {LlamaVersion(), LlamaProcessor(), threads, step_tokens_max, model.context_tokens, std::string(Name(model.kv))};
  vocab.format().Describe(info);
  auto engine =
      std::make_unique<LlamaEngine>(std::move(info), std::move(checked.header), std::move(weights), std::move(context), std::move(vocab),
                                    step_tokens_max, PrefixBytesMax(model), DeviceCuts(model, plan), model.in_own_process, plan.shares);
  if (model.kv_tokens > 0 && !engine->Info().rewinds) {
    return base::FailedPrecondition(
        "what this model keeps of a context cannot be told apart by token (it is recurrent, or forgets old tokens), so that its slots "
        "share no "
        "cells: leave kv_tokens out");
  }
  if (go_on && !go_on()) return BrokenOff();
  TG_RETURN_IF_ERROR(engine->Start(threads));
  return engine;
}

}  // namespace

std::int64_t LlamaPlan::device_bytes() const {
  std::int64_t bytes = 0;
  for (const DeviceShare& share : shares) bytes += share.bytes;
  return bytes;
}

absl::StatusOr<std::vector<DeviceRoom>> LlamaRooms(const std::string& backends_dir) {
  TG_RETURN_IF_ERROR(StartLlama(backends_dir));
  std::vector<DeviceRoom> rooms;
  for (LlamaGpu& gpu : LlamaGpus()) rooms.push_back(std::move(gpu.room));
  return rooms;
}

absl::StatusOr<LlamaPlan> PlanLlama(const ModelOptions& model, const GgufHeader& header, std::int64_t file_bytes, std::int64_t memory_bytes,
                                    std::span<const DeviceRoom> rooms) {
  const MemoryNeed need = EstimateMemory(header, file_bytes, model);
  if (rooms.empty()) {
    TG_RETURN_IF_ERROR(CheckFits(need, model, memory_bytes));
    return LlamaPlan{need.total(), {}};
  }
  const SplitNeed split = SplitOverDevices(need, header);
  TG_RETURN_IF_ERROR(CheckFits(split.host, model, memory_bytes));
  TG_ASSIGN(std::vector<DeviceShare> shares, Place(split.devices, rooms));
  return LlamaPlan{split.host.total(), std::move(shares)};
}

absl::StatusOr<std::unique_ptr<Engine>> MakeLlamaEngine(const ModelOptions& model, const std::string& backends_dir,
                                                        std::int64_t memory_bytes, const std::function<bool()>& go_on) {
  ModelInfo info;
  info.name = model.name;
  info.engine = "llama";
  info.licence = model.licence;
  info.context_tokens = model.context_tokens;
  info.slots = model.slots;
  info.kv_tokens = model.kv_tokens;
  TG_ASSIGN(Checked checked, CheckFile(model, backends_dir, memory_bytes, go_on, info));
  info.engine_build = LlamaBuild();
  try {
    if (info.pooling != Pooling::kNone) {
      TG_ASSIGN(LlamaModel weights, Weights(model, checked.plan, go_on));
      return MakeLlamaEmbedder(model, std::move(info), std::move(weights), Threads(model, checked.plan));
    }
    TG_ASSIGN(ChatFormat format, ChatFormat::Choose(model.chat_template, checked.header.chat_template));
    info.chat_template = format.name();
    return Load(model, go_on, std::move(info), std::move(format), std::move(checked));
  } catch (const std::exception& e) {
    return base::FailedPrecondition(fmt::format("libllama cannot load {}: {}", model.file, e.what()));
  }
}

}  // namespace tollgate::inference
