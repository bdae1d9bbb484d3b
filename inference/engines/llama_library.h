// What is done once for libllama in a process, and owners for what it hands out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ggml-backend.h>
#include <llama.h>

#include "base/status.h"
#include "inference/placement.h"

namespace tollgate::inference {

// Starts libllama and loads the backends in `dir`; later calls return the first one's outcome. FAILED_PRECONDITION if there is no device.
absl::Status StartLlama(const std::string& dir);

// Only has libllama speak through our diagnostics: enough for what computes nothing.
void LlamaDiagnostics();

// Library version and the device that computes, for records: "llama 0.5.0-dev, CPU …".
std::string LlamaBuild();

// The two apart, as strict.h wants them: the version; and the devices with what of them the library uses. While no other model loads.
std::string LlamaVersion();
std::string LlamaProcessor();

// The GPUs that libllama would use, empty where it computes on the processor, with what is free on each now. After StartLlama.
struct LlamaGpu {
  ggml_backend_dev_t device;
  DeviceRoom room;
};
std::vector<LlamaGpu> LlamaGpus();

// An engine was interrupted, or one that had been is gone: between the two libllama's complaints are not reported.
void LlamaInterrupted(bool begins);

// While it lives, libllama throws std::runtime_error on this thread where it would end the process. Around what loads a file; never around
// what computes, where libllama's threads would wait for this one for ever.
class LlamaLoading {
 public:
  LlamaLoading();
  ~LlamaLoading();
  LlamaLoading(const LlamaLoading&) = delete;
  LlamaLoading& operator=(const LlamaLoading&) = delete;
};

struct LlamaModelFree {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
struct LlamaContextFree {
  void operator()(llama_context* context) const { llama_free(context); }
};
using LlamaModel = std::unique_ptr<llama_model, LlamaModelFree>;
using LlamaContext = std::unique_ptr<llama_context, LlamaContextFree>;

// A pool of `threads` threads that computes for one context, at the caller's priority. Detach it (destroy it) before the context.
class LlamaThreads {
 public:
  static std::unique_ptr<LlamaThreads> Attach(llama_context* context, int threads);  // Null if the backend has none: it makes its own.
  ~LlamaThreads();

 private:
  LlamaThreads(llama_context* context, ggml_threadpool_t pool) : context_(context), pool_(pool) {}

  llama_context* context_;
  ggml_threadpool_t pool_;
};

}  // namespace tollgate::inference
