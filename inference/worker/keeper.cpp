// How it works. The thread launches a process, hands it out once its model is loaded, and waits at its socket for the end, which is also
// how it hears that somebody killed it: who finds that it does not answer does so. Its number is forgotten before it is waited for, so that
// nobody can signal a number that another process has got by then.
//
// Tested by tests/inference/worker_test.cpp, tests/inference/worker_faults_test.cpp.
#include "inference/worker/keeper.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "inference/mapped_file.h"
#include "inference/worker/messages.h"
#include "inference/worker/process.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;

constexpr int kFailuresInARow = 5;
constexpr milliseconds kRetry{2000};
constexpr milliseconds kEndPatience{10'000};
constexpr milliseconds kLook{1000};  // A wait is as long at most; what it waits for wakes it.
constexpr int kSignsPerSilence = 40;
constexpr std::chrono::microseconds kEager{50};  // Calls that need no computing are answered within so long.

absl::Status Restarting(std::string_view what, milliseconds retry, const char* reason = "ENGINE_RESTARTING") {
  base::ErrorDetail detail;
  detail.reason = reason;
  detail.retry_after_ms = retry.count();
  return base::WithDetail(base::Unavailable(fmt::format("the model's process {}; try again in {} ms", what, retry.count())), detail);
}

v1::WorkerCall StartCall(const ModelOptions& model, const WorkerHost& host, bool check_only) {
  v1::WorkerCall call;
  v1::WorkerStart& start = *call.mutable_start();
  ToMessage(model, start);
  start.set_backends_dir(host.backends_dir);
  if (host.memory_bytes) start.set_memory_bytes(*host.memory_bytes);
  start.set_nice(host.nice);
  start.set_check_only(check_only);
  start.set_alive_every_ms(std::max<std::int64_t>(host.options.silent_max.count() / kSignsPerSilence, 1));
  start.set_log_json(host.options.log_json);
  return call;
}

}  // namespace

absl::Status AskWorker(WorkerSocket& socket, const v1::WorkerCall& call, milliseconds limit, milliseconds silent_max,
                       v1::WorkerReply& reply, bool& sound, const std::function<bool()>& go_on) {
  sound = false;
  const base::MonoTime start = base::SystemClock().Mono();
  const auto soon = [&] { return std::min(start + limit, base::SystemClock().Mono() + silent_max); };
  absl::Status status = socket.Send(call, soon());
  if (status.code() == absl::StatusCode::kInvalidArgument) {
    sound = true;
    return status;
  }
  while (status.ok()) {
    status = socket.Receive(reply, soon(), kEager);
    if (status.ok() && !reply.alive()) break;
    if (status.ok() && go_on && !go_on()) return BrokenOff();
  }
  if (status.code() == absl::StatusCode::kDeadlineExceeded) {
    const bool slow = base::SystemClock().Mono() >= start + limit;
    return base::DeadlineExceeded(slow ? fmt::format("did not end a call within {} ms", limit.count())
                                       : fmt::format("gave no sign of life for {} ms", silent_max.count()));
  }
  sound = status.ok();
  return sound && reply.has_status() ? FromMessage(reply.status()) : status;
}

WorkerKeeper::WorkerKeeper(const ModelOptions& model, const WorkerHost& host) : model_(model), host_(host) {}

WorkerKeeper::~WorkerKeeper() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

absl::Status WorkerKeeper::Start() {
  std::promise<absl::Status> first;
  auto started = first.get_future();
  thread_ = std::thread([this, first = std::move(first)]() mutable {
    pthread_setname_np(pthread_self(), "worker keeper");
    Run(first);
  });
  return started.get();
}

std::shared_ptr<Worker> WorkerKeeper::Now() const {
  base::Lock lock(mu_);
  return worker_;
}

absl::Status WorkerKeeper::Ready() const {
  base::Lock lock(mu_);
  if (worker_ != nullptr) return absl::OkStatus();
  const auto left = std::chrono::ceil<milliseconds>(rests_until_ + load_took_ - base::SystemClock().Mono());
  const milliseconds retry = std::max(kRetry, left);
  if (!rests_) return Restarting("is being started again", retry);
  return Restarting(fmt::format("ended {} times in a row and rests before it is started again", kFailuresInARow), retry);
}

absl::Status WorkerKeeper::Lost() const {
  base::Lock lock(mu_);
  const milliseconds retry = std::max(kRetry, std::chrono::ceil<milliseconds>(load_took_));
  return Restarting("ended, and with it what ran there; it is started again", retry, "ENGINE_LOST");
}

void WorkerKeeper::GiveUp(const Worker& worker, const std::string& why) {
  base::Lock lock(mu_);
  if (worker_ == nullptr || worker_->number != worker.number) return;
  if (!stopping_) base::Error("inference", "model {}: its process {}", model_.name, why);
  worker_ = nullptr;
  given_up_ = true;
  if (pid_ > 0) ::kill(pid_, SIGKILL);
}

void WorkerKeeper::Stop() {
  base::Lock lock(mu_);
  stopping_ = true;
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  stop_.notify_all();
}

