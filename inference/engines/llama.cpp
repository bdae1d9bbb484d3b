// How it works. A context with split KV: slot i is libllama's sequence i and owns its part of the cache, so a sequence that was let in
// never runs out. A step is one batch in the order of slots, which libllama computes in the fewest passes; only the last token of a
// finished prompt and each decoded token ask for logits, and our own sampler reads them where they lie.
//
// The token that was sampled last is not in the cache: it is fed by the next step. So after k output tokens the cache holds the prompt and
// k - 1 of them, and Rewind only has to cut it.
//
// Tested by tests/inference/model_test.cpp.
#include "inference/engines/llama.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <llama.h>

#include "base/encoding.h"
#include "inference/engines/llama_library.h"
#include "inference/engines/llama_vocab.h"
#include "inference/gguf.h"
#include "inference/mapped_file.h"
#include "inference/sampler.h"

namespace tollgate::inference {
namespace {

struct Batch {
  explicit Batch(int tokens) : raw(llama_batch_init(tokens, 0, 1)) {}
  ~Batch() { llama_batch_free(raw); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  void Add(std::int32_t token, std::int64_t position, int slot, bool output) {
    const int i = raw.n_tokens++;
    raw.token[i] = token;
    raw.pos[i] = static_cast<llama_pos>(position);
    raw.n_seq_id[i] = 1;
    raw.seq_id[i][0] = slot;
    raw.logits[i] = output ? 1 : 0;
  }

  llama_batch raw;
};

struct Slot {
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> output;
  std::int64_t cached = 0;  // Tokens in the KV cache.
  Sampler sampler;
  std::int32_t TokenAt(std::int64_t position) const {
    const auto size = static_cast<std::int64_t>(prompt.size());
    return position < size ? prompt[position] : output[position - size];
  }
};

class LlamaEngine final : public Engine {
 public:
  LlamaEngine(ModelInfo info, LlamaModel model, LlamaContext context, LlamaVocab vocab, int step_tokens_max)
      : info_(std::move(info)),
        model_(std::move(model)),
        context_(std::move(context)),
        vocab_(std::move(vocab)),
        batch_(step_tokens_max),
        slots_(static_cast<std::size_t>(info_.slots)),
        step_tokens_max_(step_tokens_max) {
    llama_set_abort_callback(
        context_.get(), [](void* self) { return static_cast<LlamaEngine*>(self)->interrupted(); }, this);
  }

  ~LlamaEngine() override {
    if (interrupted()) LlamaInterrupted(false);
  }

  // Gives the context its threads and puts one token through the model: that pages the weights in, and fails here rather than on the first
  // request.
  absl::Status Start(int threads) {
    llama_set_n_threads(context_.get(), threads, threads);
    threads_ = LlamaThreads::Attach(context_.get(), threads);
    batch_.Add(0, 0, 0, true);
    TG_RETURN_IF_ERROR(Decode());
    llama_memory_clear(llama_get_memory(context_.get()), true);
    return absl::OkStatus();
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return step_tokens_max_; }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return vocab_.Render(turns); }

  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override {
    const auto prompt = sequence.prompt_tokens;
    slots_[slot].emplace(Slot{{prompt.begin(), prompt.end()}, {}, 0, Sampler(sequence.sampling, prompt)});
    return EngineOpened{};
  }

  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override;
  absl::Status Rewind(int slot, std::int64_t output_tokens, std::span<const std::int32_t> banned) override;

  void Close(int slot) override {
    llama_memory_seq_rm(llama_get_memory(context_.get()), slot, -1, -1);
    slots_[slot].reset();
  }

  void Interrupt() override {
    if (!interrupted_.exchange(true, std::memory_order_acq_rel)) LlamaInterrupted(true);
  }

 private:
  struct Wanted {
    int slot;
    int row;  // Index in the batch whose logits decide.
  };

  bool interrupted() const { return interrupted_.load(std::memory_order_acquire); }
  absl::Status Fill(std::span<const EngineWork> work);
  absl::Status Decode();
  void Sample(const Wanted& wanted, std::vector<EngineOutput>& outputs);

