// How it works. The main thread makes the engine and serves the calls, one after the other. A second one says every now and then that a
// call is still under way, so that slow can be told from dead. The end of the socket is the end of the process, without destructors: what
// the engine holds is the kernel's to free. Memory that runs out is taken from here before it is taken from the parent; no core is dumped,
// and no debugger of the same user may look, because prompts are in it.
//
// Tested by tests/inference/worker_test.cpp, tests/inference/worker_faults_test.cpp.
#include "inference/worker/serve.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/diagnostics.h"
#include "base/mutex.h"
#include "base/private_memory.h"
#include "inference/memory_estimate.h"
#include "inference/no_throw.h"
#include "inference/worker/messages.h"
#include "inference/worker/process.h"
#include "inference/worker/socket.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;
using v1::WorkerCall;

constexpr std::chrono::seconds kPatience{60};  // For the parent to say what is to be loaded, and to take an answer.

// While steps follow each other, the next call comes within so long.
constexpr std::chrono::microseconds kNextCall{200};

base::MonoTime Soon() { return base::SystemClock().Mono() + kPatience; }

void Harden() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  std::ofstream("/proc/self/oom_score_adj") << "500";
  base::KeepMemoryPrivate();
}

// Of this thread, and of those that it starts.
void LowerPriority(int nice) {
  if (nice > 0 && ::setpriority(PRIO_PROCESS, 0, std::min(::getpriority(PRIO_PROCESS, 0) + nice, 19)) != 0)
    base::Warn("inference", "the model's process keeps its priority: setpriority failed");
}

class Server {
 public:
  explicit Server(const EngineFactory& make) : make_(make), socket_(kWorkerDescriptor) {}

  int Run() {
    if (!socket_.Receive(call_, Soon()).ok() || !call_.has_start()) {
      base::Error("inference", "{} is how the server starts a model's process, and nothing to call by hand", kWorkerCommand);
      return 2;
    }
    base::SetDiagnosticsJson(call_.start().log_json());
    SetBusy();
    std::thread([this, every = milliseconds(call_.start().alive_every_ms())] { SayAlive(every); }).detach();
    const absl::Status made = NoThrow([this] { return Start(call_.start()); });
    if (!Answer(made) || engine_ == nullptr) return made.ok() ? 0 : 1;
    while (socket_.Receive(call_, base::MonoTime::max(), kNextCall).ok()) {
      SetBusy();
      if (!Answer(NoThrow([this] { return Do(call_); }))) break;
    }
    return 0;
  }

 private:
  absl::Status Start(const v1::WorkerStart& start) {
    ModelOptions model = FromMessage(start);
    model.in_own_process = true;
    EngineHost host{.backends_dir = start.backends_dir(), .memory_bytes = std::nullopt};
    if (start.has_memory_bytes()) host.memory_bytes = start.memory_bytes();
    if (start.check_only()) return CheckEngine(model, host);
    LowerPriority(start.nice());
    TG_ASSIGN(engine_, make_(model, host));
    ToMessage(engine_->Info(), *reply_.mutable_started());
    reply_.mutable_started()->set_step_tokens_max(engine_->step_tokens_max());
    return absl::OkStatus();
  }

  absl::Status Do(const WorkerCall& call) {
    switch (call.call_case()) {
      case WorkerCall::kOpen: return Open(call.open());
      case WorkerCall::kStep: return Step(call.step());
      case WorkerCall::kRewind: return Rewind(call.rewind());
      case WorkerCall::kShare: reply_.set_shared_tokens(engine_->Share(call.share().from(), call.share().to())); return absl::OkStatus();
      case WorkerCall::kSuspend: return Suspend(call.suspend());
      case WorkerCall::kResume: return Resume(call.resume());
      case WorkerCall::kClose: engine_->Close(call.close().slot()); return absl::OkStatus();
      case WorkerCall::kPing: return absl::OkStatus();
      case WorkerCall::kAddAdapter: return AddAdapter(FromMessage(call.add_adapter()));
      case WorkerCall::kRemoveAdapter: engine_->RemoveAdapter(call.remove_adapter().handle()); return absl::OkStatus();
      case WorkerCall::kEmbed: return Embed(call.embed());
      case WorkerCall::kStart:
      case WorkerCall::CALL_NOT_SET: break;
    }
    return base::Internal("the model's process knows no such call");
  }

