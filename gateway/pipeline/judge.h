// How policy judges a prompt before anything runs: whom the call is about, and which model answers. One way for requests and for whoever
// only counts. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audit/seal.h"
#include "base/status.h"
#include "base/uuid.h"
#include "gateway/directory/snapshot.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/collaborators.h"
#include "gateway/pipeline/route.h"
#include "policy/policy_set.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::pipeline {

// By names: what of `place` is null is not known. `parts`: of a model with adapters, as Snapshot::PartsOf.
policy::Subject SubjectOf(const directory::Place& place, std::string model, std::vector<std::string> parts, std::int64_t unix_seconds);

// Of a caller's chat, with all that rules may look at.
policy::Subject SubjectOf(const identity::Principal& principal, const tollgate::v1::ChatRequest& call, const audit::RequestKey& key,
                          const std::string& model, std::int64_t unix_seconds);

// What it takes to judge a prompt. `subject`: as of the model that was asked for.
struct Judging {
  const Collaborators& with;
  const identity::Principal& principal;
  const base::RequestId& request;
  const directory::Judges& policies;
  policy::Subject subject;
  std::function<absl::StatusOr<std::vector<std::int32_t>>(const std::string& model)> tokens;  // Of the prompt as it came, where rules ask.
  std::function<absl::Status(const inference::ModelInfo&)> fits;                              // Whether a model can do the request.
  int sequences = 1;                                                                          // Which is so many of the pool's.
  policy::KeepGoing keep_going = nullptr;                                                     // Asked by policy while it judges.
};

struct Judged {
  policy::Inspection inspection;
  policy::Subject subject{};     // As of which the prompt was judged in the end.
  std::string routed_by{};       // The rule that chose the model; empty: none did.
  std::optional<Route> route{};  // With routed_by: what it leads to; may be the model that was asked for.
};

// Where a rule sends the prompt to another model, it is judged once more as of that one, and goes nowhere else. Errors of policy, of
// `tokens`, and as RouteByRule.
absl::StatusOr<Judged> JudgePrompt(const Judging& how, std::span<const policy::Message> prompt);

}  // namespace tollgate::pipeline
