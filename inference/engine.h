// Engine: what a replica drives. One interface for libllama in this process, for the scripted engine, and fit for an engine in a child
// process or an upstream fleet: everything that crosses it is small plain data, the engine samples on its own side, and a step may give
// no token, one or several for a sequence.
//
// A slot is empty, or holds one sequence. Open puts a sequence in; Step works on the slots it is told to; Rewind takes tokens back;
// Close empties. The engine keeps the prompt, the output and the sampler's state of each open slot.
//
// Threads: Info, Ready, restarts, Interrupt and what PromptSide has from any thread; the rest from the replica's thread alone. What a later
// option needs beside these is a field of EngineSequence; what it gives is a field of EngineOutput.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"
#include "inference/prompt_side.h"
#include "inference/types.h"
#include "inference/upstream.h"

namespace tollgate::inference {

struct EngineSequence {
  std::span<const std::int32_t> prompt_tokens;  // Each in [0, vocab_tokens). Copied.
  SamplingParams sampling;                      // In range.
  base::TeamId tenant;                          // The salt of whatever the engine caches: nothing crosses tenants.
  std::int64_t published_tokens = 0;            // But the first so many of the prompt, which
  base::OrgId published_by;                     // this org lets its tenants share.
  std::span<const LogitBias> logit_bias;        // Tokens as in the prompt. Copied.
  std::string_view grammar;                     // GBNF that the output must follow, checked by CheckGrammar; empty = none. Copied.
  std::shared_ptr<CheckedGrammar> read;         // What that gave, for this sequence alone; null: Open reads it again.
  std::span<const std::int32_t> banned_first;   // As of Rewind, for the first output token. Copied.
  int logprobs = -1;                            // -1: none wanted; else each token's own and those of so many of the likeliest.
  int band = kBandDefault;                      // Of urgency, for an engine that queues on its own side.
  std::span<const std::int64_t> input_ends;     // Of an EmbedJob: where each of its inputs ends among the prompt's tokens. Copied.
  std::span<const std::string> texts;           // EmbedJob::texts. Copied.
  std::span<const int> adapters;                // Handles that AddAdapter gave, ascending: act beside the weights. Copied.
};

// What Open found. cached_tokens: how many of the prompt's first tokens need no work because the tenant had them worked through before;
// published_tokens: how many more because some tenant had, of those that are published. Together always fewer than all.
struct EngineOpened {
  std::int64_t cached_tokens = 0;
  std::int64_t published_tokens = 0;
};

// One slot's part in a step. While its prompt is not worked through: `prompt_tokens` > 0, the next so many; when they are the last, the
// first output token comes with the same step. After that: 0, and the step decodes one more token.
struct EngineWork {
  int slot = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t output_max = INT64_MAX;  // Output tokens that may stand in the slot as yet: an engine that works ahead stops there.
};

struct EngineAlternative {
  std::int32_t token = 0;
  std::string_view bytes;
  float logprob = 0;
};

// A token that was chosen, or why the slot can go no further. Several may stand for one slot, in order.
struct EngineOutput {
  int slot = 0;
  std::int32_t token = -1;                 // -1: none; the model's turn had ended with the token before. Or kUnknownToken.
  std::string_view bytes;                  // The token's text, perhaps part of a code point. Valid until the next call.
  bool ends = false;                       // The model ended its turn with this token.
  float logprob = 0;                       // Where wanted,
  std::span<const EngineAlternative> top;  // with the likeliest, the likeliest first. Valid until the next call.
  std::span<const float> vectors;          // Of an EmbedJob: those of its next inputs, as Embed's. Valid until the next call.
  absl::Status status;                     // Not OK: this slot failed; nothing else here counts. Close it.
};

class Engine : public PromptSide {
 public:
  virtual const ModelInfo& Info() const = 0;         // Constant.
  virtual std::int64_t step_tokens_max() const = 0;  // The sum over a step's work (a decode counts 1) must not exceed it.

  virtual absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) = 0;  // REQUIRES: empty, the prompt fits.

