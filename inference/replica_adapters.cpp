// How it works. An adapter is checked on the caller's thread, where reading a file disturbs nobody, and handed to the engine by a job that
// the replica's thread does between two steps. Sequences hold the adapters that they use; one that shall go is first taken off the list, so
// that nothing new finds it, then let go of by its sequences, and by those that go on for them, as they end or are ended, and only then
// freed.
//
// Which sequences a step works for, where their adapters differ, is for AdapterTurns to say; where nobody uses any, nothing is asked.
//
// Tested by tests/inference/adapter_pool_test.cpp, tests/inference/adapter_turns_test.cpp.
#include <algorithm>
#include <future>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/replica.h"

namespace tollgate::inference {
namespace {

constexpr std::chrono::seconds kJobMax{60};  // A step and a load together take less.
constexpr std::chrono::milliseconds kLook{5};

absl::Status Busy() { return base::DeadlineExceeded("the engine is busy with one step; try again"); }

absl::Status NotLoaded(std::string_view name) {
  base::ErrorDetail detail;
  detail.reason = "MODEL_NOT_FOUND";
  detail.param = "model";
  detail.may_retry = false;
  return base::WithDetail(base::NotFound(fmt::format("no adapter {} is loaded; ask for the list of models", name)), detail);
}

}  // namespace

std::vector<ModelInfo> Replica::infos() const {
  std::vector<ModelInfo> all{info()};
  base::Lock lock(mu_);
  for (const auto& [name, adapter] : adapters_) {
    ModelInfo with = info();
    with.base = std::exchange(with.name, name);
    with.adapters = {adapter->info};
    with.memory_bytes = adapter->info.memory_bytes;
    with.device_memory_bytes = adapter->info.device_memory_bytes;
    all.front().memory_bytes += with.memory_bytes;
    all.front().device_memory_bytes += with.device_memory_bytes;
    all.push_back(std::move(with));
  }
  return all;
}

bool Replica::HasAdapter(std::string_view name) const {
  base::Lock lock(mu_);
  return adapters_.contains(name);
}

absl::StatusOr<AdaptersHeld> Replica::Adapters(std::span<const std::string> names, bool goes_on) const {
  AdaptersHeld held;
  base::Lock lock(mu_);
  for (const std::string& name : names) {
    const auto found = adapters_.find(name), left = leaving_.find(name);
    const bool leaves = goes_on && left != leaving_.end();
    if (!leaves && found == adapters_.end()) return NotLoaded(name);
    held.push_back(leaves ? left->second : found->second);
  }
  std::sort(held.begin(), held.end(), [](const auto& a, const auto& b) { return a->handle < b->handle; });
  return held;
}

absl::StatusOr<AdapterInfo> Replica::CheckAdapter(const AdapterOptions& adapter, std::int64_t memory_bytes) const {
  return engine_->CheckAdapter(adapter, memory_bytes);
}

absl::Status Replica::OnThread(std::function<absl::Status()> job, std::chrono::milliseconds patience) {
  std::packaged_task<absl::Status()> task(std::move(job));
  auto done = task.get_future();
  {
    base::Lock lock(mu_);
    if (closed_) return StatusOf(EndReason::kShutdown, 0);
    jobs_.push_back(std::move(task));
  }
  waker_->Wake();
  if (done.wait_for(patience) != std::future_status::ready) return Busy();
  try {
    return done.get();
  } catch (const std::exception& e) {  // What the engine threw, or the thread ended first.
    return base::Unavailable(fmt::format("the engine did not do it: {}", e.what()));
  }
}

// Whoever gave up waiting was told that the adapter is not there, and so it stays, also where it was on its way into the engine.
absl::Status Replica::AddAdapter(const AdapterOptions& adapter, const AdapterInfo& info, std::chrono::milliseconds patience) {
  const auto given_up = std::make_shared<bool>(false);  // Under mu_.
  const auto job = [this, adapter, info, given_up]() -> absl::Status {
    const auto wanted = [&] {
      base::Lock lock(mu_);
      return !*given_up;
    };
    if (!wanted()) return Busy();
    TG_ASSIGN(const int handle, engine_->AddAdapter(adapter));
    {
      base::Lock lock(mu_);
      if (!*given_up) {
        adapters_[adapter.name] = std::make_shared<LoadedAdapter>(LoadedAdapter{handle, info});
        return absl::OkStatus();
      }
    }
    engine_->RemoveAdapter(handle);
    return Busy();
  };
  const absl::Status status = OnThread(job, patience);
  if (!absl::IsDeadlineExceeded(status)) return status;
  base::Lock lock(mu_);
  *given_up = true;
  return adapters_.contains(adapter.name) ? absl::OkStatus() : status;  // At the last moment.
}

absl::Status Replica::RemoveAdapter(std::string_view name, base::MonoTime deadline) {
  std::shared_ptr<const LoadedAdapter> adapter;
  {
    base::Lock lock(mu_);
    const auto found = adapters_.find(name);
    if (found == adapters_.end()) return NotLoaded(name);
    adapter = std::move(found->second);
    adapters_.erase(found);
    leaving_.insert_or_assign(adapter->info.name, adapter);
  }
  auto looks_left = kJobMax / kLook;  // Once they were told to end.
  for (bool ended = false;;) {
    const bool late = clock_.Mono() >= deadline;
    if (!Leaves(adapter, late)) break;
    if (ended && --looks_left == 0) return base::DeadlineExceeded("the engine is busy with one step; the adapter stays in memory");
    if (late && !ended) {
      ended = true;
      TG_RETURN_IF_ERROR(OnThread([this, adapter]() -> absl::Status { return EndUsers(adapter.get()), absl::OkStatus(); }, kJobMax));
    }
    base::Lock lock(mu_);
    if (closed_) return absl::OkStatus();  // It goes with the model.
    idle_cv_.wait_for(lock.native(), kLook);
  }
  return OnThread([this, handle = adapter->handle]() -> absl::Status { return engine_->RemoveAdapter(handle), absl::OkStatus(); }, kJobMax);
}

// Whether somebody still uses it, or what goes on may. When it is `late` nothing goes on with it any more.
bool Replica::Leaves(const std::shared_ptr<const LoadedAdapter>& adapter, bool late) {
  base::Lock lock(mu_);
  const auto left = leaving_.find(adapter->info.name);
  const bool open = left != leaving_.end() && left->second == adapter;
  const bool used = adapter.use_count() > (open ? 2 : 1);
  if (open && (late || !used)) leaving_.erase(left);
  return used;
}

void Replica::EndUsers(const LoadedAdapter* adapter) {
  const auto uses = [adapter](const Sequence& sequence) {
    return std::any_of(sequence.adapters.begin(), sequence.adapters.end(), [&](const auto& held) { return held.get() == adapter; });
  };
  for (auto& sequence : slots_) {
    if (sequence != nullptr && uses(*sequence)) End(*sequence, EndReason::kShutdown, StatusOf(EndReason::kShutdown, sequence->decoded));
  }
  queue_.Remove(uses, [this](std::unique_ptr<Sequence> sequence) { EndWaiting(std::move(sequence), EndReason::kShutdown); });
}

void Replica::ChooseTurn() {
  runnable_.clear();
  bool any = false;
  for (const auto& sequence : Seated()) {
    if (sequence == nullptr || !sequence->Runs()) continue;
    any = any || !sequence->adapter_set.empty();
    runnable_.push_back({&sequence->adapter_set, sequence->request.tenant});
  }
  turn_ = any ? &turns_.Next(runnable_, now_) : nullptr;
  stats_.adapter_changes = turns_.changes();
}

}  // namespace tollgate::inference
