// How it works. The replica's thread takes the process that there is, sends a call and waits for its answer, one at a time. Each process
// has a number, and each open slot that of the process that it was opened in: in a later one the slot is not there, and whoever asks for it
// is told. Answers are looked at before they are believed: a process that computes on what callers wrote may say anything. While nothing
// runs, the process is asked whether it is alive.
//
// Adapters have handles of this side, which outlive processes: to each new one they are added again, before anything else is asked of it,
// and by its own handles it is asked. One at whose adding a process ended twice is left out, so that it cannot end every one that comes.
// A model that embeds keeps nothing in its process between two steps: what runs there is the step's inputs alone.
//
// Tested by tests/inference/worker_test.cpp, tests/inference/worker_jobs_test.cpp, tests/inference/worker_faults_test.cpp.
#include "inference/worker/worker_engine.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/diagnostics.h"
#include "inference/make_engine.h"
#include "inference/worker/keeper.h"
#include "inference/worker/messages.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPingEvery{1000};
constexpr std::size_t kTokenBytesMax = 4096;
constexpr int kTopMax = 64;
constexpr std::int64_t kDimensionsMax = 1 << 16;
constexpr float kVectorMax = 1.001F;  // Of a number in a vector of length 1, as it was rounded.
constexpr int kAddsThatEndedMax = 2;

class WorkerEngine final : public Engine {
 public:
  WorkerEngine(const ModelOptions& model, const WorkerHost& host)
      : model_(model), options_(host.options), keeper_(model, host), opened_in_(static_cast<std::size_t>(model.slots), 0) {}

