// How it works. All inputs of a step are one batch, input i being libllama's sequence i, in one pass: libllama pools what a pass gave, so
// that none may be cut. The cache, where the model has one, is shared by the sequences of a step and emptied after it; no sequence attends
// to another's tokens. A vector is brought to length 1; what a classifier says of a document becomes a probability, unless it is one.
//
// Tested by tests/inference/embed_engine_test.cpp.
#include "inference/engines/llama_embedder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <llama.h>

#include "inference/engines/llama_engine.h"
#include "inference/engines/llama_text.h"
#include "inference/memory_estimate.h"

namespace tollgate::inference {
namespace {

enum llama_pooling_type RawPooling(Pooling pooling) {
  switch (pooling) {
    case Pooling::kMean: return LLAMA_POOLING_TYPE_MEAN;
    case Pooling::kCls: return LLAMA_POOLING_TYPE_CLS;
    case Pooling::kRank: return LLAMA_POOLING_TYPE_RANK;
    default: return LLAMA_POOLING_TYPE_LAST;
  }
}

LlamaContext MakeContext(llama_model* weights, const ModelOptions& model, Pooling pooling, std::int64_t step_tokens) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = static_cast<std::uint32_t>(step_tokens);
  params.n_seq_max = Engine::kEmbedInputsMax;
  params.kv_unified = true;
  params.embeddings = true;
  params.pooling_type = RawPooling(pooling);
  if (model.kv == KvType::kF32) {
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  }
  params.no_perf = true;
  const LlamaLoading loading;
  return LlamaContext(llama_init_from_model(weights, params));
}

// Which of a classifier's numbers says that a document answers, and whether it is a probability already.
struct Classifier {
  std::uint32_t at = 0;
  bool probability = false;
};

absl::StatusOr<Classifier> ClassifierOf(const llama_model* model, const ModelInfo& info) {
  const std::uint32_t classes = llama_model_n_cls_out(model);
  if (classes == 1) return Classifier{};
  for (std::uint32_t i = 0; i < classes; ++i) {
    const char* label = llama_model_cls_label(model, i);
    if (label != nullptr && std::string_view(label) == "yes") return Classifier{i, info.architecture.starts_with("qwen3")};
  }
  return base::FailedPrecondition(
      fmt::format("the file's classifier has {} classes, and none of them is \"yes\": it is no reranker; use another file", classes));
}

class LlamaEmbedder final : public Engine {
 public:
  LlamaEmbedder(ModelInfo info, LlamaModel model, LlamaContext context, LlamaText text, Classifier classifier, std::int64_t step_tokens)
      : info_(std::move(info)),
        model_(std::move(model)),
        context_(std::move(context)),
        text_(std::move(text)),
        classifier_(classifier),
        step_tokens_max_(step_tokens),
        batch_(static_cast<int>(step_tokens)) {
    llama_set_abort_callback(
        context_.get(), [](void* self) { return static_cast<LlamaEmbedder*>(self)->interrupted(); }, this);
  }
  ~LlamaEmbedder() override {
    if (interrupted()) LlamaInterrupted(false);
  }

  absl::Status Start(int threads) {
    llama_set_n_threads(context_.get(), threads, threads);
    threads_ = LlamaThreads::Attach(context_.get(), threads);
    const std::vector<std::int32_t> input(1, 0);
    const std::span<const std::int32_t> inputs[] = {input};
    std::vector<float> vectors;
    return Embed(inputs, vectors);
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return step_tokens_max_; }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> /*turns*/) const override { return Chats(); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override { return text_.Plain(text); }
  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& text) const override { return text_.Tokens(text); }
  absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> tokens) const override { return text_.TextOf(tokens); }

  absl::Status Embed(std::span<const std::span<const std::int32_t>> inputs, std::vector<float>& vectors) override;

  absl::StatusOr<EngineOpened> Open(int /*slot*/, const EngineSequence& /*sequence*/) override { return EngineOpened{}; }
  absl::Status Step(std::span<const EngineWork> /*work*/, std::vector<EngineOutput>& /*outputs*/) override { return Chats(); }
  absl::Status Rewind(int /*slot*/, std::int64_t /*tokens*/, std::span<const std::int32_t> /*banned*/) override { return Chats(); }
  void Close(int /*slot*/) override {}
  void Interrupt() override {
    if (!interrupted_.exchange(true, std::memory_order_acq_rel)) LlamaInterrupted(true);
  }

 private:
  absl::Status Chats() const { return base::FailedPrecondition(fmt::format("model {} does not chat", info_.name)); }
  bool interrupted() const { return interrupted_.load(std::memory_order_acquire); }
  absl::Status Fill(std::span<const std::span<const std::int32_t>> inputs);
  absl::Status Decode();
  absl::Status Take(int input, std::vector<float>& vectors) const;

  ModelInfo info_;
  LlamaModel model_;
  LlamaContext context_;
  std::unique_ptr<LlamaThreads> threads_;
  LlamaText text_;
  Classifier classifier_;
  std::int64_t step_tokens_max_;
  LlamaBatch batch_;
  std::atomic<bool> interrupted_{false};
};

