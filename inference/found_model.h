// What a request's model is among a pool's replicas: the replica, and the adapters that its name asks for. Internal to the room.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/replica.h"

namespace tollgate::inference {

using Replicas = std::vector<std::shared_ptr<Replica>>;

struct FoundModel {
  std::shared_ptr<Replica> replica;
  AdaptersHeld adapters;

  ModelInfo info() const;
};

struct Finding {
  bool goes_on = false;  // Adapters that are being unloaded are found too.
  bool strict = false;   // Replicas of strict answers are looked through, and no others.
};

// NOT_FOUND: a part is not loaded. INVALID_ARGUMENT: as AdapterNames::Check.
absl::StatusOr<FoundModel> FindModel(const Replicas& all, std::string_view name, const Finding& how = {});

// The same of its strict answers. FAILED_PRECONDITION: it gives none.
absl::StatusOr<FoundModel> FindStrict(const Replicas& all, const FoundModel& found, bool goes_on);

absl::Status NoSuchModel();

// Whether it is what the caller knows; empty: whatever it is.
absl::Status Expect(const FoundModel& found, const std::string& fingerprint);

bool IsStrict(const Replica& replica);

// The replica of a model's strict answers; null: it gives none.
std::shared_ptr<Replica> StrictBeside(const Replicas& all, const Replica& of);

// What the model's info says of it; null: nothing.
void AddStrict(const Replica* strict, ModelInfo& info);

}  // namespace tollgate::inference