  // Works once on all of `work` (each slot at most once, not empty, all with the same adapters, within step_tokens_max) and appends to
  // `outputs`. Not OK: the whole step failed; each of its slots must be closed, the others are unharmed.
  virtual absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) = 0;

  // Takes back output tokens until `output_tokens` remain; the next token will be none of `banned`. UNIMPLEMENTED where the model cannot.
  virtual absl::Status Rewind(int slot, std::int64_t output_tokens, std::span<const std::int32_t> banned) = 0;

  // Gives `to`, which has done no work yet, what `from` knows of the tokens that both prompts begin with: how many of the prompt's first
  // tokens need no work then, always fewer than all. 0 where the engine cannot. REQUIRES: both open, the same tenant.
  virtual std::int64_t Share(int /*from*/, int /*to*/) { return 0; }

  // How jobs run where Info().pooling is not kNone. True: side by side, each in its slot from Open on; Step, told of it without prompt
  // tokens, gives the vectors of its inputs in their order, as they come. False: by Embed.
  virtual bool EmbedsInSlots() const { return false; }

  // Where slots share cells (ModelOptions::kv_tokens). Suspend takes the slot's cells away and keeps their state, if that takes no more
  // than `bytes_max`: the bytes; 0: it is not kept. All else of the slot stays; it is in no step before Resume, which puts the state back:
  // how many tokens are to be worked through again, as a prompt is, but that no output comes with the last. Rewind and Close as ever
  // meanwhile.
  virtual absl::StatusOr<std::int64_t> Suspend(int /*slot*/, std::int64_t /*bytes_max*/) { return NoCells(); }
  virtual absl::StatusOr<std::int64_t> Resume(int /*slot*/) { return NoCells(); }

  // Works once on all inputs, at most kEmbedInputsMax, whose tokens are within
  // step_tokens_max in sum and each within the context. Appends Info().dimensions numbers for each, of a vector of length 1; where it
  // reranks, one from 0 to 1. Not OK: there are none of any.
  static constexpr int kEmbedInputsMax = 64;
  virtual absl::Status Embed(std::span<const std::span<const std::int32_t>> /*inputs*/, std::vector<float>& /*vectors*/) {
    return NoVectors();
  }

  virtual void Close(int slot) = 0;  // Empties the slot and frees its context. Never fails.

  // Loads one that CheckAdapter found good: the handle for EngineSequence::adapters, more than 0 and never given twice.
  virtual absl::StatusOr<int> AddAdapter(const AdapterOptions& /*adapter*/) { return base::Unimplemented("no adapters"); }
  virtual void RemoveAdapter(int /*handle*/) {}  // REQUIRES: no open slot has it.

  virtual std::int64_t cache_bytes() const { return 0; }     // Of prefixes that are kept.
  virtual std::int64_t device_sampled() const { return 0; }  // Tokens chosen since the start as ModelOptions::device_sampling has it.

  // Called when there is nothing to step: does what is to be done beside sequences, at once. How long until it must be called again.
  virtual std::chrono::microseconds Idle() { return std::chrono::seconds(1); }

  // UNAVAILABLE, with a retry hint, while nothing can be opened because what the engine runs in is started again; how often it was.
  virtual absl::Status Ready() const { return absl::OkStatus(); }
  virtual std::int64_t restarts() const { return 0; }

  // UNAVAILABLE: what was open there is gone, with what it ran in. Close it.
  virtual absl::Status SlotStatus(int /*slot*/) const { return absl::OkStatus(); }

  // What an upstream engine has seen of its servers; what they say of an open slot.
  virtual UpstreamStats upstream_stats() const { return {}; }
  virtual ReportedUsage Reported(int /*slot*/) const { return {}; }

  virtual void Interrupt() = 0;  // Makes a step that is running, and all later ones, fail soon. For shutting down.

 protected:
  static absl::Status NoCells() { return base::Unimplemented("this model's engine shares no cells: register it without kv_tokens"); }
};

}  // namespace tollgate::inference