  ModelInfo info_;
  LlamaModel model_;
  LlamaContext context_;
  std::unique_ptr<LlamaThreads> threads_;
  LlamaVocab vocab_;
  Batch batch_;
  std::vector<std::optional<Slot>> slots_;
  std::vector<EngineWork> ordered_;
  std::vector<Wanted> wanted_;
  SamplerScratch scratch_;
  std::int64_t step_tokens_max_;
  std::atomic<bool> interrupted_{false};
};

absl::Status LlamaEngine::Fill(std::span<const EngineWork> work) {
  ordered_.assign(work.begin(), work.end());
  std::sort(ordered_.begin(), ordered_.end(), [](const EngineWork& a, const EngineWork& b) { return a.slot < b.slot; });
  batch_.raw.n_tokens = 0;
  wanted_.clear();
  for (const EngineWork& item : ordered_) {
    if (item.slot < 0 || item.slot >= info_.slots || !slots_[item.slot])
      return base::Internal(fmt::format("slot {} is not open", item.slot));
    const Slot& slot = *slots_[item.slot];
    const std::int64_t known = static_cast<std::int64_t>(slot.prompt.size() + slot.output.size());
    const std::int64_t tokens = std::max<std::int64_t>(item.prompt_tokens, 1);
    if (slot.cached + tokens > known || slot.cached + tokens > info_.context_tokens || batch_.raw.n_tokens + tokens > step_tokens_max_) {
      return base::Internal(fmt::format("slot {} was given {} tokens of work it cannot do", item.slot, tokens));
    }
    for (std::int64_t i = slot.cached; i < slot.cached + tokens; ++i) batch_.Add(slot.TokenAt(i), i, item.slot, i + 1 == known);
    if (slot.cached + tokens == known) wanted_.push_back({item.slot, batch_.raw.n_tokens - 1});
  }
  return absl::OkStatus();
}

absl::Status LlamaEngine::Decode() {
  int code = 0;
  try {
    code = llama_decode(context_.get(), batch_.raw);
    llama_synchronize(context_.get());
  } catch (const std::exception& e) {
    return base::Internal(fmt::format("the engine failed: {}", e.what()));
  }
  switch (code) {
    case 0: return absl::OkStatus();
    case 1: return base::Internal("the engine found no room in its cache, which is guaranteed: a defect");
    case 2: return base::Unavailable("the engine was interrupted");
    case -1: return base::Internal("the engine refused the batch");
    default: return base::Internal(fmt::format("the engine failed with code {}", code));
  }
}

absl::Status LlamaEngine::Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) {
  TG_RETURN_IF_ERROR(Fill(work));
  TG_RETURN_IF_ERROR(Decode());
  for (const EngineWork& item : ordered_) slots_[item.slot]->cached += std::max<std::int64_t>(item.prompt_tokens, 1);
  for (const Wanted& wanted : wanted_) Sample(wanted, outputs);
  return absl::OkStatus();
}

void LlamaEngine::Sample(const Wanted& wanted, std::vector<EngineOutput>& outputs) {
  Slot& slot = *slots_[wanted.slot];
  EngineOutput& output = outputs.emplace_back();
  output.slot = wanted.slot;
  const float* row = llama_get_logits_ith(context_.get(), wanted.row);
  if (row == nullptr) {
    output.status = base::Internal("the engine gave no logits");
    return;
  }
  const std::span<const float> logits(row, static_cast<std::size_t>(vocab_.tokens()));
  const auto token = slot.sampler.Sample(logits, static_cast<std::int64_t>(slot.output.size()), scratch_);
  if (!token.ok()) {
    output.status = token.status();
    return;
  }
  slot.sampler.Accept(*token);
  slot.output.push_back(*token);
  output.token = *token;
  output.bytes = vocab_.Bytes(*token);
  output.ends = vocab_.EndsTurn(*token);
  if (output.ends) output.bytes = {};
}

absl::Status LlamaEngine::Rewind(int index, std::int64_t output_tokens, std::span<const std::int32_t> banned) {
  Slot& slot = *slots_[index];
  const auto have = static_cast<std::int64_t>(slot.output.size());
  if (output_tokens < 0 || output_tokens > have) return base::InvalidArgument("there are not so many output tokens to rewind to");
  const std::int64_t cached = std::min(slot.cached, static_cast<std::int64_t>(slot.prompt.size()) + output_tokens - 1);
  if (!llama_memory_seq_rm(llama_get_memory(context_.get()), index, static_cast<llama_pos>(cached), -1)) {
    return base::Unimplemented("this model's memory cannot be taken back in part");
  }
  for (std::int64_t i = have; i > output_tokens; --i) {
    slot.sampler.TakeBack(slot.output.back());
    slot.output.pop_back();
  }
  slot.cached = cached;
  slot.sampler.Ban(banned);
  return absl::OkStatus();
}

absl::Status CheckFile(const ModelOptions& model, ModelInfo& info, std::string& chat_template) {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(model.file));
  const auto header = ReadGguf(file.bytes());
  if (!header.ok()) return base::Annotate(header.status(), model.file);
  info.sha256 = base::Sha256(file.bytes());
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
  info.architecture = header->architecture;
  info.vocab_tokens = header->vocab_tokens;
  info.size_bytes = static_cast<std::int64_t>(file.bytes().size());
  chat_template = header->chat_template;
  return absl::OkStatus();
}

