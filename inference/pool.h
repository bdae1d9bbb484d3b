// Pool: the models that are loaded, and the way to run a sequence on one.
//
// Each model is a replica: one engine, one thread at lower priority, and a number of slots whose context is guaranteed, so that a sequence
// that was let in is never thrown out for want of memory. A replica decodes all its running sequences together, one step at a time, and
// works through new prompts in chunks beside them. Who gets a slot next is fair by tenant: the tenant that was served least, counted in
// tokens, comes first (fair_queue.h has the whole order). Sets of LoRA adapters take turns (adapter_turns.h). A model with `strict` has a
// second replica, of one slot, for answers that can be made again (strict.h). Everything is bounded: queue, streams, tokens, time.
//
// Thread-safe. Render and Submit never wait for the engine.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/uuid.h"
#include "inference/embed.h"
#include "inference/replica_stats.h"
#include "inference/sequence_request.h"
#include "inference/token_stream.h"
#include "inference/types.h"
#include "inference/upstream.h"
#include "inference/worker/options.h"

namespace tollgate::inference {

enum class EngineKind { kLlama, kScripted, kOpenAi };

// Where a sequence's next token hangs on its greatest logits alone (greedy, or a small top_k), whether the device that computes finds them,
// so that those alone are copied from it: never; on GPUs; or on the processor too, where it saves nothing. The tokens are the same.
enum class DeviceSampling { kOff, kAuto, kOn };

struct ModelOptions {
  std::string name;  // What requests call it. Required, unique.
  EngineKind engine = EngineKind::kLlama;
  std::string file;                    // GGUF weights; none for kScripted; of kOpenAi the vocabulary alone is used.
  std::optional<base::Digest> sha256;  // Expected. Required with a file; the refusal names the file's own.
  std::string chat_template;           // Rendered with, by name, whatever the file says; empty = its own.
  std::string licence;
  int slots = 8;                                    // 1 to 256 sequences side by side.
  std::int64_t context_tokens = 2048;               // For each slot, 16 to what the model was trained for.
  int threads = 0;                                  // 0 = one a core but one, which is left to everything else.
  int step_tokens_max = 512;                        // Most tokens in one step, 16 to 4096.
  std::chrono::milliseconds step_target{100};       // Prompt chunks beside running sequences are cut so that a step takes about this.
  int queue_sequences_max = 64;                     // 0 to 100,000 waiting for a slot; one tenant alone about two thirds of that.
  std::chrono::milliseconds queue_timeout{30'000};  // The longest wait for a slot.
  std::int64_t stream_buffer_bytes = 8192;          // Text a stream holds before its sequence parks.
  KvType kv = KvType::kF16;
  // 0: each slot has its context to itself. Else cells that all share, context_tokens to fewer than all slots'.
  std::int64_t kv_tokens = 0;
  std::int64_t prefix_cache_bytes = 256 << 20;  // Memory for what tenants' own prompts begin with; 0 = none.
  double cached_token_share = 0.1;              // What a cached prompt token counts in fairness, 0 to 1.
  UpstreamOptions upstream;                     // Of kOpenAi.
  Pooling pooling = Pooling::kNone;             // Not kNone: it embeds or reranks (embed.h), and does not chat.
  bool strict = false;                          // It gives strict answers too, from a second copy. Not of kOpenAi, nor with pooling.
  DeviceSampling device_sampling = DeviceSampling::kOff;  // Of kLlama. Not where cells are shared, nor for strict answers.
  bool in_own_process = false;  // Set by the process that isolation gives it: what ends that process ends nothing else.
};

struct PoolOptions {
  std::vector<ModelOptions> models;
  const base::Clock* clock = &base::SystemClock();
  std::string backends_dir;  // Folder of ggml's loadable backends; empty = where the build found libllama's.
  int replica_nice = 5;      // Added to the replica threads' niceness.
  // Most memory for all models together; 0 = what the machine, or the control group, has left when a model is loaded.
  std::int64_t memory_bytes = 0;
  Isolation isolation = Isolation::kThread;  // kOpenAi's are on threads all the same: their models are elsewhere.
  WorkerOptions worker;                      // Of kProcess.
  // Asked again and again while a model is loaded, several times a second and from any thread: false breaks the load off. Null: it goes on.
  std::function<bool()> go_on;
};

class Pool {
 public:
  // Loads every model; FAILED_PRECONDITION, NOT_FOUND or INVALID_ARGUMENT name the model, what is wrong with it and the remedy. Slow.
  static absl::StatusOr<std::unique_ptr<Pool>> Create(PoolOptions options);
  virtual ~Pool() = default;  // Ends what runs with kShutdown.

