// Placement: on which GPUs a model's replica goes, reckoned before anything is loaded, because a GPU that runs out of memory ends the
// process. A pure function of numbers. Bytes throughout.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace tollgate::inference {

// What a replica takes on the devices it is spread over.
struct DeviceNeed {
  std::int64_t weights = 0;    // Spread by layers,
  std::int64_t context = 0;    // as this.
  std::int64_t computing = 0;  // On each device that has a share, whole.
  std::int64_t layers = 0;     // Those of the model; the output counts as one more. At least 1.
};

struct DeviceRoom {
  std::string name;  // For messages.
  std::int64_t free_bytes = 0;
};

// One device's share: consecutive layers, in the order of `Place`'s shares; the last has the output too.
struct DeviceShare {
  std::size_t device = 0;   // Which of the rooms.
  std::int64_t layers = 0;  // At least 1. All shares together: need.layers + 1.
  std::int64_t bytes = 0;   // That it will take there.
};

// Left free on each device, for what the driver takes and what was not reckoned: a sixteenth of what is free, at least 512 MiB.
std::int64_t Headroom(std::int64_t free_bytes);

// Whole on one device where one is large enough: the one with the most room, so that replicas spread out; of two alike, the first. Else
// over the fewest devices that hold it together, the largest first, each as many layers as its part of the room. RESOURCE_EXHAUSTED, with
// the numbers of all: it does not fit. FAILED_PRECONDITION: no device.
absl::StatusOr<std::vector<DeviceShare>> Place(const DeviceNeed& need, std::span<const DeviceRoom> rooms);

// What one thing may take beside a replica that has these shares, on whichever of its devices it lies: what is free beyond the Headroom on
// the fullest of them. `rooms`: as they are now, in the order of those it was placed in. At least 0; 0 if there is no such device.
std::int64_t RoomBeside(std::span<const DeviceShare> shares, std::span<const DeviceRoom> rooms);

}  // namespace tollgate::inference
