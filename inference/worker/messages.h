// The pool's plain values as messages to and from a model's process. Internal to the room.
#pragma once

#include <vector>

#include "base/status.h"
#include "inference/engine.h"
#include "inference/pool.h"
#include "tollgate/v1/worker.pb.h"

namespace tollgate::inference {

void ToMessage(const absl::Status& status, v1::WorkerStatus& message);
absl::Status FromMessage(const v1::WorkerStatus& message);

// The options that the process needs; the rest keep their defaults over there.
void ToMessage(const ModelOptions& model, v1::WorkerStart& message);
ModelOptions FromMessage(const v1::WorkerStart& message);

// Name and licence stay the options' own; adapters are the pool's to know.
void ToMessage(const ModelInfo& info, v1::WorkerStarted& message);
ModelInfo FromMessage(const v1::WorkerStarted& message, const ModelOptions& model);

// The sequence points into the message, and into `biases`.
void ToMessage(const EngineSequence& sequence, v1::WorkerOpen& message);
absl::StatusOr<EngineSequence> FromMessage(const v1::WorkerOpen& message, std::vector<LogitBias>& biases);

void ToMessage(const AdapterOptions& adapter, v1::WorkerAddAdapter& message);
AdapterOptions FromMessage(const v1::WorkerAddAdapter& message);

void ToMessage(const EngineWork& work, v1::WorkerWork& message);
EngineWork FromMessage(const v1::WorkerWork& message);

// The output points into the message, and into `top`.
void ToMessage(const EngineOutput& output, v1::WorkerOutput& message);
EngineOutput FromMessage(const v1::WorkerOutput& message, std::vector<EngineAlternative>& top);

}  // namespace tollgate::inference
