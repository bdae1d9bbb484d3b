// How it works. libllama's log and ggml's abort callback are process-wide: warnings and errors go to diagnostics, the rest nowhere, and the
// reason for an abort is written before the process ends (no debugger is forked for a backtrace). While a file is loaded the callback
// throws instead: gguf_keys.cpp knows what libllama asserts of a file, but not all that each of a hundred architectures does. It is thrown
// through frames of C, which hold nothing and have unwind tables, and is caught where libllama catches its own refusals. What libllama
// reports because we interrupted it is no news to anyone. Backends are loaded from one folder; ggml picks the best one for the processor.
//
// Tested by tests/inference/model_test.cpp, tests/inference/gguf_survival_test.cpp.
#include "inference/engines/llama_library.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string_view>

#include <fmt/format.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>

#include "base/diagnostics.h"

namespace tollgate::inference {
namespace {

std::atomic<int> interrupted_engines{0};
thread_local int loading = 0;

void Log(ggml_log_level level, const char* text, void*) {
  if (level != GGML_LOG_LEVEL_WARN && level != GGML_LOG_LEVEL_ERROR) return;
  if (interrupted_engines.load(std::memory_order_relaxed) > 0) return;
  std::string_view line(text);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.remove_suffix(1);
  if (line.empty()) return;
  base::Diagnose(level == GGML_LOG_LEVEL_ERROR ? base::Level::kError : base::Level::kWarn, "llama", line);
}

std::string Devices() {
  std::string devices;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    const auto device = ggml_backend_dev_get(i);
    devices += fmt::format("{}{} {}", i == 0 ? "" : ", ", ggml_backend_dev_name(device), ggml_backend_dev_description(device));
  }
  return devices;
}

void Aborting(const char* reason) {
  const std::string_view text(reason);
  if (loading > 0)
    throw std::runtime_error(fmt::format("the file breaks an assumption, {}", text.substr(text.rfind('/', text.find(':')) + 1)));
  base::Error("llama", "libllama ends the process: {}", text);
}

ggml_backend_dev_t Processor() { return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU); }

absl::Status Start(const std::string& dir) {
  LlamaDiagnostics();
  llama_backend_init();
  ggml_backend_load_all_from_path(dir.c_str());
  if (Processor() == nullptr) {
    return base::FailedPrecondition(
        fmt::format("no compute backend for this processor in {}: set pool.backends_dir to the folder with libggml-cpu-*.so", dir));
  }
  return absl::OkStatus();
}

}  // namespace

void LlamaDiagnostics() {
  static std::once_flag once;
  std::call_once(once, [] {
    ::setenv("GGML_NO_BACKTRACE", "1", 0);
    llama_log_set(Log, nullptr);
    ggml_set_abort_callback(Aborting);
  });
}

absl::Status StartLlama(const std::string& dir) {
  static std::once_flag once;
  static absl::Status* outcome = nullptr;
  std::call_once(once, [&dir] { outcome = new absl::Status(Start(dir.empty() ? TOLLGATE_LLAMA_BACKENDS : dir)); });
  return *outcome;
}

LlamaLoading::LlamaLoading() { ++loading; }
LlamaLoading::~LlamaLoading() { --loading; }

void LlamaInterrupted(bool begins) { interrupted_engines.fetch_add(begins ? 1 : -1, std::memory_order_relaxed); }

std::string LlamaBuild() { return fmt::format("{}, {}", LlamaVersion(), Devices()); }

std::string LlamaVersion() { return fmt::format("llama {}", llama_version()); }

std::string LlamaProcessor() {
  std::string used = llama_print_system_info();
  while (!used.empty() && (used.back() == ' ' || used.back() == '|')) used.pop_back();
  return fmt::format("{}; {}", Devices(), used);
}

std::vector<LlamaGpu> LlamaGpus() {
  std::vector<LlamaGpu> gpus;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    const auto device = ggml_backend_dev_get(i);
    if (ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_GPU) continue;
    std::size_t free = 0;
    std::size_t total = 0;
    ggml_backend_dev_memory(device, &free, &total);
    gpus.push_back({device, {ggml_backend_dev_name(device), static_cast<std::int64_t>(free)}});
  }
  return gpus;
}

std::unique_ptr<LlamaThreads> LlamaThreads::Attach(llama_context* context, int threads) {
  auto* registry = ggml_backend_dev_backend_reg(Processor());
  auto* make = reinterpret_cast<decltype(ggml_threadpool_new)*>(ggml_backend_reg_get_proc_address(registry, "ggml_threadpool_new"));
  if (make == nullptr) return nullptr;
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  ggml_threadpool_t pool = make(&params);
  if (pool == nullptr) return nullptr;
  llama_attach_threadpool(context, pool, nullptr);
  return std::unique_ptr<LlamaThreads>(new LlamaThreads(context, pool));
}

LlamaThreads::~LlamaThreads() {
  llama_detach_threadpool(context_);
  auto* registry = ggml_backend_dev_backend_reg(Processor());
  auto* release = reinterpret_cast<decltype(ggml_threadpool_free)*>(ggml_backend_reg_get_proc_address(registry, "ggml_threadpool_free"));
  if (release != nullptr) release(pool_);
}

}  // namespace tollgate::inference
