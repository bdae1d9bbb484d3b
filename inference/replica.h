// Replica: one loaded model: an engine, its thread, its queue and its slots. Internal to the room; Pool is its face.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "inference/cell_pool.h"
#include "inference/door.h"
#include "inference/engine.h"
#include "inference/fair_queue.h"
#include "inference/pool.h"
#include "inference/step_budget.h"
#include "inference/stream_state.h"
#include "inference/throughput.h"

namespace tollgate::inference {

class Replica {
 public:
  using Factory = std::function<absl::StatusOr<std::unique_ptr<Engine>>()>;
  static constexpr std::chrono::milliseconds kPatience = std::chrono::minutes(1);
  // Runs `factory` on the replica's thread (what an engine starts there inherits its priority) and waits for it.
  static absl::StatusOr<std::unique_ptr<Replica>> Start(const ModelOptions& model, const base::Clock& clock, int nice,
                                                        const Factory& factory);
  ~Replica();  // Stop.

  const ModelInfo& info() const { return engine_->Info(); }
  std::vector<ModelInfo> infos() const;  // The model's, with what its adapters take, then one for each adapter.
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const { return engine_->Tokenize(text); }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const { return engine_->Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> EmbedTokens(const EmbedText& text) const;
  absl::StatusOr<std::string> TextOf(std::span<const std::int32_t> tokens) const;
  absl::StatusOr<std::shared_ptr<TokenStream>> Embed(EmbedJob job);
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const { return engine_->RenderParts(parts); }
  absl::StatusOr<std::shared_ptr<TokenStream>> Submit(SequenceRequest request, AdaptersHeld adapters = {});
  absl::StatusOr<std::vector<std::shared_ptr<TokenStream>>> SubmitGroup(const SequenceRequest& request, const AdaptersHeld& adapters,
                                                                        std::span<const std::uint64_t> seeds);
  ReplicaStats stats() const;
  bool Takes(const base::TeamId& tenant, int sequences) const;  // So many more of its would be let in now.
  bool Keeps(const base::TeamId& tenant) const;                 // A place for what goes on for one of its sequences.
  // Adapters, by full name. Add waits for a turn of the replica's thread, or gives it up; Remove, until nobody uses it or `deadline`.
  absl::StatusOr<AdapterInfo> CheckAdapter(const AdapterOptions& adapter, std::int64_t memory_bytes) const;
  absl::Status AddAdapter(const AdapterOptions& adapter, const AdapterInfo& info, std::chrono::milliseconds patience = kPatience);
  absl::Status RemoveAdapter(std::string_view name, base::MonoTime deadline);
  bool HasAdapter(std::string_view name) const;
  absl::StatusOr<AdaptersHeld> Adapters(std::span<const std::string> names, bool goes_on) const;  // NOT_FOUND: one is not loaded.

  void StopAdmission();                            // Submit refuses from now on, but for what a place is kept for.
  bool WaitIdle(std::chrono::milliseconds limit);  // True when nothing is queued or running.
  void Stop();                                     // Ends everything with kShutdown and joins. Any number of times, any threads.

 private:
  Replica(const ModelOptions& model, const base::Clock& clock);  // What follows, up to Enter: any thread.
  absl::Status Check(const SequenceRequest& request) const;
  absl::Status CheckForm(const SequenceRequest& request) const;
  std::unique_ptr<Sequence> MakeSequence(const SequenceRequest& request, const AdaptersHeld& adapters, std::uint64_t seed) const;
  absl::Status OnThread(std::function<absl::Status()> job, std::chrono::milliseconds patience);  // Between two steps; waits for it.
  absl::Status MustEmbed() const;
  absl::Status CheckJob(const EmbedJob& job) const;
  std::unique_ptr<Sequence> MakeJob(EmbedJob job) const;
  absl::Status Enter(std::vector<std::unique_ptr<Sequence>> sequences);
  // The replica's thread. One turn of Run: Collect, Sweep, Resume, Admit, Plan, then Step or Wait.
  void Run();
  void Collect();  // New sequences from the inbox to the queue; then the jobs.
  bool Leaves(const std::shared_ptr<const LoadedAdapter>& adapter, bool late);
  void EndUsers(const LoadedAdapter* adapter);
  std::span<std::unique_ptr<Sequence>> Seated() { return std::span(slots_).first(seated_); }  // Between them empty ones.
  bool IsTurnOf(const Sequence& sequence) const { return turn_ == nullptr || sequence.adapter_set == *turn_; }
  void ChooseTurn();  // Whose adapters this step is for.
  void Sweep();       // Ends what was cancelled or is late.
  void SweepQueue();
  void Resume();  // Takes back what consumers want taken back, and sees which parked sequences may go on.
  void Rewind(Sequence& sequence, const RewindOrder& order);
  void Admit();  // Fills free slots.
  void Open(std::unique_ptr<Sequence> sequence);
  void Plan();  // work_ for this step.
  std::int64_t PromptsThatCount() const;
  bool Shares(Sequence& sequence);
  void Step();
  void PlanInputs();  // The same of a model that embeds: inputs_ beside work_.
  void StepInputs();
  void TakeVectors(Sequence& job, std::span<const float> vectors);
  void Take(Sequence& sequence, const EngineOutput& output);
  void ParkOrEnd(Sequence& sequence);
  void End(Sequence& sequence, EndReason reason, const absl::Status& status);
  void Fail(const EngineWork& work, const absl::Status& status);
  void CloseEnded();  // Frees the slots of what ended, then tells its consumers.
  void EndWaiting(std::unique_ptr<Sequence> sequence, EndReason reason);
  void EndAll();
  void Publish();  // Stats.
  void Wait();
  void Leave(std::span<const std::unique_ptr<Sequence>> sequences);
  std::optional<EndReason> Due(const Sequence& sequence) const;
  std::int64_t RetryAfterMs(std::int64_t waiting) const;
  absl::Status StatusOf(EndReason reason, std::int64_t decoded) const;

  const ModelOptions model_;
  const base::Clock& clock_;
  std::unique_ptr<Engine> engine_;           // Constant after Start.
  bool embeds_ = false, by_inputs_ = false;  // So are these: it embeds or reranks; in steps of one tenant's inputs (Engine::Embed).
  const std::shared_ptr<Waker> waker_ = std::make_shared<Waker>();
  std::thread thread_;
  mutable base::Mutex mu_;
  std::condition_variable idle_cv_;
  std::vector<std::unique_ptr<Sequence>> inbox_ GUARDED_BY(mu_);
  std::vector<std::packaged_task<absl::Status()>> jobs_ GUARDED_BY(mu_);
  AdaptersByName adapters_ GUARDED_BY(mu_), leaving_ GUARDED_BY(mu_);  // Those that may be asked for; and by what goes on alone.
  std::int64_t groups_ GUARDED_BY(mu_) = 0;
  Door door_ GUARDED_BY(mu_);  // Behind it: the inbox, the queue and the slots.
  bool closed_ GUARDED_BY(mu_) = false;
  ReplicaStats published_ GUARDED_BY(mu_);
  std::atomic<std::int64_t> service_ms_{1000};  // Mean time a sequence holds a slot.
  std::atomic<bool> stopping_{false};
  std::once_flag stopped_;
  FairQueue queue_;  // The replica's thread only, as all that follows.
  StepBudget budget_;
  AdapterTurns turns_;
  const AdapterSet* turn_ = nullptr;              // Of this step; null: nobody uses adapters.
  std::vector<AdapterTurns::Runnable> runnable_;  // Scratch.
  std::vector<std::unique_ptr<Sequence>> slots_;
  std::size_t seated_ = 0;          // Slots up to the last that is taken.
  std::vector<Sequence*> prompts_;  // Scratch: those whose prompt is not worked through; what ended.
  std::vector<std::unique_ptr<Sequence>> ended_;
  std::unique_ptr<CellPool> cells_;  // Where the slots share their cells. Set at the start.
  int running_ = 0, closing_ = 0;    // Slots that are taken; of those, ended in this turn.
  bool woken_ = false;               // A consumer did something since the last turn.
  base::MonoTime now_, swept_at_;    // As of this turn; when the queue was last swept.
  std::vector<EngineWork> work_;
  std::vector<EngineOutput> outputs_;
  std::vector<std::span<const std::int32_t>> inputs_;  // Of this step, in the order of work_.
  std::vector<float> numbers_;                         // Scratch: what it gave.
  std::string text_;                                   // Scratch.
  ReplicaStats stats_;
  std::chrono::steady_clock::time_point published_at_{};
  Throughput throughput_;
};

}  // namespace tollgate::inference
