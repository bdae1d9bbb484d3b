// Makes a strict answer again from what is on record of it, and compares. Blocks: for threads that may wait for minutes.
#pragma once

#include <functional>
#include <string_view>

#include "base/status.h"
#include "base/uuid.h"
#include "gateway/pipeline/strict.h"
#include "tollgate/v1/audit.pb.h"

namespace tollgate::pipeline {

// What the pool's model has against it, as ObstacleTo says, or MODEL_NOT_LOADED. Fills reply.here.
Obstacle ObstacleIn(const inference::Pool& pool, const tollgate::v1::RequestBody& recorded, std::string_view build,
                    tollgate::v1::ReplayReply& reply);

// Of one request's records.
struct Recorded {
  const tollgate::v1::RequestBody& request;
  const tollgate::v1::StrictInput& input;
  const tollgate::v1::EndBody& end;
  const tollgate::v1::StrictOutput& output;
  base::TeamId tenant;  // In whose turn it is made,
  base::KeyId key;      // and for whom.
};

// To as many tokens as were decoded then, for ten minutes at most, and while `keep_going` is OK. Fills reply.outcome and message, whatever
// became of it. Errors are the pool's, if it does not take it: then there is nothing to tell.
absl::Status MakeAgain(inference::Pool& pool, const Recorded& recorded, const std::function<absl::Status()>& keep_going,
                       tollgate::v1::ReplayReply& reply);

}  // namespace tollgate::pipeline