  absl::Status Open(const v1::WorkerOpen& open) {
    TG_ASSIGN(const EngineSequence sequence, FromMessage(open, biases_));
    TG_ASSIGN(const EngineOpened opened, engine_->Open(open.slot(), sequence));
    reply_.mutable_opened()->set_cached_tokens(opened.cached_tokens);
    reply_.mutable_opened()->set_published_tokens(opened.published_tokens);
    return absl::OkStatus();
  }

  absl::Status Step(const v1::WorkerStep& step) {
    work_.clear();
    outputs_.clear();
    for (const v1::WorkerWork& work : step.work()) work_.push_back(FromMessage(work));
    TG_RETURN_IF_ERROR(engine_->Step(work_, outputs_));
    for (const EngineOutput& output : outputs_) ToMessage(output, *reply_.add_outputs());
    return absl::OkStatus();
  }

  absl::Status Rewind(const v1::WorkerRewind& rewind) {
    return engine_->Rewind(rewind.slot(), rewind.output_tokens(), {rewind.banned().data(), static_cast<std::size_t>(rewind.banned_size())});
  }

  absl::Status Suspend(const v1::WorkerSuspend& suspend) {
    TG_ASSIGN(const std::int64_t kept, engine_->Suspend(suspend.slot(), suspend.bytes_max()));
    reply_.set_suspended_bytes(kept);
    return absl::OkStatus();
  }

  absl::Status Resume(const v1::WorkerResume& resume) {
    TG_ASSIGN(const std::int64_t redo, engine_->Resume(resume.slot()));
    reply_.set_redo_tokens(redo);
    return absl::OkStatus();
  }

  // The parent checked it too, but perhaps long ago: the file may be another by now; and only here is it known what GPUs have room for.
  absl::Status AddAdapter(const AdapterOptions& adapter) {
    TG_RETURN_IF_ERROR(engine_->CheckAdapter(adapter, MemoryAvailable()).status());
    TG_ASSIGN(const int handle, engine_->AddAdapter(adapter));
    reply_.set_adapter(handle);
    return absl::OkStatus();
  }

  absl::Status Embed(const v1::WorkerEmbed& embed) {
    inputs_.clear();
    vectors_.clear();
    for (const v1::WorkerInput& input : embed.inputs())
      inputs_.emplace_back(input.tokens().data(), static_cast<std::size_t>(input.tokens_size()));
    TG_RETURN_IF_ERROR(engine_->Embed(inputs_, vectors_));
    reply_.mutable_vectors()->Assign(vectors_.begin(), vectors_.end());
    return absl::OkStatus();
  }

  void SetBusy() {
    base::Lock lock(mu_);
    ++calls_;
    busy_ = true;
  }

  // False: the parent is gone.
  bool Answer(const absl::Status& status) {
    if (!status.ok()) ToMessage(status, *reply_.mutable_status());
    if (engine_ != nullptr) {
      reply_.set_cache_bytes(engine_->cache_bytes());
      reply_.set_device_sampled(engine_->device_sampled());
    }
    base::Lock lock(mu_);
    busy_ = false;
    bool sent = socket_.Send(reply_, Soon()).ok();
    reply_.Clear();
    return sent;
  }

  // Says so of a call that it sees a second time.
  void SayAlive(milliseconds every) {
    v1::WorkerReply alive;
    alive.set_alive(true);
    std::int64_t seen = 0;
    base::Lock lock(mu_);
    for (;;) {
      wake_.wait_for(lock.native(), every);
      if (busy_ && std::exchange(seen, calls_) == calls_ && !socket_.Send(alive, Soon()).ok()) return;
    }
  }

  const EngineFactory& make_;
  std::unique_ptr<Engine> engine_;

  base::Mutex mu_;  // Whoever sends holds it.
  std::condition_variable wake_;
  bool busy_ GUARDED_BY(mu_) = false;
  std::int64_t calls_ GUARDED_BY(mu_) = 0;
  WorkerSocket socket_;  // The main thread alone receives.

  WorkerCall call_;
  v1::WorkerReply reply_;
  std::vector<LogitBias> biases_;
  std::vector<EngineWork> work_;
  std::vector<EngineOutput> outputs_;
  std::vector<std::span<const std::int32_t>> inputs_;
  std::vector<float> vectors_;
};

}  // namespace

int ServeWorker(const EngineFactory& make) {
  Harden();
  auto* server = new Server(make);  // Its second thread may be at work to the very end.
  ::_exit(server->Run());
}

}  // namespace tollgate::inference
