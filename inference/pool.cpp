// How it works. A list of replicas behind a short lock; all work is theirs. Options are checked here, before anything is loaded. A replica
// that is taken out is found by what goes on there alone, as long as it drains. It lives on until the last call that found it has returned;
// its sequences were ended and its thread joined before.
//
// Tested by tests/inference/pool_test.cpp, tests/inference/pool_limits_test.cpp, tests/inference/load_test.cpp.
#include "inference/pool.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/adapter_names.h"
#include "base/error_detail.h"
#include "base/mutex.h"
#include "inference/found_model.h"
#include "inference/make_engine.h"
#include "inference/make_pool.h"
#include "inference/mapped_file.h"
#include "inference/memory_estimate.h"
#include "inference/model_checks.h"
#include "inference/replica.h"
#include "inference/worker/worker_engine.h"

namespace tollgate::inference {
namespace {

// A model that embeds, and strict answers, give way to other chats: where they share processors, their threads are so much nicer.
constexpr int kGivesWayNice = 10;

class PoolOfReplicas final : public Pool {
 public:
  PoolOfReplicas(PoolOptions options, std::function<std::int64_t()> memory_available)
      : options_(std::move(options)), memory_(options_.memory_bytes, std::move(memory_available)) {}

  ~PoolOfReplicas() override {
    for (const auto& replica : All()) replica->Stop();
  }

  std::vector<ModelInfo> models() const override {
    std::vector<ModelInfo> infos;
    const Replicas all = All();
    for (const auto& replica : all) {
      if (IsStrict(*replica)) continue;
      const auto strict = StrictBeside(all, *replica);
      for (ModelInfo& info : replica->infos()) AddStrict(strict.get(), infos.emplace_back(std::move(info)));
    }
    return infos;
  }

  absl::StatusOr<ModelInfo> Find(std::string_view name) const override {
    TG_ASSIGN(const FoundModel found, Locate(name));
    ModelInfo info = found.info();
    AddStrict(StrictBeside(All(), *found.replica).get(), info);
    return info;
  }

  absl::Status LoadAdapter(AdapterOptions adapter) override {
    base::Lock one_at_a_time(load_mu_);
    TG_ASSIGN(const auto replica, BaseOf(adapter));
    if (replica->HasAdapter(adapter.name)) return About(adapter, base::AlreadyExists("it is loaded: unload it first"));
    const auto strict = StrictBeside(All(), *replica);
    if (strict != nullptr) TG_RETURN_IF_ERROR(About(adapter, AboutStrict(Add(*strict, adapter))));
    const absl::Status added = Add(*replica, adapter);
    if (!added.ok() && strict != nullptr) strict->RemoveAdapter(adapter.name, options_.clock->Mono()).IgnoreError();
    return About(adapter, added);
  }

  absl::Status CheckAdapter(const AdapterOptions& adapter) const override {
    TG_ASSIGN(const auto replica, BaseOf(adapter));
    const std::int64_t left = MemoryLeft();
    const auto info = replica->CheckAdapter(adapter, left);
    const auto strict = StrictBeside(All(), *replica);
    if (!info.ok() || strict == nullptr) return About(adapter, info.status());
    return About(adapter, AboutStrict(strict->CheckAdapter(adapter, left - info->memory_bytes).status()));
  }

  absl::Status Load(ModelOptions model) override {
    const auto named = [&model](const absl::Status& status) { return base::Annotate(status, fmt::format("model {}", model.name)); };
    if (absl::Status status = CheckModel(model); !status.ok()) return named(status);
    base::Lock one_at_a_time(load_mu_);
    if (Locate(model.name).ok())
      return named(base::AlreadyExists("it stands twice: give it another name, or unload the one that is there"));
    ModelOptions shared = model;
    shared.strict = false;
    auto replica = Start(shared, 0);
    if (!replica.ok()) return named(replica.status());
    if (const std::string& has = (*replica)->info().chat_template; !model.chat_template.empty() && has != model.chat_template) {
      return named(base::FailedPrecondition(
          fmt::format("it is registered with the chat template {}, and has {}: register what it has", model.chat_template, has)));
    }
    std::shared_ptr<Replica> strict;
    if (model.strict) {
      auto started = Start(StrictOf(model), (*replica)->info().memory_bytes);  // It is on no list yet.
      if (!started.ok()) return named(AboutStrict(started.status()));
      strict = *std::move(started);
    }
    {
      base::Lock lock(mu_);
      if (!draining_) {
        replicas_.push_back(*std::move(replica));
        if (strict != nullptr) replicas_.push_back(std::move(strict));
        return absl::OkStatus();
      }
    }
    return named(base::Unavailable("the server is shutting down"));
  }