  virtual std::vector<ModelInfo> models() const = 0;  // In the order in which they were loaded, each with its adapters behind it.
  // What a request for this name runs on. NOT_FOUND: a part is not loaded. INVALID_ARGUMENT: as AdapterNames::Check.
  virtual absl::StatusOr<ModelInfo> Find(std::string_view name) const = 0;

  // Loads a model beside those that are there and puts a token through it. Slow; blocks the caller alone, and other loads. The errors of
  // Create, and ALREADY_EXISTS; RESOURCE_EXHAUSTED, in numbers: it does not fit. UNAVAILABLE: draining. CANCELLED: broken off (go_on).
  virtual absl::Status Load(ModelOptions model) = 0;

  // Whether Load would find it good and room for it now, by the file's header alone: quick. Load's errors, but for digests and names in
  // use.
  virtual absl::Status Check(const ModelOptions& model) const = 0;

  // Loads an adapter beside its model, which goes on serving. Slow. NOT_FOUND: no such model or file. ALREADY_EXISTS. Else as
  // Engine::CheckAdapter. CheckAdapter: whether it would, but for a name that is there already; reads the file.
  virtual absl::Status LoadAdapter(AdapterOptions adapter) = 0;
  virtual absl::Status CheckAdapter(const AdapterOptions& adapter) const = 0;

  // Takes a model, with its adapters, or an adapter out. New sequences are refused with NOT_FOUND at once; those inside, and what goes on
  // for them, may end until `deadline` (the pool's clock), then the rest ends with kShutdown, and the memory is free. NOT_FOUND. Blocks;
  // not from I/O threads.
  virtual absl::Status Unload(std::string_view name, base::MonoTime deadline) = 0;

  // The exact tokens that a conversation costs and runs on, in the model's own chat format, opened for the assistant's turn. NOT_FOUND.
  // INVALID_ARGUMENT: an unknown role, no turns, text that is not UTF-8. Linear in the text; up to milliseconds a 10 KB.
  virtual absl::StatusOr<std::vector<std::int32_t>> Render(std::string_view model, std::span<const Turn> turns) const = 0;

  // The tokens of text that is nothing but text. NOT_FOUND: no such model. UNIMPLEMENTED: its engine cannot tell.
  virtual absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view model, std::string_view text) const = 0;

  // The tokens of a prompt laid out by who asks, begin token first where the model wants one. As Render; UNIMPLEMENTED: it has none such.
  virtual absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::string_view model, std::span<const PromptPart> parts) const = 0;

  // Queues a sequence. INVALID_ARGUMENT: a field out of range, or a prompt that does not fit the context (the message has the numbers).
  // RESOURCE_EXHAUSTED, with a retry hint: the queue is full, or the tenant's part of it. UNAVAILABLE: draining, or MODEL_CHANGED: not the
  // fingerprint. NOT_FOUND. FAILED_PRECONDITION: the model is not strict.
  virtual absl::StatusOr<std::shared_ptr<TokenStream>> Submit(SequenceRequest request) = 0;

  // Queues as many sequences with one prompt as there are seeds, 1 to 16, all or none, as Submit does; the prompt is worked through once,
  // where the slots allow it. The request's own seed is not used. Not strict.
  virtual absl::StatusOr<std::vector<std::shared_ptr<TokenStream>>> SubmitGroup(SequenceRequest request,
                                                                                std::span<const std::uint64_t> seeds) = 0;

  // What embed.h says.
  virtual absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(std::string_view model, const EmbedText& text) const = 0;
  virtual absl::StatusOr<std::string> TextOf(std::string_view model, std::span<const std::int32_t> tokens) const = 0;
  virtual absl::StatusOr<std::shared_ptr<TokenStream>> Embed(EmbedJob job) = 0;

  // Whether the queue of a model, which its adapters share, would let so many more of a tenant's sequences in now, and its engine is ready.
  // Of what is not strict. False: no such model.
  virtual bool Takes(std::string_view model, const base::TeamId& tenant, int sequences) const = 0;

  // One a model, adapters in its own, in the same order; those of strict answers in one beside it, "NAME (strict)".
  virtual std::vector<ReplicaStats> stats() const = 0;

  // Refuses new sequences, waits until those inside have ended or for `deadline`, then ends the rest with kShutdown. Blocks; as Unload.
  virtual void Drain(base::MonoTime deadline) = 0;
};

// SHA-256 of a file, as the registry wants it. NOT_FOUND or PERMISSION_DENIED name the path. CANCELLED: as of a load.
absl::StatusOr<base::Digest> DigestOfFile(const std::string& path, const std::function<bool()>& go_on = {});

}  // namespace tollgate::inference
