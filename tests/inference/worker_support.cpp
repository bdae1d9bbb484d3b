#include "tests/inference/worker_support.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/error_detail.h"
#include "inference/worker/process.h"

namespace tollgate::inference::test {

WorkerOptions TestWorker() {
  WorkerOptions options;
  options.program = TOLLGATE_BINARY_DIR "/bin/pool_worker";
  return options;
}

PoolOptions ProcessOptions(const std::vector<std::string>& models, int slots) {
  PoolOptions options;
  for (const std::string& name : models) {
    options.models.push_back(Scripted(slots));
    options.models.back().name = name;
  }
  options.isolation = Isolation::kProcess;
  options.worker = TestWorker();
  options.replica_nice = 0;
  return options;
}

std::unique_ptr<Pool> ProcessPool(PoolOptions options) {
  auto pool = Pool::Create(std::move(options));
  INFO(pool.status().ToString());
  REQUIRE(pool.ok());
  return *std::move(pool);
}

std::vector<pid_t> Processes(const std::string& model) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream stat(entry.path() / "stat");
    pid_t pid = 0, parent = 0;
    std::string name, state;
    if (!(stat >> pid >> name >> state >> parent) || parent != ::getpid() || state == "Z") continue;
    std::ifstream file(entry.path() / "cmdline");
    const std::string line((std::istreambuf_iterator<char>(file)), {});
    if (line.find(std::string(1, '\0') + kWorkerCommand + '\0' + model + '\0') != std::string::npos) found.push_back(pid);
  }
  return found;
}

pid_t ProcessOf(const std::string& model) {
  const std::vector<pid_t> found = Processes(model);
  REQUIRE(found.size() == 1);
  return found.front();
}

void CheckLost(const Heard& heard) {
  CHECK(heard.end.reason == EndReason::kEngineFailed);
  CHECK(heard.end.status.code() == absl::StatusCode::kUnavailable);
  const auto detail = base::DetailOf(heard.end.status);
  REQUIRE(detail.has_value());
  CHECK(detail->reason == "ENGINE_LOST");
  CHECK(detail->retry_after_ms.has_value());
}

SequenceRequest AskModel(const Pool& pool, const std::string& model, const std::string& text) {
  SequenceRequest request;
  request.model = model;
  const Turn turn{"user", "", text};
  auto tokens = pool.Render(model, std::span(&turn, 1));
  REQUIRE(tokens.ok());
  request.prompt_tokens = *std::move(tokens);
  request.allowance = 1'000'000;
  return request;
}

std::string Answer(Pool& pool, const std::string& text, const std::string& model) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  for (;;) {
    REQUIRE(std::chrono::steady_clock::now() < give_up);
    const auto stream = pool.Submit(AskModel(pool, model, text));
    if (stream.ok()) {
      const Heard heard = HearAll(**stream);
      if (heard.end.status.ok()) return heard.text;
      CheckLost(heard);
    } else {
      REQUIRE(stream.status().code() == absl::StatusCode::kUnavailable);
    }
    std::this_thread::yield();
  }
}

}  // namespace tollgate::inference::test
