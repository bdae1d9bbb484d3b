// Whether a model's options make sense together, before anything is read or loaded. Internal to the room.
#pragma once

#include "base/status.h"
#include "inference/pool.h"

namespace tollgate::inference {

// INVALID_ARGUMENT or UNIMPLEMENTED name the option, its bounds and the remedy.
absl::Status CheckModel(const ModelOptions& model);

}  // namespace tollgate::inference