void WorkerKeeper::Run(std::promise<absl::Status>& first) {
  int failures = 0;
  for (std::int64_t number = 1;; ++number) {
    bool gone = false;
    const absl::Status status = Launch(number, gone);
    if (number == 1 && !status.ok()) {
      const std::string how = AwaitEnd();
      const std::string why = fmt::format("the process that was to load it {}; its lines above may say why", how);
      first.set_value(gone ? base::Unavailable(why) : status);
      return;
    }
    if (number == 1) {
      first.set_value(absl::OkStatus());
    } else if (status.ok()) {
      base::Info("inference", "model {}: its process is back", model_.name);
    } else {
      base::Error("inference", "model {}: its process does not start again: {}", model_.name, base::Message(status));
    }
    const base::MonoTime loaded = base::SystemClock().Mono();
    const std::string how = AwaitEnd();
    failures = status.ok() && HadLived(base::SystemClock().Mono() - loaded) ? 1 : failures + 1;
    {
      base::Lock lock(mu_);
      if (stopping_) return;
    }
    if (!how.empty()) base::Error("inference", "model {}: its process {}", model_.name, how);
    if (!Pause(failures)) return;
    restarts_.fetch_add(1, std::memory_order_relaxed);
  }
}

// To be loaded is no living, nor is the call that it hung in: else what ends at its first step each time would never rest.
bool WorkerKeeper::HadLived(base::MonoTime::duration ran) {
  base::Lock lock(mu_);
  const WorkerOptions& options = host_.options;
  const bool hung = std::exchange(given_up_, false);
  return ran - (hung ? std::max(options.hung_after, options.silent_max) : milliseconds(0)) > options.rest;
}

// False: it is to stop.
bool WorkerKeeper::Pause(int failures) {
  const WorkerOptions& options = host_.options;
  const bool rests = failures >= kFailuresInARow;
  const milliseconds pause = rests ? options.rest : std::min(options.rest, options.restart_first * (1 << (failures - 1)));
  if (rests) {
    base::Error("inference", "model {}: its process ended {} times in a row: it rests for {} ms; unload it, or mend what ends it",
                model_.name, failures, pause.count());
  }
  base::Lock lock(mu_);
  rests_ = rests;
  rests_until_ = base::SystemClock().Mono() + pause;
  while (!stopping_ && base::SystemClock().Mono() < rests_until_) {
    stop_.wait_for(lock.native(), std::min<base::MonoTime::duration>(rests_until_ - base::SystemClock().Mono(), kLook));
  }
  rests_ = false;
  return !stopping_;
}

absl::Status WorkerKeeper::Launch(std::int64_t number, bool& gone) {
  const base::MonoTime began = base::SystemClock().Mono();
  TG_ASSIGN(WorkerProcess process, WorkerProcess::Spawn(host_.options.program, model_.name));
  auto worker = std::make_shared<Worker>();
  worker->number = number;
  worker->pid = process.pid;
  worker->socket = std::move(process.socket);
  {
    base::Lock lock(mu_);
    pid_ = worker->pid;
    if (stopping_) ::kill(pid_, SIGKILL);
  }
  TG_RETURN_IF_ERROR(Load(*worker, gone));
  TG_RETURN_IF_ERROR(IsTheSame(worker->started));
  base::Lock lock(mu_);
  if (stopping_) return base::Unavailable("the server is shutting down");
  load_took_ = base::SystemClock().Mono() - began;
  worker_ = std::move(worker);
  return absl::OkStatus();
}

absl::Status WorkerKeeper::Load(Worker& worker, bool& gone) const {
  v1::WorkerReply reply;
  bool sound = false;
  const WorkerOptions& options = host_.options;
  WorkerHost host = host_;
  if (!first_.empty()) host.memory_bytes = host.memory_bytes_again;
  if (!first_.empty()) host.go_on = {};
  const absl::Status status =
      AskWorker(worker.socket, StartCall(model_, host, false), options.load_max, options.silent_max, reply, sound, host.go_on);
  gone = !sound && status.code() == absl::StatusCode::kUnavailable;
  if (!sound && !gone && !absl::IsCancelled(status))
    return base::Unavailable(fmt::format("the process that was to load it {}", base::Message(status)));
  TG_RETURN_IF_ERROR(status);
  worker.started = std::move(*reply.mutable_started());
  return absl::OkStatus();
}

// Libraries are read anew by each process: an upgrade of the host may have put others there. Then records would name what no longer runs.
absl::Status WorkerKeeper::IsTheSame(const v1::WorkerStarted& started) {
  v1::WorkerStarted lasting = started;
  lasting.clear_memory_bytes();
  lasting.clear_device_memory_bytes();
  const std::string now = lasting.SerializeAsString();
  if (first_.empty()) first_ = now;
  if (first_ == now) return absl::OkStatus();
  return base::FailedPrecondition(
      "it is another build, or sets the model up otherwise, than when it was loaded; unload it and load it again");
}

// How it ended; empty if none was started.
std::string WorkerKeeper::AwaitEnd() {
  const std::shared_ptr<Worker> worker = Now();
  while (worker != nullptr && !worker->socket.IsClosed(base::SystemClock().Mono() + kLook)) {
  }
  pid_t pid = 0;
  {
    base::Lock lock(mu_);
    worker_ = nullptr;
    pid = std::exchange(pid_, 0);
  }
  return pid > 0 ? EndWorker(pid, kEndPatience) : std::string();
}

absl::Status CheckInWorker(const ModelOptions& model, const WorkerHost& host) {
  TG_ASSIGN(WorkerProcess process, WorkerProcess::Spawn(host.options.program, model.name));
  v1::WorkerReply reply;
  bool sound = false;
  const absl::Status status =
      AskWorker(process.socket, StartCall(model, host, true), host.options.hung_after, host.options.silent_max, reply, sound);
  const std::string how = EndWorker(process.pid, kEndPatience);
  return sound ? status : base::Unavailable(fmt::format("the process that was to check the model {}; its lines above may say why", how));
}

}  // namespace tollgate::inference