LlamaModel LoadWeights(const std::string& path) {
  llama_model_params params = llama_model_default_params();
  params.check_tensors = true;
  return LlamaModel(llama_model_load_from_file(path.c_str(), params));
}

// libllama gives each sequence whole blocks of 256 tokens.
std::int64_t CacheTokens(const ModelOptions& model) { return (model.context_tokens + 255) / 256 * 256 * model.slots; }

LlamaContext MakeContext(llama_model* weights, const ModelOptions& model, int step_tokens_max) {
  llama_context_params params = llama_context_default_params();
  const auto slots = static_cast<std::uint32_t>(model.slots);
  params.n_ctx = static_cast<std::uint32_t>(CacheTokens(model));
  params.n_batch = static_cast<std::uint32_t>(step_tokens_max);
  params.n_ubatch = std::min<std::uint32_t>(params.n_batch, 512);
  params.n_seq_max = slots;
  params.n_outputs_max = slots;
  params.kv_unified = false;
  params.no_perf = true;
  return LlamaContext(llama_init_from_model(weights, params));
}

absl::StatusOr<std::unique_ptr<Engine>> Load(const ModelOptions& model, ModelInfo info, ChatFormat format) {
  LlamaModel weights = LoadWeights(model.file);
  if (weights == nullptr) return base::FailedPrecondition(fmt::format("libllama cannot load {}; its lines above say why", model.file));
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
    return base::FailedPrecondition(
        fmt::format("no memory for {} slots of {} tokens: lower slots or context_tokens", model.slots, model.context_tokens));
  }
  const llama_context* made = context.get();
  if (llama_n_ctx_seq(made) < model.context_tokens || static_cast<int>(llama_n_seq_max(made)) < model.slots ||
      static_cast<int>(llama_n_batch(made)) < step_tokens_max) {
    return base::FailedPrecondition(fmt::format("libllama made a smaller context than asked for: {} slots of {} tokens, {} a step",
                                                llama_n_seq_max(made), llama_n_ctx_seq(made), llama_n_batch(made)));
  }
  TG_ASSIGN(LlamaVocab vocab, LlamaVocab::Make(weights.get(), std::move(format)));
  info.vocab_tokens = vocab.tokens();
  auto engine = std::make_unique<LlamaEngine>(std::move(info), std::move(weights), std::move(context), std::move(vocab), step_tokens_max);
  TG_RETURN_IF_ERROR(
      engine->Start(model.threads > 0 ? model.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1)));
  return engine;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeLlamaEngine(const ModelOptions& model, const std::string& backends_dir) {
  ModelInfo info;
  info.name = model.name;
  info.engine = "llama";
  info.licence = model.licence;
  info.context_tokens = model.context_tokens;
  info.slots = model.slots;
  std::string chat_template;
  TG_RETURN_IF_ERROR(CheckFile(model, info, chat_template));
  TG_ASSIGN(ChatFormat format, ChatFormat::FromTemplate(chat_template));
  info.chat_template = format.name();
  TG_RETURN_IF_ERROR(StartLlama(backends_dir));
  info.engine_build = LlamaBuild();
  try {
    return Load(model, std::move(info), std::move(format));
  } catch (const std::exception& e) {
    return base::FailedPrecondition(fmt::format("libllama cannot load {}: {}", model.file, e.what()));
  }
}

}  // namespace tollgate::inference