absl::Status LlamaEmbedder::Fill(std::span<const std::span<const std::int32_t>> inputs) {
  batch_.raw.n_tokens = 0;
  if (inputs.empty() || inputs.size() > kEmbedInputsMax) return base::Internal(fmt::format("a step was given {} inputs", inputs.size()));
  int sequence = 0;
  for (const auto& input : inputs) {
    const auto size = static_cast<std::int64_t>(input.size());
    if (size < 1 || size > info_.context_tokens || batch_.raw.n_tokens + size > step_tokens_max_)
      return base::Internal(fmt::format("a step was given an input of {} tokens behind {}", size, batch_.raw.n_tokens));
    for (std::int64_t i = 0; i < size; ++i) batch_.Add(input[static_cast<std::size_t>(i)], i, sequence, true);
    ++sequence;
  }
  return absl::OkStatus();
}

absl::Status LlamaEmbedder::Decode() {
  TG_ASSIGN(const int code, batch_.Decode(context_.get()));
  if (code == 0) return absl::OkStatus();
  if (code == 2) return base::Unavailable("the engine was interrupted");
  return base::Internal(fmt::format("the engine failed with code {}", code));
}

absl::Status LlamaEmbedder::Embed(std::span<const std::span<const std::int32_t>> inputs, std::vector<float>& vectors) {
  TG_RETURN_IF_ERROR(Fill(inputs));
  absl::Status status = Decode();
  for (int input = 0; status.ok() && input < static_cast<int>(inputs.size()); ++input) status = Take(input, vectors);
  // Numbers that are not finite would outlive their cells: with those the cache is emptied too (llama_spoilt.cpp says why).
  if (llama_memory_t memory = llama_get_memory(context_.get()); memory != nullptr) llama_memory_clear(memory, !status.ok());
  return status;
}

absl::Status LlamaEmbedder::Take(int input, std::vector<float>& vectors) const {
  const float* raw = llama_get_embeddings_seq(context_.get(), input);
  if (raw == nullptr) return base::Internal("the engine gave no vector");
  if (info_.reranks()) {
    const float score = raw[classifier_.at];
    if (!std::isfinite(score)) return base::Internal("the model gave a score that is no number");
    vectors.push_back(classifier_.probability ? std::clamp(score, 0.0F, 1.0F) : 1.0F / (1.0F + std::exp(-score)));
    return absl::OkStatus();
  }
  double square = 0;
  for (std::int64_t i = 0; i < info_.dimensions; ++i) square += static_cast<double>(raw[i]) * raw[i];
  if (!std::isfinite(square) || square <= 0) return base::Internal("the model gave a vector that has no direction");
  const double scale = 1 / std::sqrt(square);
  for (std::int64_t i = 0; i < info_.dimensions; ++i) vectors.push_back(static_cast<float>(raw[i] * scale));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeLlamaEmbedder(const ModelOptions& model, ModelInfo info, LlamaModel weights, int threads) {
  if (llama_model_has_encoder(weights.get()) || llama_model_is_diffusion(weights.get()))
    return base::FailedPrecondition(fmt::format("{} holds a model of a kind that does not embed here", model.file));
  if (!model.chat_template.empty()) return base::FailedPrecondition("a model that embeds has no chat template: leave it out");
  if (model.kv == KvType::kQ8) return base::FailedPrecondition("a model that embeds keeps its context for one step: set kv to f16 or f32");
  Classifier classifier;
  if (info.reranks()) {
    TG_ASSIGN(classifier, ClassifierOf(weights.get(), info));
  }
  TG_ASSIGN(LlamaText text, LlamaText::Make(weights.get(), info.reranks()));
  const std::int64_t step_tokens = EmbedStepTokens(model);
  LlamaContext context = MakeContext(weights.get(), model, info.pooling, step_tokens);
  if (context == nullptr)
    return base::FailedPrecondition(fmt::format("libllama made no context for steps of {} tokens; its lines above say why", step_tokens));
  const llama_context* made = context.get();
  if (llama_n_batch(made) < step_tokens || llama_n_ubatch(made) < step_tokens || llama_n_seq_max(made) < Engine::kEmbedInputsMax ||
      llama_pooling_type(made) != RawPooling(info.pooling)) {
    return base::FailedPrecondition(fmt::format("libllama made another context than asked for: {} tokens a step", llama_n_ubatch(made)));
  }
  info.vocab_tokens = text.tokens();
  info.dimensions = info.reranks() ? 1 : llama_model_n_embd_out(weights.get());
  auto engine =
      std::make_unique<LlamaEmbedder>(std::move(info), std::move(weights), std::move(context), std::move(text), classifier, step_tokens);
  TG_RETURN_IF_ERROR(engine->Start(threads));
  return engine;
}

}  // namespace tollgate::inference
