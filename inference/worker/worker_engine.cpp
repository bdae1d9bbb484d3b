// How it works. The replica's thread takes the process that there is, sends a call and waits for its answer, one at a time. Each process
// has a number, and each open slot that of the process that it was opened in: in a later one the slot is not there, and whoever asks for it
// is told. Answers are looked at before they are believed: a process that computes on what callers wrote may say anything. While nothing
// runs, the process is asked whether it is alive.
//
// Tested by tests/inference/worker_test.cpp, tests/inference/worker_faults_test.cpp.
#include "inference/worker/worker_engine.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/clock.h"
#include "inference/make_engine.h"
#include "inference/worker/keeper.h"
#include "inference/worker/messages.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPingEvery{1000};
constexpr std::size_t kTokenBytesMax = 4096;
constexpr int kTopMax = 64;

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
    if (info_.slots != model_.slots || info_.context_tokens != model_.context_tokens || info_.vocab_tokens < 1 || step_tokens_max_ < 1)
      return base::Internal("the model's process loaded something else than it was told to");
    TG_ASSIGN(prompts_, MakePromptSide(model_));
    return absl::OkStatus();
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return step_tokens_max_; }
  std::int64_t cache_bytes() const override { return cache_bytes_; }
  std::int64_t restarts() const override { return keeper_.restarts(); }
  absl::Status Ready() const override { return keeper_.Ready(); }

  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return prompts_->Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override {
    return prompts_->RenderParts(parts);
  }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override { return prompts_->Tokenize(text); }
  absl::Status CheckGrammar(std::string_view gbnf) const override { return prompts_->CheckGrammar(gbnf); }

  absl::Status SlotStatus(int slot) const override {
    const std::int64_t in = opened_in_[static_cast<std::size_t>(slot)];
    if (in == 0) return absl::OkStatus();
    const auto worker = keeper_.Now();
    return worker != nullptr && worker->number == in ? absl::OkStatus() : keeper_.Lost();
  }

  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override {
    TG_RETURN_IF_ERROR(Take());
    call_.mutable_open()->set_slot(slot);
    ToMessage(sequence, *call_.mutable_open());
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

  void Close(int slot) override {
    const bool here = Take().ok() && IsHere(slot);
    opened_in_[static_cast<std::size_t>(slot)] = 0;
    if (!here) return;
    call_.mutable_close()->set_slot(slot);
    Ask().IgnoreError();  // One that cannot is given up, and the slot with it.
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
  // The process for the call that comes.
  absl::Status Take() {
    worker_ = keeper_.Now();
    if (worker_ == nullptr) {
      cache_bytes_ = 0;
      return keeper_.Ready().ok() ? keeper_.Lost() : keeper_.Ready();
    }
    call_.Clear();
    return absl::OkStatus();
  }

  bool IsHere(int slot) const { return opened_in_[static_cast<std::size_t>(slot)] == worker_->number; }

  absl::Status Ask() {
    bool sound = false;
    absl::Status status = AskWorker(worker_->socket, call_, options_.hung_after, options_.silent_max, reply_, sound);
    asked_at_ = base::SystemClock().Mono();
    if (!sound) {
      keeper_.GiveUp(*worker_, base::Message(status));
      return keeper_.Lost();
    }
    if (status.ok()) cache_bytes_ = reply_.cache_bytes();
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
  ModelInfo info_;                       // This and the next two are constant after Start.
  std::int64_t step_tokens_max_ = 0;
  std::unique_ptr<PromptSide> prompts_;

  // The replica's thread only.
  std::vector<std::int64_t> opened_in_;  // By slot: the number of the process that it is open in; 0: closed.
  std::vector<bool> asked_;              // By slot: whether the step works on it.
  std::shared_ptr<Worker> worker_;       // Of the call that is under way.
  v1::WorkerCall call_;
  v1::WorkerReply reply_;                               // What was given last points into it,
  std::vector<std::vector<EngineAlternative>> tops_;  // and here.
  std::int64_t cache_bytes_ = 0;
  base::MonoTime asked_at_{};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeWorkerEngine(const ModelOptions& model, const WorkerHost& host) {
  auto engine = std::make_unique<WorkerEngine>(model, host);
  TG_RETURN_IF_ERROR(engine->Start());
  return engine;
}

}  // namespace tollgate::inference
