// Makes a pool on a machine whose free memory somebody else tells. Internal to the room.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/status.h"
#include "inference/pool.h"

namespace tollgate::inference {

// Pool::Create, where `memory_available` says what is free on the machine now.
absl::StatusOr<std::unique_ptr<Pool>> CreatePool(PoolOptions options, std::function<std::int64_t()> memory_available);

}  // namespace tollgate::inference