  absl::Status Check(const ModelOptions& model) const override {
    const auto named = [&model](const absl::Status& status) { return base::Annotate(status, fmt::format("model {}", model.name)); };
    if (absl::Status status = CheckModel(model); !status.ok()) return named(status);
    return named(Isolated(model) ? CheckInWorker(model, WorkerHostNow(model)) : CheckEngine(model, HostNow()));
  }

  absl::Status Unload(std::string_view name, base::MonoTime deadline) override {
    bool adapter = false;
    for (const auto& replica : All()) {
      if (!replica->HasAdapter(name)) continue;
      TG_RETURN_IF_ERROR(replica->RemoveAdapter(name, deadline));
      adapter = true;
    }
    if (adapter) return absl::OkStatus();
    Replicas out;
    {
      base::Lock lock(mu_);
      const auto is_it = [name](const auto& r) { return r->info().name == name; };
      std::copy_if(replicas_.begin(), replicas_.end(), std::back_inserter(out), is_it);
      std::erase_if(replicas_, is_it);
      leaving_.insert(leaving_.end(), out.begin(), out.end());
    }
    if (out.empty()) return NoSuchModel();
    Close(out, deadline);
    base::Lock lock(mu_);
    std::erase_if(leaving_, [&out](const auto& r) { return std::find(out.begin(), out.end(), r) != out.end(); });
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::int32_t>> Render(std::string_view model, std::span<const Turn> turns) const override {
    TG_ASSIGN(const FoundModel found, Locate(model));
    return found.replica->Render(turns);
  }

  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view model, std::string_view text) const override {
    TG_ASSIGN(const FoundModel found, Locate(model));
    return found.replica->Tokenize(text);
  }

  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::string_view model, std::span<const PromptPart> parts) const override {
    TG_ASSIGN(const FoundModel found, Locate(model));
    return found.replica->RenderParts(parts);
  }

  absl::StatusOr<std::shared_ptr<TokenStream>> Submit(SequenceRequest request) override {
    TG_ASSIGN(FoundModel found, request.goes_on ? LocateRest(request) : Locate(request.model));
    if (request.strict && !IsStrict(*found.replica)) {
      TG_ASSIGN(found, FindStrict(All(), found, request.goes_on));
    }
    TG_RETURN_IF_ERROR(Expect(found, request.fingerprint));
    return found.replica->Submit(std::move(request), std::move(found.adapters));
  }

  absl::StatusOr<std::vector<std::shared_ptr<TokenStream>>> SubmitGroup(SequenceRequest request,
                                                                        std::span<const std::uint64_t> seeds) override {
    if (request.strict) return base::InvalidArgument("strict answers are made one by one, not as a group");
    TG_ASSIGN(const FoundModel found, Locate(request.model));
    TG_RETURN_IF_ERROR(Expect(found, request.fingerprint));
    return found.replica->SubmitGroup(request, found.adapters, seeds);
  }

  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(std::string_view model, const EmbedText& text) const override {
    TG_ASSIGN(const FoundModel found, Locate(model));
    return found.replica->EmbedTokens(text);
  }

  absl::StatusOr<std::string> TextOf(std::string_view model, std::span<const std::int32_t> tokens) const override {
    TG_ASSIGN(const FoundModel found, Locate(model));
    return found.replica->TextOf(tokens);
  }

  absl::StatusOr<std::shared_ptr<TokenStream>> Embed(EmbedJob job) override {
    TG_ASSIGN(const FoundModel found, Locate(job.model));
    TG_RETURN_IF_ERROR(Expect(found, job.fingerprint));
    return found.replica->Embed(std::move(job));
  }