  absl::Status Start() {
    TG_RETURN_IF_ERROR(keeper_.Start());
    const auto worker = keeper_.Now();
    if (worker == nullptr) return keeper_.Ready();
    info_ = FromMessage(worker->started, model_);
    step_tokens_max_ = worker->started.step_tokens_max();
    if (info_.slots != model_.slots || info_.kv_tokens != model_.kv_tokens || info_.context_tokens != model_.context_tokens ||
        info_.vocab_tokens < 1 || step_tokens_max_ < 1)
      return base::Internal("the model's process loaded something else than it was told to");
    if (Embeds() && (info_.dimensions < 1 || info_.dimensions > kDimensionsMax))
      return base::Internal(fmt::format("the model's process says that its vectors have {} dimensions", info_.dimensions));
    TG_ASSIGN(prompts_, MakePromptSide(model_, info_));
    return absl::OkStatus();
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return step_tokens_max_; }
  std::int64_t cache_bytes() const override { return cache_bytes_; }
  std::int64_t device_sampled() const override { return device_sampled_; }
  std::int64_t restarts() const override { return keeper_.restarts(); }
  absl::Status Ready() const override { return keeper_.Ready(); }

  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return prompts_->Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override {
    return prompts_->RenderParts(parts);
  }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override { return prompts_->Tokenize(text); }
  absl::StatusOr<std::shared_ptr<CheckedGrammar>> CheckGrammar(std::string_view gbnf) const override {
    TG_RETURN_IF_ERROR(prompts_->CheckGrammar(gbnf).status());
    return nullptr;
  }
  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& text) const override { return prompts_->EmbedTokens(text); }
  absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> tokens) const override { return prompts_->TextOf(tokens); }
  absl::StatusOr<AdapterInfo> CheckAdapter(const AdapterOptions& adapter, std::int64_t memory_bytes) const override {
    return prompts_->CheckAdapter(adapter, memory_bytes);
  }

  absl::Status SlotStatus(int slot) const override {
    const std::int64_t in = opened_in_[static_cast<std::size_t>(slot)];
    if (in == 0) return absl::OkStatus();
    const auto worker = keeper_.Now();
    return worker != nullptr && worker->number == in ? absl::OkStatus() : keeper_.Lost();
  }

  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override {
    if (Embeds()) return EngineOpened{};
    TG_RETURN_IF_ERROR(Take());
    TG_RETURN_IF_ERROR(Translate(sequence.adapters));
    EngineSequence there = sequence;
    there.adapters = handles_;
    call_.mutable_open()->set_slot(slot);
    ToMessage(there, *call_.mutable_open());
    TG_RETURN_IF_ERROR(Ask());
    opened_in_[static_cast<std::size_t>(slot)] = worker_->number;
    const EngineOpened opened{reply_.opened().cached_tokens(), reply_.opened().published_tokens()};
    const auto prompt = static_cast<std::int64_t>(sequence.prompt_tokens.size());
    const bool sound = opened.cached_tokens >= 0 && opened.published_tokens >= 0 && opened.cached_tokens < prompt &&
                       opened.published_tokens < prompt - opened.cached_tokens;
    if (!sound) return NoAnswer();
    return opened;
  }

  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override {
    TG_RETURN_IF_ERROR(Take());
    v1::WorkerStep& step = *call_.mutable_step();
    asked_.assign(opened_in_.size(), false);
    for (const EngineWork& item : work) {
      if (IsHere(item.slot)) {
        asked_[static_cast<std::size_t>(item.slot)] = true;
        ToMessage(item, *step.add_work());
      } else {
        outputs.emplace_back().slot = item.slot;
        outputs.back().status = keeper_.Lost();
      }
    }
    if (step.work().empty()) return absl::OkStatus();
    TG_RETURN_IF_ERROR(Ask());
    tops_.resize(std::max(tops_.size(), static_cast<std::size_t>(reply_.outputs_size())));
    for (int i = 0; i < reply_.outputs_size(); ++i) {
      outputs.push_back(FromMessage(reply_.outputs(i), tops_[static_cast<std::size_t>(i)]));
      if (!IsSound(outputs.back())) return NoAnswer();
      asked_[static_cast<std::size_t>(outputs.back().slot)] = false;  // Once a step.
    }
    return absl::OkStatus();
  }

  absl::Status Rewind(int slot, std::int64_t output_tokens, std::span<const std::int32_t> banned) override {
    TG_RETURN_IF_ERROR(Take());
    if (!IsHere(slot)) return keeper_.Lost();
    v1::WorkerRewind& rewind = *call_.mutable_rewind();
    rewind.set_slot(slot);
    rewind.set_output_tokens(output_tokens);
    rewind.mutable_banned()->Assign(banned.begin(), banned.end());
    return Ask();
  }

  std::int64_t Share(int from, int to) override {
    if (!Take().ok() || !IsHere(from) || !IsHere(to)) return 0;
    call_.mutable_share()->set_from(from);
    call_.mutable_share()->set_to(to);
    return Ask().ok() ? std::clamp<std::int64_t>(reply_.shared_tokens(), 0, model_.context_tokens) : 0;
  }

  absl::StatusOr<std::int64_t> Suspend(int slot, std::int64_t bytes_max) override {
    TG_RETURN_IF_ERROR(Take());
    if (!IsHere(slot)) return keeper_.Lost();
    call_.mutable_suspend()->set_slot(slot);
    call_.mutable_suspend()->set_bytes_max(bytes_max);
    TG_RETURN_IF_ERROR(Ask());
    return reply_.suspended_bytes() < 0 || reply_.suspended_bytes() > bytes_max ? NoAnswer()
                                                                                : absl::StatusOr<std::int64_t>(reply_.suspended_bytes());
  }

  absl::StatusOr<std::int64_t> Resume(int slot) override {
    TG_RETURN_IF_ERROR(Take());
    if (!IsHere(slot)) return keeper_.Lost();
    call_.mutable_resume()->set_slot(slot);
    TG_RETURN_IF_ERROR(Ask());
    return reply_.redo_tokens() < 0 || reply_.redo_tokens() > model_.context_tokens ? NoAnswer()
                                                                                    : absl::StatusOr<std::int64_t>(reply_.redo_tokens());
  }

  void Close(int slot) override {
    const bool here = Take().ok() && IsHere(slot);
    opened_in_[static_cast<std::size_t>(slot)] = 0;
    if (!here) return;
    call_.mutable_close()->set_slot(slot);
    Ask().IgnoreError();  // One that cannot is given up, and the slot with it.
  }

  absl::Status Embed(std::span<const std::span<const std::int32_t>> inputs, std::vector<float>& vectors) override {
    TG_RETURN_IF_ERROR(Take());
    for (const auto& input : inputs) call_.mutable_embed()->add_inputs()->mutable_tokens()->Assign(input.begin(), input.end());
    TG_RETURN_IF_ERROR(Ask());
    const float least = info_.reranks() ? 0 : -kVectorMax, most = info_.reranks() ? 1 : kVectorMax;
    const auto& numbers = reply_.vectors();
    const bool sound = numbers.size() == std::ssize(inputs) * info_.dimensions &&
                       std::all_of(numbers.begin(), numbers.end(), [&](float number) { return number >= least && number <= most; });
    if (!sound) return NoAnswer();
    vectors.insert(vectors.end(), numbers.begin(), numbers.end());
    return absl::OkStatus();
  }

  absl::StatusOr<int> AddAdapter(const AdapterOptions& options) override {
    TG_RETURN_IF_ERROR(Take());
    Adapter adapter{.options = options};
    TG_RETURN_IF_ERROR(Add(adapter));
    TG_RETURN_IF_ERROR(adapter.status);
    adapters_.emplace(++last_adapter_, std::move(adapter));
    return last_adapter_;
  }

  void RemoveAdapter(int handle) override {
    const auto found = adapters_.find(handle);
    if (found == adapters_.end()) return;
    const Adapter adapter = std::move(found->second);
    adapters_.erase(found);
    if (!Take().ok() || adapter.there == 0 || adapter.asked != worker_->number) return;
    call_.mutable_remove_adapter()->set_handle(adapter.there);
    Ask().IgnoreError();  // In a process that cannot it goes with the process.
  }

  std::chrono::microseconds Idle() override {
    const bool due = base::SystemClock().Mono() - asked_at_ >= kPingEvery;
    if (due && Take().ok()) {
      call_.mutable_ping();
      Ask().IgnoreError();
    }
    return kPingEvery;
  }

  void Interrupt() override { keeper_.Stop(); }

 private:
  struct Adapter {
    AdapterOptions options;
    std::int64_t asked = 0;  // The number of the process that was asked to add it last,
    int there = 0;           // its handle in that one; 0: it was not added there,
    absl::Status status{};   // for this reason.
    int ended = 0;           // Times in a row that a process ended instead of adding it.
  };

  bool Embeds() const { return info_.pooling != Pooling::kNone; }

  // The process for the call that comes, with all adapters.
  absl::Status Take() {
    worker_ = keeper_.Now();
    if (worker_ == nullptr) {
      cache_bytes_ = 0;
      return keeper_.Ready().ok() ? keeper_.Lost() : keeper_.Ready();
    }
    for (auto& [handle, adapter] : adapters_) {
      if (adapter.asked == worker_->number) continue;
      TG_RETURN_IF_ERROR(Add(adapter));
      if (!adapter.status.ok())
        base::Error("inference", "{} is missing in its model's new process: {}", adapter.options.name, base::Message(adapter.status));
    }
    call_.Clear();
    return absl::OkStatus();
  }

  // Not OK: the process ended. That it would not take the adapter says the adapter's status.
  absl::Status Add(Adapter& adapter) {
    adapter.asked = worker_->number;
    adapter.there = 0;
    if (adapter.ended >= kAddsThatEndedMax) return absl::OkStatus();
    call_.Clear();
    ToMessage(adapter.options, *call_.mutable_add_adapter());
    adapter.status = Ask();
    if (!answered_) {
      if (++adapter.ended == kAddsThatEndedMax) adapter.status = base::FailedPrecondition("the process ended each time that it was added");
      return keeper_.Lost();
    }
    adapter.ended = 0;
    if (!adapter.status.ok()) return absl::OkStatus();
    adapter.there = reply_.adapter();
    return adapter.there > 0 ? absl::OkStatus() : NoAnswer();
  }

  // What `adapters` are in this process, into handles_.
  absl::Status Translate(std::span<const int> adapters) {
    handles_.clear();
    for (const int handle : adapters) {
      const auto found = adapters_.find(handle);
      if (found == adapters_.end()) return base::Internal("a sequence is to be opened with an adapter that is not loaded");
      const Adapter& adapter = found->second;
      if (adapter.there == 0) {
        return base::FailedPrecondition(
            fmt::format("{} is missing since its model's process was started again ({}): unload it, mend that, and load it",
                        adapter.options.name, base::Message(adapter.status)));
      }
      handles_.push_back(adapter.there);
    }
    std::sort(handles_.begin(), handles_.end());
    return absl::OkStatus();
  }

  bool IsHere(int slot) const { return opened_in_[static_cast<std::size_t>(slot)] == worker_->number; }

  absl::Status Ask() {
    absl::Status status = AskWorker(worker_->socket, call_, options_.hung_after, options_.silent_max, reply_, answered_);
    asked_at_ = base::SystemClock().Mono();
    if (!answered_) {
      keeper_.GiveUp(*worker_, base::Message(status));
      return keeper_.Lost();
    }
    if (status.ok()) {
      cache_bytes_ = reply_.cache_bytes();
      device_sampled_ = reply_.device_sampled();
    }
    return status;
  }

  absl::Status NoAnswer() {
    keeper_.GiveUp(*worker_, "answered what is no answer");
    return keeper_.Lost();
  }

  // Of a slot that was asked about, and nothing that the pool would not have given itself.
  bool IsSound(const EngineOutput& output) const {
    if (output.slot < 0 || output.slot >= model_.slots || !asked_[static_cast<std::size_t>(output.slot)]) return false;
    const auto is_token = [this](std::int32_t token) { return token >= 0 && token < info_.vocab_tokens; };
    if (output.token < -1 || output.token >= info_.vocab_tokens || output.bytes.size() > kTokenBytesMax) return false;
    return std::ssize(output.top) <= kTopMax && std::all_of(output.top.begin(), output.top.end(), [&](const EngineAlternative& other) {
             return is_token(other.token) && other.bytes.size() <= kTokenBytesMax;
           });
  }

  const ModelOptions model_;
  const WorkerOptions options_;
  WorkerKeeper keeper_;
  ModelInfo info_;  // This and the next two are constant after Start.
  std::int64_t step_tokens_max_ = 0;
  std::unique_ptr<PromptSide> prompts_;

  // The replica's thread only.
  std::vector<std::int64_t> opened_in_;  // By slot: the number of the process that it is open in; 0: closed.
  std::vector<bool> asked_;              // By slot: whether an answer of the step is to come for it.
  std::map<int, Adapter> adapters_;      // By the handle that this side gave.
  int last_adapter_ = 0;
  std::vector<int> handles_;        // Scratch of Translate.
  std::shared_ptr<Worker> worker_;  // Of the call that is under way.
  bool answered_ = false;           // Whether it answered.
  v1::WorkerCall call_;
  v1::WorkerReply reply_;                             // What was given last points into it,
  std::vector<std::vector<EngineAlternative>> tops_;  // and here.
  std::int64_t cache_bytes_ = 0;
  std::int64_t device_sampled_ = 0;
  base::MonoTime asked_at_{};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeWorkerEngine(const ModelOptions& model, const WorkerHost& host) {
  auto engine = std::make_unique<WorkerEngine>(model, host);
  TG_RETURN_IF_ERROR(engine->Start());
  return engine;
}

}  // namespace tollgate::inference
