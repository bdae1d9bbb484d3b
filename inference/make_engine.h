// Makes the engine that a model's options ask for, in this process. Internal to the room.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "inference/engine.h"
#include "inference/pool.h"

namespace tollgate::inference {

// What an engine finds where it is made.
struct EngineHost {
  std::string backends_dir;                   // As PoolOptions has it.
  std::optional<std::int64_t> memory_bytes;   // What the model may take of the machine's; none: what the machine has left.
  const base::Clock* clock = &base::SystemClock();
};

using EngineFactory = std::function<absl::StatusOr<std::unique_ptr<Engine>>(const ModelOptions& model, const EngineHost& host)>;

// On the thread that will drive it.
absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const ModelOptions& model, const EngineHost& host);

// Whether the file's header is good and there is memory for it; reads nothing else of it. RESOURCE_EXHAUSTED, in numbers.
absl::Status CheckEngine(const ModelOptions& model, const EngineHost& host);

// The part of an engine that lays out and checks prompts and never computes, for where the engine itself is elsewhere. Immutable, any
// thread. Each is as the engine's call of that name.
class PromptSide {
 public:
  virtual ~PromptSide() = default;
  virtual absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const = 0;
  virtual absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const = 0;
  virtual absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const = 0;
  virtual absl::Status CheckGrammar(std::string_view gbnf) const = 0;
};

// Of a model that was loaded elsewhere, which checked its file: of the weights nothing is read, no digest computed, no backend loaded.
absl::StatusOr<std::unique_ptr<PromptSide>> MakePromptSide(const ModelOptions& model);

}  // namespace tollgate::inference
