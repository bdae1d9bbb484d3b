// Going on with another model. Where the model that an alias led a request to cannot be reached, or its queue is full or too slow, after
// the request is on record and before its first token, the alias's fallbacks have their turn, in order. Each is a request of its own, from
// admission on: allow-list, policy, price and quota are asked again, it has its own REQUEST record before anything is routed (P1) and its
// own terminal one (P3). The records name each other. It is one call of a client: counted once by windows of requests and rates of rules.
//
// A request does not go on after a token was decoded; where a rule chose its model; under an approval, which is for what it was asked for;
// once its client has gone, its deadline has passed, or the instance stops.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"
#include "gateway/gates/gates.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/route.h"
#include "gateway/pipeline/watch.h"
#include "metering/quotas.h"

namespace tollgate::pipeline {

// What a request takes from the one that it goes on for.
struct Continued {
  base::RequestId request;  // Its own id, which the terminal record before it names.
  base::RequestId before;   // The other's,
  std::string model;        // and the model that could not take it.
  Fallbacks left;           // Those that may.
  Failure failure;          // What the caller gets if none of them can.
  std::chrono::steady_clock::time_point began;
  std::chrono::steady_clock::time_point deadline;  // Of the call.
  std::int64_t overhead_us = 0;                    // Of those before it.
  metering::Admission admission;                   // Of the call,
  std::vector<gates::Rate> counted;                // which is in these counts of rules already.
};

// Whether it ended because its model could not take it.
bool IsOfTheModel(const Ending& ending);
// The same of what refuses a request before it is on record, where another model was not refused: the model's window is too small, it is
// not loaded any more, its policy wants what the call has not.
bool IsOfTheModel(const absl::Status& refusal);

// Into a REQUEST's or a DENY's body: what it goes on for.
template <typename Body>
void FillContinues(const std::optional<Continued>& before, Body* body) {
  if (!before) return;
  body->set_continues(before->before.Bytes());
  body->set_continues_model(before->model);
}

// The same error, with "; " and `why` behind its message.
absl::Status WithWhy(const absl::Status& status, std::string_view why);

}  // namespace tollgate::pipeline
