// How it works. A map from names to replicas, constant once made; all work is theirs. Options are checked here, before anything is loaded.
//
// Tested by tests/inference/pool_test.cpp, tests/inference/pool_limits_test.cpp.
#include "inference/pool.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "inference/engines/llama.h"
#include "inference/engines/script_engine.h"
#include "inference/mapped_file.h"
#include "inference/replica.h"

namespace tollgate::inference {
namespace {

absl::Status CheckRange(const char* field, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return base::InvalidArgument(fmt::format("{} is {}; it must be between {} and {}", field, value, least, most));
}

absl::Status CheckModel(const ModelOptions& model) {
  if (model.name.empty()) return base::InvalidArgument("it has no name");
  if (model.engine == EngineKind::kLlama && model.file.empty()) return base::InvalidArgument("it names no file");
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

class PoolOfReplicas final : public Pool {
 public:
  static absl::StatusOr<std::unique_ptr<Pool>> Make(const PoolOptions& options) {
    auto pool = std::unique_ptr<PoolOfReplicas>(new PoolOfReplicas(*options.clock));
    std::set<std::string> names;
    for (const ModelOptions& model : options.models) {
      absl::Status status = CheckModel(model);
      if (status.ok() && !names.insert(model.name).second) status = base::InvalidArgument("it stands twice");
      if (status.ok()) status = pool->Load(model, options);
      if (!status.ok()) return base::Annotate(status, fmt::format("model {}", model.name));
    }
    return pool;
  }

  ~PoolOfReplicas() override {
    for (const auto& replica : replicas_) replica->Stop();
  }

  std::vector<ModelInfo> models() const override {
    std::vector<ModelInfo> infos;
    for (const auto& replica : replicas_) infos.push_back(replica->info());
    return infos;
  }

  absl::StatusOr<std::vector<std::int32_t>> Render(std::string_view model, std::span<const Turn> turns) const override {
    TG_ASSIGN(const Replica* replica, Find(model));
    return replica->Render(turns);
  }

  absl::StatusOr<std::shared_ptr<TokenStream>> Submit(SequenceRequest request) override {
    TG_ASSIGN(Replica * replica, Find(request.model));
    return replica->Submit(std::move(request));
  }

  std::vector<ReplicaStats> stats() const override {
    std::vector<ReplicaStats> all;
    for (const auto& replica : replicas_) all.push_back(replica->stats());
    return all;
  }

  void Drain(base::MonoTime deadline) override {
    for (const auto& replica : replicas_) replica->StopAdmission();
    for (const auto& replica : replicas_) {
      while (clock_.Mono() < deadline && !replica->WaitIdle(std::chrono::milliseconds(5))) {
      }
    }
    for (const auto& replica : replicas_) replica->Stop();
  }

 private:
  explicit PoolOfReplicas(const base::Clock& clock) : clock_(clock) {}

  absl::Status Load(const ModelOptions& model, const PoolOptions& options) {
    const auto factory = [&]() -> absl::StatusOr<std::unique_ptr<Engine>> {
      if (model.engine == EngineKind::kScripted) return MakeScriptedEngine(model, clock_);
      return MakeLlamaEngine(model, options.backends_dir);
    };
    TG_ASSIGN(auto replica, Replica::Start(model, clock_, options.replica_nice, factory));
    replicas_.push_back(std::move(replica));
    return absl::OkStatus();
  }

  absl::StatusOr<Replica*> Find(std::string_view model) const {
    for (const auto& replica : replicas_) {
      if (replica->info().name == model) return replica.get();
    }
    base::ErrorDetail detail;
    detail.reason = "MODEL_NOT_FOUND";
    detail.param = "model";
    detail.may_retry = false;
    return base::WithDetail(base::NotFound("no such model is loaded; ask for the list of models"), detail);
  }

  const base::Clock& clock_;
  std::vector<std::unique_ptr<Replica>> replicas_;  // Constant once made.
};

}  // namespace

absl::StatusOr<std::unique_ptr<Pool>> Pool::Create(PoolOptions options) { return PoolOfReplicas::Make(options); }

absl::StatusOr<base::Digest> DigestOfFile(const std::string& path) {
  TG_ASSIGN(const MappedFile file, MappedFile::Open(path));
  return base::Sha256(file.bytes());
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
