// Strict answers (docs/evidence.md): what a request must be for one, what goes on record so that the answer can be made again, and the way
// back from there. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "gateway/identity/identity.h"
#include "inference/pool.h"
#include "tollgate/v1/inference.pb.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

inline bool IsStrict(const tollgate::v1::ChatRequest& request) { return request.replay() == tollgate::v1::REPLAY_STRICT; }

// As prompt.h's Validate and ValidateFor, of what strict answers have beside others. OK for a request that asks for none.
absl::Status ValidateStrict(const tollgate::v1::ChatRequest& request);
absl::Status ValidateStrictFor(const tollgate::v1::ChatRequest& request, const inference::ModelInfo& model);

// PERMISSION_DENIED for a strict answer, unless one of the key's roles has the permission.
absl::Status MayUseStrict(const identity::Principal& principal, const tollgate::v1::ChatRequest& request);

// What goes on record. `build`: of this program.
tollgate::v1::StrictRun RunOf(const inference::StrictSetup& setup, std::string_view build);
tollgate::v1::StrictInput InputOf(const inference::SequenceRequest& sequence);

// The sequence that a record tells of, but for whose it is and how far it may go. The answer itself is made with it, and not with what the
// caller sent: records hold millionths.
inference::SequenceRequest SequenceOf(const tollgate::v1::RequestBody& request, const tollgate::v1::StrictInput& input);

// Why an answer cannot be made again with a model as it is loaded here.
struct Obstacle {
  std::string reason;  // UPPER_SNAKE: OTHER_WEIGHTS, OTHER_ADAPTERS, OTHER_BUILD, OTHER_PROCESSOR, OTHER_SETUP, NOT_STRICT_HERE. Empty: none.
  std::string message;
};
Obstacle ObstacleTo(const tollgate::v1::RequestBody& recorded, const inference::ModelInfo& here, std::string_view build);

}  // namespace tollgate::pipeline
