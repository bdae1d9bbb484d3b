// How it works. A list of replicas behind a short lock; all work is theirs. Options are checked here, before anything is loaded. A replica
// that is taken out lives on until the last call that found it has returned; its sequences were ended and its thread joined before.
//
// Tested by tests/inference/pool_test.cpp, tests/inference/pool_limits_test.cpp, tests/inference/load_test.cpp.
#include "inference/pool.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/diagnostics.h"
#include "base/encoding.h"
#include "base/error_detail.h"
#include "base/mutex.h"
#include "inference/engines/llama.h"
#include "inference/engines/llama_tokenizer.h"
#include "inference/engines/script_engine.h"
#include "inference/engines/upstream_engine.h"
#include "inference/gguf.h"
#include "inference/mapped_file.h"
#include "inference/memory_estimate.h"
#include "inference/pooling.h"
#include "inference/replica.h"

namespace tollgate::inference {
namespace {

absl::Status CheckRange(const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("{} is {}; it must be between {} and {}", field, value, least, most));
}

// A model that embeds gives way to those that chat: where they share processors, the niceness of its threads is so much more.
constexpr int kEmbedNice = 10;

absl::Status CheckModel(const ModelOptions& model) {
  if (model.name.empty()) return base::InvalidArgument("it has no name");
  if (model.engine != EngineKind::kScripted && model.file.empty()) return base::InvalidArgument("it names no file");
  if (model.pooling != Pooling::kNone && model.engine == EngineKind::kOpenAi)
    return base::Unimplemented("engine openai sends servers chats alone: embed with engine llama, and leave pooling out");
  TG_RETURN_IF_ERROR(CheckRange("slots", model.slots, 1, 256));
  TG_RETURN_IF_ERROR(CheckRange("context_tokens", model.context_tokens, 16, 1 << 24));
  TG_RETURN_IF_ERROR(CheckRange("slots x context_tokens", model.slots * model.context_tokens, 16, 1 << 30));
  TG_RETURN_IF_ERROR(CheckRange("threads", model.threads, 0, 512));
  TG_RETURN_IF_ERROR(CheckRange("step_tokens_max", model.step_tokens_max, 16, 4096));
  TG_RETURN_IF_ERROR(CheckRange("step_target, in ms,", model.step_target.count(), 1, 10'000));
  TG_RETURN_IF_ERROR(CheckRange("queue_sequences_max", model.queue_sequences_max, 0, 100'000));
  TG_RETURN_IF_ERROR(CheckRange("queue_timeout, in ms,", model.queue_timeout.count(), 1, 3'600'000));
  TG_RETURN_IF_ERROR(CheckRange("prefix_cache_bytes", model.prefix_cache_bytes, 0, 1LL << 40));
  if (!(model.cached_token_share >= 0 && model.cached_token_share <= 1))
    return base::InvalidArgument(fmt::format("cached_token_share is {}; it must be between 0 and 1", model.cached_token_share));
  return CheckRange("stream_buffer_bytes", model.stream_buffer_bytes, 1, 1 << 24);
}

// The name of a model with these adapters: the same for the same adapters.
std::string NameOf(const AdaptersHeld& adapters) {
  std::vector<std::string> names;
  for (const auto& adapter : adapters) names.push_back(adapter->info.name);
  return base::JoinAdapters(std::move(names));
}

class PoolOfReplicas final : public Pool {
 public:
  explicit PoolOfReplicas(PoolOptions options) : options_(std::move(options)) {}

  ~PoolOfReplicas() override {
    for (const auto& replica : All()) replica->Stop();
  }

  std::vector<ModelInfo> models() const override {
    std::vector<ModelInfo> infos;
    for (const auto& replica : All()) {
      for (ModelInfo& info : replica->infos()) infos.push_back(std::move(info));
    }
    return infos;
  }

  absl::StatusOr<ModelInfo> Find(std::string_view name) const override {
    TG_ASSIGN(const Found found, Locate(name));
    return found.info();
  }

  absl::Status LoadAdapter(AdapterOptions adapter) override {
    base::Lock one_at_a_time(load_mu_);
    TG_ASSIGN(const auto replica, BaseOf(adapter));
    if (replica->HasAdapter(adapter.name)) return About(adapter, base::AlreadyExists("it is loaded: unload it first"));
    const auto info = replica->CheckAdapter(adapter, MemoryLeft());
    if (!info.ok()) return About(adapter, info.status());
    return About(adapter, replica->AddAdapter(adapter, *info));
  }

  absl::Status CheckAdapter(const AdapterOptions& adapter) const override {
    TG_ASSIGN(const auto replica, BaseOf(adapter));
    return About(adapter, replica->CheckAdapter(adapter, MemoryLeft()).status());
  }

  absl::Status Load(ModelOptions model) override {
    const auto named = [&model](const absl::Status& status) { return base::Annotate(status, fmt::format("model {}", model.name)); };
    if (absl::Status status = CheckModel(model); !status.ok()) return named(status);
    base::Lock one_at_a_time(load_mu_);
    if (Locate(model.name).ok()) return named(base::AlreadyExists("it stands twice: give it another name, or unload the one that is there"));
    auto replica = Start(model);
    if (!replica.ok()) return named(replica.status());
    if (const std::string& has = (*replica)->info().chat_template; !model.chat_template.empty() && has != model.chat_template) {
      return named(base::FailedPrecondition(
          fmt::format("it is registered with the chat template {}, and has {}: register what it has", model.chat_template, has)));
    }
    {
      base::Lock lock(mu_);
      if (!draining_) {
        replicas_.push_back(*std::move(replica));
        return absl::OkStatus();
      }
    }
    return named(base::Unavailable("the server is shutting down"));
  }

  absl::Status Check(const ModelOptions& model) const override {
    const auto named = [&model](const absl::Status& status) { return base::Annotate(status, fmt::format("model {}", model.name)); };
    if (absl::Status status = CheckModel(model); !status.ok()) return named(status);
    if (model.engine == EngineKind::kScripted) return absl::OkStatus();
    const auto file = MappedFile::Open(model.file);
    if (!file.ok()) return named(file.status());
    const auto header = ReadGguf(file->bytes());
    if (!header.ok()) return named(base::Annotate(header.status(), model.file));
    if (model.context_tokens > header->context_tokens) {
      return named(base::FailedPrecondition(
          fmt::format("context_tokens is {}, but the model was trained for {}", model.context_tokens, header->context_tokens)));
    }
    if (absl::Status fits = ResolvePooling(model.pooling, *header).status(); !fits.ok()) return named(fits);
    const auto file_bytes = static_cast<std::int64_t>(file->bytes().size());
    return named(PlanLlama(model, *header, file_bytes, options_.backends_dir, MemoryLeft()).status());
  }

  absl::Status Unload(std::string_view name, base::MonoTime deadline) override {
    for (const auto& replica : All()) {
      if (replica->HasAdapter(name)) return replica->RemoveAdapter(name, deadline);
    }
    std::shared_ptr<Replica> replica;
    {
      base::Lock lock(mu_);
      const auto it = std::find_if(replicas_.begin(), replicas_.end(), [name](const auto& r) { return r->info().name == name; });
      if (it == replicas_.end()) return NoSuchModel();
      replica = std::move(*it);
      replicas_.erase(it);
    }
    Close({replica}, deadline);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::int32_t>> Render(std::string_view model, std::span<const Turn> turns) const override {
    TG_ASSIGN(const Found found, Locate(model));
    return found.replica->Render(turns);
  }

  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view model, std::string_view text) const override {
    TG_ASSIGN(const Found found, Locate(model));
    return found.replica->Tokenize(text);
  }

  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::string_view model, std::span<const PromptPart> parts) const override {
    TG_ASSIGN(const Found found, Locate(model));
    return found.replica->RenderParts(parts);
  }

  absl::StatusOr<std::shared_ptr<TokenStream>> Submit(SequenceRequest request) override {
    TG_ASSIGN(Found found, Locate(request.model, request.fingerprint));
    return found.replica->Submit(std::move(request), std::move(found.adapters));
  }

  absl::StatusOr<std::vector<std::shared_ptr<TokenStream>>> SubmitGroup(SequenceRequest request,
                                                                        std::span<const std::uint64_t> seeds) override {
    TG_ASSIGN(const Found found, Locate(request.model, request.fingerprint));
    return found.replica->SubmitGroup(request, found.adapters, seeds);
  }

  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(std::string_view model, const EmbedText& text) const override {
    TG_ASSIGN(const Found found, Locate(model));
    return found.replica->EmbedTokens(text);
  }

  absl::StatusOr<std::string> TextOf(std::string_view model, std::span<const std::int32_t> tokens) const override {
    TG_ASSIGN(const Found found, Locate(model));
    return found.replica->TextOf(tokens);
  }

  absl::StatusOr<std::shared_ptr<TokenStream>> Embed(EmbedJob job) override {
    TG_ASSIGN(const Found found, Locate(job.model, job.fingerprint));
    return found.replica->Embed(std::move(job));
  }

  std::vector<ReplicaStats> stats() const override {
    std::vector<ReplicaStats> all;
    for (const auto& replica : All()) all.push_back(replica->stats());
    return all;
  }

  void Drain(base::MonoTime deadline) override {
    {
      base::Lock lock(mu_);
      draining_ = true;
    }
    Close(All(), deadline);
  }

 private:
  using Replicas = std::vector<std::shared_ptr<Replica>>;

  std::int64_t MemoryLeft() const {
    if (options_.memory_bytes == 0) return MemoryAvailable();
    std::int64_t memory = options_.memory_bytes;
    for (const auto& replica : All()) memory -= replica->infos().front().memory_bytes;
    return memory;
  }

  absl::StatusOr<std::unique_ptr<Replica>> Start(const ModelOptions& model) const {
    const std::int64_t memory = MemoryLeft();
    const auto factory = [&]() -> absl::StatusOr<std::unique_ptr<Engine>> {
      if (model.engine == EngineKind::kScripted) return MakeScriptedEngine(model, *options_.clock);
      if (model.engine == EngineKind::kOpenAi) {
        TG_ASSIGN(auto tokenizer, MakeLlamaTokenizer(model, options_.backends_dir));
        return MakeUpstreamEngine(model, std::move(tokenizer), *options_.clock);
      }
      return MakeLlamaEngine(model, options_.backends_dir, memory);
    };
    const int nice = options_.replica_nice + (model.pooling == Pooling::kNone ? 0 : kEmbedNice);
    return Replica::Start(model, *options_.clock, nice, factory);
  }

  // Lets what is inside end until the deadline, then ends it.
  void Close(const Replicas& replicas, base::MonoTime deadline) const {
    for (const auto& replica : replicas) replica->StopAdmission();
    for (const auto& replica : replicas) {
      while (options_.clock->Mono() < deadline && !replica->WaitIdle(std::chrono::milliseconds(5))) {
      }
    }
    for (const auto& replica : replicas) replica->Stop();
  }

  Replicas All() const {
    base::Lock lock(mu_);
    return replicas_;
  }

  static absl::Status NoSuchModel() {
    base::ErrorDetail detail;
    detail.reason = "MODEL_NOT_FOUND";
    detail.param = "model";
    detail.may_retry = false;
    return base::WithDetail(base::NotFound("no such model is loaded; ask for the list of models"), detail);
  }

  // A model, and the adapters that its name asks for.
  struct Found {
    std::shared_ptr<Replica> replica;
    AdaptersHeld adapters;

    ModelInfo info() const {
      ModelInfo its = replica->info();
      if (adapters.empty()) return its;
      its.base = std::exchange(its.name, NameOf(adapters));
      for (const auto& adapter : adapters) its.adapters.push_back(adapter->info);
      return its;
    }
  };

  // Of a request for what it was when the caller looked.
  absl::StatusOr<Found> Locate(std::string_view name, const std::string& fingerprint) const {
    TG_ASSIGN(Found found, Locate(name));
    if (fingerprint.empty() || FingerprintOf(found.info()) == fingerprint) return found;
    return base::WithDetail(base::Unavailable("the model was replaced while the request was looked at; send the request again"),
                            {.reason = "MODEL_CHANGED", .param = "model", .retry_after_ms = 1000});
  }

  absl::StatusOr<Found> Locate(std::string_view name) const {
    if (auto replica = ByName(name)) return Found{std::move(replica), {}};
    const base::AdapterNames parts = base::SplitAdapters(name);
    const auto replica = parts.adapters.empty() ? nullptr : ByName(parts.base);
    if (replica == nullptr) return NoSuchModel();
    TG_RETURN_IF_ERROR(parts.Check());
    TG_ASSIGN(AdaptersHeld adapters, replica->Adapters(parts.adapters));
    return Found{replica, std::move(adapters)};
  }

  std::shared_ptr<Replica> ByName(std::string_view model) const {
    base::Lock lock(mu_);
    const auto found = std::find_if(replicas_.begin(), replicas_.end(), [model](const auto& r) { return r->info().name == model; });
    return found == replicas_.end() ? nullptr : *found;
  }

  absl::StatusOr<std::shared_ptr<Replica>> BaseOf(const AdapterOptions& adapter) const {
    const base::AdapterNames parts = base::SplitAdapters(adapter.name);
    if (parts.base != adapter.base || parts.adapters.size() != 1)
      return About(adapter, base::InvalidArgument(fmt::format("its name must be {}:ADAPTER, of letters, digits and . _ -", adapter.base)));
    if (!(adapter.scale > 0 && adapter.scale <= 16))
      return About(adapter, base::InvalidArgument(fmt::format("its scale is {}; it must be more than 0 and at most 16", adapter.scale)));
    if (auto replica = ByName(adapter.base)) return replica;
    return About(adapter, base::NotFound(fmt::format("its model {0} is not loaded; load that first: tollgate models load {0}", adapter.base)));
  }

  static absl::Status About(const AdapterOptions& adapter, const absl::Status& status) {
    return base::Annotate(status, fmt::format("adapter {}", adapter.name));
  }

  const PoolOptions options_;
  base::Mutex load_mu_;  // Held while a model loads: what two need in memory is reckoned one after the other.
  mutable base::Mutex mu_;
  Replicas replicas_ GUARDED_BY(mu_);
  bool draining_ GUARDED_BY(mu_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Pool>> Pool::Create(PoolOptions options) {
  std::vector<ModelOptions> models = std::move(options.models);
  auto pool = std::make_unique<PoolOfReplicas>(std::move(options));
  for (ModelOptions& model : models) TG_RETURN_IF_ERROR(pool->Load(std::move(model)));
  return pool;
}

absl::StatusOr<base::Digest> DigestOfFile(const std::string& path) {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(path));
  return base::Sha256(file.bytes());
}

std::string FingerprintOf(const ModelInfo& model) {
  std::vector<std::string> adapters;
  for (const AdapterInfo& adapter : model.adapters)
    adapters.push_back(fmt::format("|{}={}*{}", adapter.name, base::HexEncode(base::View(adapter.sha256)), adapter.scale));
  std::sort(adapters.begin(), adapters.end());
  std::string out = base::HexEncode(base::View(model.sha256));
  for (const std::string& adapter : adapters) out += adapter;
  return out;
}

std::string_view Name(EndReason reason) {
  switch (reason) {
    case EndReason::kStop: return "stop";
    case EndReason::kLength: return "length";
    case EndReason::kAllowance: return "allowance";
    case EndReason::kCancelled: return "cancelled";
    case EndReason::kDeadline: return "deadline";
    case EndReason::kQueueTimeout: return "queue_timeout";
    case EndReason::kEngineFailed: return "engine_failed";
    case EndReason::kShutdown: return "shutdown";
  }
  return "unknown";
}

}  // namespace tollgate::inference
