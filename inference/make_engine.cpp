// One `if` a kind of engine.
//
// Tested by tests/inference/load_test.cpp, tests/inference/worker_test.cpp, tests/inference/tiny_model_test.cpp,
// tests/inference/memory_estimate_test.cpp.
#include "inference/make_engine.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "inference/engines/llama.h"
#include "inference/engines/llama_prompts.h"
#include "inference/engines/llama_tokenizer.h"
#include "inference/engines/script_engine.h"
#include "inference/engines/upstream_embedder.h"
#include "inference/engines/upstream_engine.h"
#include "inference/gguf.h"
#include "inference/mapped_file.h"
#include "inference/memory_estimate.h"
#include "inference/pooling.h"

namespace tollgate::inference {

std::int64_t MemoryOf(const EngineHost& host) { return host.memory_bytes ? *host.memory_bytes : MemoryAvailable(); }

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const ModelOptions& model, const EngineHost& host) {
  if (model.engine == EngineKind::kScripted) return MakeScriptedEngine(model, *host.clock);
  if (model.engine == EngineKind::kOpenAi && model.pooling != Pooling::kNone) {
    TG_ASSIGN(auto texts, MakeLlamaTexts(model));
    return MakeUpstreamEmbedder(model, std::move(texts), *host.clock);
  }
  if (model.engine == EngineKind::kOpenAi) {
    TG_ASSIGN(auto tokenizer, MakeLlamaTokenizer(model, host.backends_dir));
    return MakeUpstreamEngine(model, std::move(tokenizer), *host.clock);
  }
  return MakeLlamaEngine(model, host.backends_dir, MemoryOf(host), host.go_on);
}

ModelOptions StrictOf(ModelOptions model) {
  model.slots = 1;
  model.step_tokens_max = kStrictChunkTokens;
  model.prefix_cache_bytes = 0;
  model.kv_tokens = 0;
  return model;
}

absl::Status AboutStrict(const absl::Status& status) { return base::Annotate(status, "its second copy, for strict answers"); }

absl::Status CheckEngine(const ModelOptions& model, const EngineHost& host) {
  if (model.engine == EngineKind::kScripted) return absl::OkStatus();
  TG_ASSIGN(const MappedFile file, MappedFile::Open(model.file));
  const auto header = ReadGguf(file.bytes());
  if (!header.ok()) return base::Annotate(header.status(), model.file);
  if (model.context_tokens > header->context_tokens) {
    return base::FailedPrecondition(
        fmt::format("context_tokens is {}, but the model was trained for {}", model.context_tokens, header->context_tokens));
  }
  TG_RETURN_IF_ERROR(ResolvePooling(model.pooling, *header).status());
  TG_ASSIGN(std::vector<DeviceRoom> rooms, LlamaRooms(host.backends_dir));
  return CheckRoom(model, *header, static_cast<std::int64_t>(file.bytes().size()), MemoryOf(host), std::move(rooms));
}

absl::Status CheckRoom(const ModelOptions& model, const GgufHeader& header, std::int64_t file_bytes, std::int64_t memory_bytes,
                       std::vector<DeviceRoom> rooms) {
  TG_ASSIGN(const auto plan, PlanLlama(model, header, file_bytes, memory_bytes, rooms));
  if (!model.strict) return absl::OkStatus();
  for (const DeviceShare& share : plan.shares) rooms[share.device].free_bytes -= share.bytes;
  return AboutStrict(PlanLlama(StrictOf(model), header, file_bytes, memory_bytes - plan.host_bytes, rooms).status());
}

absl::StatusOr<std::unique_ptr<PromptSide>> MakePromptSide(const ModelOptions& model, const ModelInfo& loaded) {
  if (model.engine == EngineKind::kScripted) return MakeScriptedEngine(model, base::SystemClock());
  return MakeLlamaPrompts(model, loaded);
}

}  // namespace tollgate::inference
