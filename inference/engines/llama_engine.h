// LlamaEngine: what engines/llama.h makes. Internal to the engine.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <llama.h>

#include "inference/crew.h"
#include "inference/engine.h"
#include "inference/engines/llama_adapters.h"
#include "inference/engines/llama_grammar.h"
#include "inference/engines/llama_library.h"
#include "inference/engines/llama_vocab.h"
#include "inference/logprobs.h"
#include "inference/prefix_cache.h"
#include "inference/sampler.h"

namespace tollgate::inference {

struct LlamaBatch {
  explicit LlamaBatch(int tokens) : raw(llama_batch_init(tokens, 0, 1)) {}
  ~LlamaBatch() { llama_batch_free(raw); }
  LlamaBatch(const LlamaBatch&) = delete;
  LlamaBatch& operator=(const LlamaBatch&) = delete;
  void Add(std::int32_t token, std::int64_t position, int slot, bool output) {
    const int i = raw.n_tokens++;
    raw.token[i] = token;
    raw.pos[i] = static_cast<llama_pos>(position);
    raw.n_seq_id[i] = 1;
    raw.seq_id[i][0] = slot;
    raw.logits[i] = output ? 1 : 0;
  }
  absl::StatusOr<int> Decode(llama_context* context) const;  // To the end: libllama's code. INTERNAL: it threw.

  llama_batch raw;
};

class LlamaEngine final : public Engine {
 public:
  LlamaEngine(ModelInfo info, GgufHeader header, LlamaModel model, LlamaContext context, LlamaVocab vocab, int step_tokens_max,
              std::int64_t prefix_cache_bytes);
  ~LlamaEngine() override;

  // Gives the context its threads and puts one token through the model: that pages the weights in, and fails here rather than on the first
  // request. On a GPU also a whole prompt's step, for which it loads and sets up more.
  absl::Status Start(int threads);

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return step_tokens_max_; }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return vocab_.Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    TG_RETURN_IF_ERROR(vocab_.Tokenize(text, tokens));
    return tokens;
  }
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override {
    return vocab_.RenderParts(parts);
  }
  absl::Status CheckGrammar(std::string_view gbnf) const override { return LlamaGrammar::Make(vocab_.raw(), gbnf).status(); }
  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override;
  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override;
  absl::Status Rewind(int slot, std::int64_t output_tokens, std::span<const std::int32_t> banned) override;
  std::int64_t Share(int from, int to) override;
  void Close(int slot) override;
  absl::StatusOr<AdapterInfo> CheckAdapter(const AdapterOptions& adapter, std::int64_t memory_bytes) const override {
    return adapters_.Check(adapter, memory_bytes);
  }
  absl::StatusOr<int> AddAdapter(const AdapterOptions& adapter) override { return adapters_.Add(adapter); }
  void RemoveAdapter(int handle) override { adapters_.Remove(handle); }
  std::int64_t cache_bytes() const override { return prefixes_.bytes(); }

  void Interrupt() override {
    if (!interrupted_.exchange(true, std::memory_order_acq_rel)) LlamaInterrupted(true);
  }

 private:
  struct Slot {
    std::vector<std::int32_t> prompt;
    std::vector<std::int32_t> output;
    std::int64_t cached = 0;  // Tokens in the KV cache.
    Sampler sampler;
    std::string salt;
    std::int64_t published = 0;    // Prompt tokens that other tenants may share,
    std::string published_salt{};  // found under this name.
    std::optional<LlamaGrammar> grammar{};
    std::vector<int> adapters{};
    bool finite = true;  // With adapters: whether the last step gave logits, all finite, and so all that is cached is.
    int logprobs = -1;
    bool sound = true;  // No step failed on it: its state may be kept.
    std::int32_t TokenAt(std::int64_t position) const {
      const auto size = static_cast<std::int64_t>(prompt.size());
      return position < size ? prompt[position] : output[position - size];
    }
  };
  struct Wanted {
    int slot;
    int row;                        // Index in the batch whose logits decide.
    const float* logits = nullptr;  // Once they are there.
  };
  struct Scratch {  // Of one thread that samples.
    SamplerScratch sampler;
    std::vector<float> masked;  // Logits of what a grammar allows.
    std::vector<TokenLogprob> likeliest;
  };

  bool Cleanse(int slot);  // This and the next: llama_spoilt.cpp.
  bool TurnsOutFinite(int slot);
  bool interrupted() const { return interrupted_.load(std::memory_order_acquire); }
  absl::Status WarmUp(std::int64_t prompt_tokens, int others);
  absl::Status Fill(std::span<const EngineWork> work);
  absl::Status Decode();
  EngineOpened Restore(int slot, const Slot& opened);
  bool Put(int slot, std::span<const std::uint8_t> state, std::int64_t tokens);
  void Keep(int slot);
  void KeepUnder(const std::string& salt, std::vector<std::int32_t> tokens, int slot);
  // On any of the crew's threads: each slot on one of them.
  void AddLogprobs(std::span<const float> logits, int top, Scratch& scratch, std::vector<EngineAlternative>& alternatives,
                   EngineOutput& output) const;
  absl::StatusOr<std::int32_t> Choose(Slot& slot, std::span<const float> logits, Scratch& scratch) const;
  absl::Status Sample(const Wanted& wanted, Scratch& scratch, std::vector<EngineAlternative>& alternatives, EngineOutput& output);
  void SampleAll(std::vector<EngineOutput>& outputs);

  ModelInfo info_;
  LlamaModel model_;
  LlamaContext context_;
  std::unique_ptr<LlamaThreads> threads_;
  LlamaAdapters adapters_;
  LlamaVocab vocab_;
  LlamaBatch batch_;
  std::vector<std::optional<Slot>> slots_;
  std::set<int> spoilt_;  // Empty slots whose cells may hold what is not finite.
  bool keeps_parts_;
  PrefixCache prefixes_;
  std::vector<EngineWork> ordered_;
  std::vector<Wanted> wanted_;
  Crew crew_;
  std::vector<Scratch> scratch_;                      // One a worker of the crew.
  std::vector<std::vector<EngineAlternative>> tops_;  // Of this step's outputs.
  std::int64_t step_tokens_max_;
  std::atomic<bool> interrupted_{false};
};

}  // namespace tollgate::inference
