// What callers are told of policy in a body: which rules changed or blocked a text, and why. Pure.
#pragma once

#include <string>

#include "tollgate/v1/inference.pb.h"

namespace tollgate::http_front {

// A field to stand behind others of its object, with the names of the gRPC messages:
//   ,"tollgate":{"output_policy":{"action":"block","rules":[{"id":"pii.card","action":"block","because":"…"}]}}
// Null: not this one. "" where no rule changed or blocked anything.
std::string PolicyTold(const tollgate::v1::PolicyOutcome* input, const tollgate::v1::PolicyOutcome* output);

}  // namespace tollgate::http_front
