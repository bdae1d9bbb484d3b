// What tests start as a model's process: libllama, as the program does; or the scripted engine, whose scripts may abort here, and with
// faults of its own by the model's name.
//
// Tested by tests/inference/worker_test.cpp, tests/inference/worker_jobs_test.cpp, tests/inference/worker_faults_test.cpp, which start it.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <new>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "inference/engines/script_engine.h"
#include "inference/worker/process.h"
#include "inference/worker/serve.h"

extern char** environ;

namespace tollgate::inference {

bool ScriptMayAbort() { return true; }

namespace {

constexpr int kGoodSteps = 5;
constexpr std::chrono::milliseconds kSlowLoad{600};

[[noreturn]] void Hang() {
  for (;;) ::pause();
}

void Babble() {
  const std::string bytes("\x05\0\0\0\xFF\xFF\xFF\xFF\xFF", 9);
  if (::send(kWorkerDescriptor, bytes.data(), bytes.size(), 0) < 0) std::abort();
}

// The scripted engine, whose steps go wrong after a few good ones.
class FaultyEngine final : public Engine {
 public:
  FaultyEngine(const ModelOptions& model, std::string fault)
      : inner_(MakeScriptedEngine(model, base::SystemClock())), fault_(std::move(fault)), info_(inner_->Info()) {
    if (fault_ == "rebuilt") info_.engine_build = fmt::format("build {}", ::getpid());
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return inner_->step_tokens_max(); }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return inner_->Render(turns); }
  absl::StatusOr<EngineOpened> Open(int slot, const EngineSequence& sequence) override {
    steps_ = 0;
    if (fault_ == "counts") return EngineOpened{static_cast<std::int64_t>(sequence.prompt_tokens.size()), 0};
    return inner_->Open(slot, sequence);
  }
  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override {
    const bool now = ++steps_ > kGoodSteps;
    if (now && fault_ == "hangs") Hang();
    if (now && fault_ == "babbles") Babble();
    if (now && fault_ == "throws") throw std::bad_alloc();
    TG_RETURN_IF_ERROR(inner_->Step(work, outputs));
    if (outputs.empty() || !now) return absl::OkStatus();
    if (fault_ == "slot") outputs.back().slot = inner_->Info().slots - 1;
    if (fault_ == "token") outputs.back().token = 1 << 30;
    if (fault_ == "bytes") outputs.back().bytes = long_text_;
    if (fault_ == "twice") outputs.push_back(outputs.back());
    return absl::OkStatus();
  }
  absl::Status Rewind(int slot, std::int64_t output_tokens, std::span<const std::int32_t> banned) override {
    return inner_->Rewind(slot, output_tokens, banned);
  }
  absl::Status Embed(std::span<const std::span<const std::int32_t>> inputs, std::vector<float>& vectors) override {
    TG_RETURN_IF_ERROR(inner_->Embed(inputs, vectors));
    if (fault_ == "vectors") vectors.back() = std::numeric_limits<float>::quiet_NaN();
    if (fault_ == "few") vectors.pop_back();
    return absl::OkStatus();
  }
  absl::StatusOr<AdapterInfo> CheckAdapter(const AdapterOptions& adapter, std::int64_t memory_bytes) const override {
    return inner_->CheckAdapter(adapter, memory_bytes);
  }
  absl::StatusOr<int> AddAdapter(const AdapterOptions& adapter) override {
    if (std::ifstream(adapter.file + ".aborts")) std::abort();
    return inner_->AddAdapter(adapter);
  }
  void RemoveAdapter(int handle) override { inner_->RemoveAdapter(handle); }
  void Close(int slot) override { inner_->Close(slot); }
  void Interrupt() override { inner_->Interrupt(); }

 private:
  std::unique_ptr<Engine> inner_;
  const std::string fault_;
  ModelInfo info_;
  const std::string long_text_ = std::string(1 << 20, 'x');
  int steps_ = 0;
};

// What this process has that it could have from its parent.
absl::Status Tell() {
  std::string told = "environment:";
  for (char** entry = environ; *entry != nullptr; ++entry) told += fmt::format(" {}", *entry);
  told += "; descriptors:";
  for (int i = 0; i < 1024; ++i) {
    if (::fcntl(i, F_GETFD) >= 0) told += fmt::format(" {}", i);
  }
  rlimit core{};
  ::getrlimit(RLIMIT_CORE, &core);
  const bool new_privileges = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0;
  told += fmt::format("; core: {}; dumpable: {}; new privileges: {};", core.rlim_cur, ::prctl(PR_GET_DUMPABLE), new_privileges);
  return base::FailedPrecondition(told);
}

absl::Status Full() {
  base::ErrorDetail detail;
  detail.reason = "MODEL_DOES_NOT_FIT";
  detail.param = "slots";
  detail.may_retry = false;
  detail.retry_after_ms = 1234;
  return base::WithDetail(base::ResourceExhausted("it needs 17 GB and 5 GB are left"), detail);
}

absl::StatusOr<std::unique_ptr<Engine>> Make(const ModelOptions& model, const EngineHost& host) {
  const std::string fault = model.name.substr(std::min(model.name.find('/'), model.name.size() - 1) + 1);
  if (fault == "load-hangs") Hang();
  if (fault == "load-aborts") std::abort();
  if (fault == "load-babbles") Babble();
  if (fault == "load-throws") throw std::bad_alloc();
  if (fault == "load-full") return Full();
  if (fault == "load-slow") std::this_thread::sleep_for(kSlowLoad);
  if (fault == "tells") return Tell();
  if (fault == "memory") return base::ResourceExhausted(fmt::format("{} bytes are left", host.memory_bytes.value_or(-1)));
  if (fault == "memory-once") {  // The number is good for one process: the first leaves the file that its licence names.
    if (host.memory_bytes && std::ifstream(model.licence)) return base::ResourceExhausted("told twice");
    if (!host.memory_bytes && !std::ifstream(model.licence)) return base::ResourceExhausted("not told");
    std::ofstream(model.licence) << "1";
  }
  if (fault == "load-closes") {
    ::close(kWorkerDescriptor);
    Hang();
  }
  if (model.engine != EngineKind::kScripted) return MakeEngine(model, host);
  return std::make_unique<FaultyEngine>(model, fault);
}

}  // namespace
}  // namespace tollgate::inference

int main(int argc, char** argv) {
  if (argc != 3 || std::string(argv[1]) != tollgate::inference::kWorkerCommand) return 64;
  return tollgate::inference::ServeWorker(tollgate::inference::Make);
}
