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
#include "inference/engines/llama_aside.h"
#include "inference/engines/llama_batch.h"
#include "inference/engines/llama_device_cut.h"
#include "inference/engines/llama_grammar.h"
#include "inference/engines/llama_library.h"
#include "inference/engines/llama_vocab.h"
#include "inference/logprobs.h"
#include "inference/prefix_cache.h"
#include "inference/sampler.h"

namespace tollgate::inference {

class LlamaEngine final : public Engine {
 public:
  LlamaEngine(ModelInfo info, GgufHeader header, LlamaModel model, LlamaContext context, LlamaVocab vocab, int step_tokens_max,
              std::int64_t prefix_cache_bytes, bool device_cuts, bool in_own_process, std::vector<DeviceShare> shares);
  ~LlamaEngine() override;

  // Gives the context its threads and puts one token through the model: that pages the weights in, and fails here rather than on the first
  // request. On a GPU also a whole prompt's step, for which it loads and sets up more.
  absl::Status Start(int threads);

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return step_tokens_max_; }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return vocab_.Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override;
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override;
  absl::StatusOr<std::shared_ptr<CheckedGrammar>> CheckGrammar(std::string_view gbnf) const override {
    return LlamaGrammar::Make(vocab_, gbnf);
  }
  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override;
  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override;
  absl::Status Rewind(int slot, std::int64_t output_tokens, std::span<const std::int32_t> banned) override;
  std::int64_t Share(int from, int to) override;
  absl::StatusOr<std::int64_t> Suspend(int slot, std::int64_t bytes_max) override;
  absl::StatusOr<std::int64_t> Resume(int slot) override;
  void Close(int slot) override;
  absl::StatusOr<AdapterInfo> CheckAdapter(const AdapterOptions& adapter, std::int64_t memory_bytes) const override {
    return adapters_.Check(adapter, memory_bytes);
  }
  absl::StatusOr<int> AddAdapter(const AdapterOptions& adapter) override { return adapters_.Add(adapter); }
  void RemoveAdapter(int handle) override { adapters_.Remove(handle); }
  std::int64_t cache_bytes() const override { return prefixes_.bytes(); }
  std::int64_t device_sampled() const override { return device_sampled_; }

  void Interrupt() override;

 private:
  struct Slot {
    std::vector<std::int32_t> prompt;
    std::vector<std::int32_t> output;
    std::int64_t cached = 0;  // Tokens in the KV cache; of a suspended slot, those that shall be there again.
    Sampler sampler;
    std::string salt;
    std::int64_t published = 0;    // Prompt tokens that other tenants may share,
    std::string published_salt{};  // found under this name.
    std::shared_ptr<LlamaGrammar> grammar{};
    std::vector<int> adapters{};
    std::unique_ptr<LlamaAside> aside{};  // Where it is suspended.
    bool finite = true;  // Whether the last step gave logits, all finite, and so all that is cached is: looked at where adapters or shared
    bool odd = false;    // cells are, else taken so if a token was chosen. Odd: some were seen that are not.
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
    const float* logits = nullptr;  // Once they are there,
    LlamaCut cut{};                 // or the greatest of them.
  };
  struct Scratch {  // Of one thread that samples.
    SamplerScratch sampler;
    std::vector<float> masked;  // Logits of what a grammar allows.
    std::vector<TokenLogprob> likeliest;
  };

  bool Cleanse(int slot);  // This and the next: llama_spoilt.cpp.
  bool TurnsOutFinite(int slot);
  static absl::Status Overflowed() { return base::Internal("the model's numbers overflowed on this sequence"); }
  bool IsFinite(const float* logits) const;  // This and the next seven: llama_cells.cpp.
  void ProveChunks(std::vector<EngineOutput>& outputs);
  bool TakeOut(int slot, std::int64_t bytes_max, LlamaAside& aside) const;
  bool Put(int slot, const LlamaState& state, std::int64_t tokens);
  bool PutAsIs(int slot, std::span<const std::uint8_t> state, std::int64_t tokens);
  std::vector<int> Others(int slot) const;
  bool SendAway(int slot, std::vector<LlamaAway>& away);
  void BringBack(const std::vector<LlamaAway>& away);
  bool interrupted() const { return interrupted_.load(std::memory_order_acquire); }
  absl::Status WarmUp(std::int64_t prompt_tokens, int others);
  absl::Status Fill(std::span<const EngineWork> work);
  absl::Status Decode();
  EngineOpened Restore(int slot, const Slot& opened);
  void Keep(int slot);
  void KeepUnder(const std::string& salt, std::vector<std::int32_t> tokens, int slot);
  // On any of the crew's threads: each slot on one of them.
  void AddLogprobs(std::span<const float> logits, int top, Scratch& scratch, std::vector<EngineAlternative>& alternatives,
                   EngineOutput& output) const;
  absl::StatusOr<std::int32_t> Choose(Slot& slot, const LlamaCut& cut, std::span<const float> logits, Scratch& scratch) const;
  absl::Status Sample(const Wanted& wanted, Scratch& scratch, std::vector<EngineAlternative>& alternatives, EngineOutput& output);
  void SampleAll(std::vector<EngineOutput>& outputs);
  void TakeLogits(Wanted& wanted);
  bool CutIsEnough() const;

  ModelInfo info_;
  LlamaModel model_;
  LlamaContext context_;
  std::unique_ptr<LlamaThreads> threads_;
  LlamaAdapters adapters_;
  LlamaVocab vocab_;
  LlamaBatch batch_;
  LlamaDeviceCut cut_;
  std::int64_t device_sampled_ = 0;
  std::vector<std::optional<Slot>> slots_;
  std::set<int> spoilt_;  // Empty slots whose cells may hold what is not finite.
  bool keeps_parts_;
  PrefixCache prefixes_;
  std::optional<LlamaAway> shared_;  // What Share took out of a slot, until the next step: its siblings get it too.
  std::vector<EngineWork> ordered_;
  std::vector<Wanted> wanted_;
  std::vector<Wanted> chunks_;  // Of prompts, where cells are shared.
  Crew crew_;
  std::vector<Scratch> scratch_;                      // One a worker of the crew.
  std::vector<std::vector<EngineAlternative>> tops_;  // Of this step's outputs.
  std::int64_t step_tokens_max_;
  std::atomic<bool> interrupted_{false};
};

}  // namespace tollgate::inference
