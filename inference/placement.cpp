// How it works. Layers count as alike: a layer's weights and context are a (layers + 1)th of the whole, rounded up, the output being the
// one more. A device then holds a whole number of them beside what computing takes. With the devices in the order of their room, the first
// k that hold all layers are taken, and the layers dealt out by room; what rounding leaves goes where there is most room still.
//
// Tested by tests/inference/placement_test.cpp.
#include "inference/placement.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::inference {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

std::int64_t UpMiB(std::int64_t bytes) { return (bytes + kMiB - 1) / kMiB; }

struct Candidate {
  std::size_t device;
  std::int64_t layers_max;
};

// Deals `layers` over the candidates by what each can hold; their sum holds all.
std::vector<DeviceShare> Deal(std::int64_t layers, std::span<const Candidate> candidates) {
  std::int64_t holds = 0;
  for (const Candidate& c : candidates) holds += c.layers_max;
  std::vector<DeviceShare> shares;
  std::int64_t left = layers;
  for (const Candidate& c : candidates) {
    const auto part = static_cast<std::int64_t>(static_cast<__int128>(layers) * c.layers_max / holds);  // Rounded down: it fits.
    shares.push_back({c.device, part, 0});
    left -= part;
  }
  while (left > 0) {
    std::size_t roomiest = 0;
    for (std::size_t i = 1; i < shares.size(); ++i) {
      if (candidates[i].layers_max - shares[i].layers > candidates[roomiest].layers_max - shares[roomiest].layers) roomiest = i;
    }
    ++shares[roomiest].layers;
    --left;
  }
  return shares;
}

absl::Status DoesNotFit(const DeviceNeed& need, std::span<const DeviceRoom> rooms) {
  std::string devices;
  for (const DeviceRoom& room : rooms) {
    devices += fmt::format("{}{} has {} MiB free, of which {} are kept", devices.empty() ? "" : "; ", room.name, room.free_bytes / kMiB,
                           UpMiB(Headroom(room.free_bytes)));
  }
  base::ErrorDetail detail;
  detail.reason = "MODEL_DOES_NOT_FIT";
  detail.may_retry = false;
  return base::WithDetail(
      base::ResourceExhausted(fmt::format("its {} layers need about {} MiB of GPU memory (weights {}, context {}) and {} MiB more on each "
                                          "device for computing: {}; lower slots or context_tokens, keep the context in 8 bits, take a "
                                          "smaller quantisation, or unload another model",
                                          need.layers, UpMiB(need.weights + need.context), UpMiB(need.weights), UpMiB(need.context),
                                          UpMiB(need.computing), devices)),
      detail);
}

}  // namespace

std::int64_t Headroom(std::int64_t free_bytes) { return std::max<std::int64_t>(free_bytes / 16, 512 * kMiB); }

absl::StatusOr<std::vector<DeviceShare>> Place(const DeviceNeed& need, std::span<const DeviceRoom> rooms) {
  if (rooms.empty()) return base::FailedPrecondition("there is no GPU to place it on");
  const std::int64_t layers = std::max<std::int64_t>(need.layers, 1) + 1;
  const std::int64_t layer = std::max<std::int64_t>((need.weights + need.context + layers - 1) / layers, 1);
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < rooms.size(); ++i) {
    const std::int64_t room = rooms[i].free_bytes - Headroom(rooms[i].free_bytes) - need.computing;
    if (room >= layer) candidates.push_back({i, room / layer});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.layers_max > b.layers_max; });
  std::int64_t holds = 0;
  for (std::size_t used = 0; used < candidates.size(); ++used) {
    holds += candidates[used].layers_max;
    if (holds < layers) continue;
    std::vector<DeviceShare> shares = Deal(layers, std::span(candidates).first(used + 1));
    for (DeviceShare& share : shares) share.bytes = share.layers * layer + need.computing;
    return shares;
  }
  return DoesNotFit(need, rooms);
}

std::int64_t RoomBeside(std::span<const DeviceShare> shares, std::span<const DeviceRoom> rooms) {
  std::int64_t least = shares.empty() ? 0 : INT64_MAX;
  for (const DeviceShare& share : shares) {
    const std::int64_t free = share.device < rooms.size() ? rooms[share.device].free_bytes : 0;
    least = std::min(least, free - Headroom(free));
  }
  return std::max<std::int64_t>(least, 0);
}

}  // namespace tollgate::inference