  bool Takes(std::string_view model, const base::TeamId& tenant, int sequences) const override {
    const auto found = Locate(model);
    return found.ok() && found->replica->Takes(tenant, sequences);
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
  bool Isolated(const ModelOptions& model) const {
    return options_.isolation == Isolation::kProcess && model.engine != EngineKind::kOpenAi;
  }

  // Beside what is loaded, and `taken_bytes`.
  std::int64_t MemoryLeft(std::int64_t taken_bytes = 0) const {
    for (const auto& replica : All()) taken_bytes += replica->infos().front().memory_bytes;
    return memory_.Left(taken_bytes);
  }

  EngineHost HostNow(std::int64_t taken_bytes = 0) const {
    return {
        .backends_dir = options_.backends_dir, .memory_bytes = MemoryLeft(taken_bytes), .clock = options_.clock, .go_on = options_.go_on};
  }

  int NiceOf(const ModelOptions& model) const {
    const bool computes = model.engine != EngineKind::kOpenAi;
    return options_.replica_nice + (computes && (model.pooling != Pooling::kNone || model.strict) ? kGivesWayNice : 0);
  }

  // In a process of its own it is the computing there that has lower priority, not what waits for it here.
  WorkerHost WorkerHostNow(const ModelOptions& model, std::int64_t taken_bytes = 0) const {
    WorkerHost host{.options = options_.worker,
                    .backends_dir = options_.backends_dir,
                    .memory_bytes = MemoryLeft(taken_bytes),
                    .memory_bytes_again = std::nullopt,
                    .nice = NiceOf(model),
                    .go_on = options_.go_on};
    if (options_.memory_bytes != 0) host.memory_bytes_again = host.memory_bytes;
    return host;
  }

  absl::StatusOr<std::unique_ptr<Replica>> Start(const ModelOptions& model, std::int64_t taken_bytes) const {
    if (Isolated(model)) {
      const WorkerHost host = WorkerHostNow(model, taken_bytes);
      return Replica::Start(model, *options_.clock, 0, [&] { return MakeWorkerEngine(model, host); });
    }
    const EngineHost host = HostNow(taken_bytes);
    return Replica::Start(model, *options_.clock, NiceOf(model), [&] { return MakeEngine(model, host); });
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

  absl::StatusOr<FoundModel> Locate(std::string_view name) const { return FindModel(All(), name); }

  // Of what goes on for another sequence: where its place is kept, though that is being unloaded.
  absl::StatusOr<FoundModel> LocateRest(const SequenceRequest& request) const {
    Replicas leaving;
    {
      base::Lock lock(mu_);
      leaving = leaving_;
    }
    std::erase_if(leaving, [&](const auto& r) { return IsStrict(*r) != request.strict || !r->Keeps(request.tenant); });
    auto found = FindModel(leaving, request.model, {.goes_on = true, .strict = request.strict});
    return found.ok() ? std::move(found) : FindModel(All(), request.model, {.goes_on = true});
  }

  // REQUIRES: load_mu_ is held.
  absl::Status Add(Replica& replica, const AdapterOptions& adapter) const {
    TG_ASSIGN(const AdapterInfo info, replica.CheckAdapter(adapter, MemoryLeft()));
    return replica.AddAdapter(adapter, info);
  }

  absl::StatusOr<std::shared_ptr<Replica>> BaseOf(const AdapterOptions& adapter) const {
    const base::AdapterNames parts = base::SplitAdapters(adapter.name);
    if (parts.base != adapter.base || parts.adapters.size() != 1)
      return About(adapter, base::InvalidArgument(fmt::format("its name must be {}:ADAPTER, of letters, digits and . _ -", adapter.base)));
    if (!(adapter.scale > 0 && adapter.scale <= 16))
      return About(adapter, base::InvalidArgument(fmt::format("its scale is {}; it must be more than 0 and at most 16", adapter.scale)));
    if (auto found = FindModel(All(), adapter.base); found.ok() && found->adapters.empty()) return std::move(found->replica);
    return About(adapter,
                 base::NotFound(fmt::format("its model {0} is not loaded; load that first: tollgate models load {0}", adapter.base)));
  }

  static absl::Status About(const AdapterOptions& adapter, const absl::Status& status) {
    return base::Annotate(status, fmt::format("adapter {}", adapter.name));
  }

  const PoolOptions options_;
  const MemoryLimit memory_;
  base::Mutex load_mu_;  // Held while a model loads: what two need in memory is reckoned one after the other.
  mutable base::Mutex mu_;
  Replicas replicas_ GUARDED_BY(mu_);
  Replicas leaving_ GUARDED_BY(mu_);  // Taken out; what runs there may end.
  bool draining_ GUARDED_BY(mu_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Pool>> CreatePool(PoolOptions options, std::function<std::int64_t()> memory_available) {
  std::vector<ModelOptions> models = std::move(options.models);
  auto pool = std::make_unique<PoolOfReplicas>(std::move(options), std::move(memory_available));
  for (ModelOptions& model : models) TG_RETURN_IF_ERROR(pool->Load(std::move(model)));
  return pool;
}

absl::StatusOr<std::unique_ptr<Pool>> Pool::Create(PoolOptions options) {
  return CreatePool(std::move(options), [] { return MemoryAvailable(); });
}

absl::StatusOr<base::Digest> DigestOfFile(const std::string& path, const std::function<bool()>& go_on) {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(path));
  return file.Digest(go_on);
}

}  // namespace tollgate::inference
