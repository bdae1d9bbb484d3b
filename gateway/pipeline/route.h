// Where a request goes: the model that a caller named, or the one that an alias leads it to.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/uuid.h"
#include "gateway/identity/identity.h"
#include "gateway/pipeline/collaborators.h"
#include "inference/types.h"
#include "policy/verdict.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::pipeline {

// What an alias has behind the model that it led to.
struct Fallbacks {
  std::string alias;
  std::vector<std::string> models{};  // All of its fallbacks, in order: empty where no alias led;
  std::size_t next = 0;               // those before this one had their turn.
  std::vector<std::string> tried{};   // Models that could not take the request: none of them gets it again.
};

struct Route {
  inference::ModelInfo model;
  std::string told;       // For x-tollgate-route: "alias=chat; model=qwen4; share=10/100", "…; fallback=1", "rule=r; model=qwen4"; with
                          // adapters also "…; adapters=legal@0123456789ab". Empty: the model by its name, without adapters.
  Fallbacks fallbacks{};  // Behind it.
};

// The model that will answer. An alias leads to one of its targets that the key may use, by the request's id; where that one is not loaded,
// or its queue has no room for so many sequences of the key's team, to the first fallback that is, has room and a price, and the key may
// use. Errors as Resolve, of the chosen target.
absl::StatusOr<Route> RouteOf(const Collaborators& with, const identity::Principal& principal, const std::string& asked,
                              const base::RequestId& request, int sequences);

// The first of `left` that can take a request now: loaded, for the key to use, with a price and with room for so many sequences of its
// team, and one that `fits` (null: all do). Otherwise nothing, and `why` says why not, of each.
std::optional<Route> NextRoute(const Collaborators& with, const identity::Principal& principal, const Fallbacks& left,
                               const std::function<absl::Status(const inference::ModelInfo&)>& fits, int sequences, std::string& why);

// The same of the model that a rule sends a request to (Effect kRoute): one that it may use, that has a price and can do what the request
// asks for, which `fits` says. Errors name the rule. Policy grants nothing.
absl::StatusOr<Route> RouteByRule(const Collaborators& with, const identity::Principal& principal, const policy::RuleOutcome& rule,
                                  const std::function<absl::Status(const inference::ModelInfo&)>& fits, const base::RequestId& request,
                                  int sequences);

// Model.serves: "chat", "embeddings" or "rerank".
std::string ServesOf(const inference::ModelInfo& model);

// The aliases that lead somewhere for this key, as models.
void AddAliases(const Collaborators& with, const identity::Principal& principal, tollgate::v1::ListModelsReply& reply);

}  // namespace tollgate::pipeline
