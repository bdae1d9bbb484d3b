// What the chat defaults of a caller's org, team, project and key make of a request: a system prompt before it, values where it leaves them
// out, caps on what it names, and its standing in the pool's queue (docs/defaults.md). Pure; thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/directory/snapshot.h"
#include "inference/types.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::inference {
class Pool;
}

namespace tollgate::pipeline {

using Messages = google::protobuf::RepeatedPtrField<tollgate::v1::ChatMessage>;
using DefaultsChain = std::span<const directory::ChatDefaults* const>;  // As Snapshot::DefaultsOf gives it: org, team, project, key.

// SequenceRequest::band and weight.
struct Standing {
  int band = inference::kBandDefault;
  double weight = 1;
};
Standing StandingOf(DefaultsChain chain);

// Says of an inference::SequenceRequest or EmbedJob whose it is, and how it stands in the queue.
template <typename Work>
void SetOwner(const directory::Place& place, const Standing& standing, Work& work) {
  work.tenant = place.team->id;
  work.key = place.key->id;
  work.band = standing.band;
  work.weight = standing.weight;
}

// What was done, for the record; and what comes of it later.
struct DefaultsApplied {
  google::protobuf::RepeatedPtrField<tollgate::v1::DefaultsInForce> in_force;
  std::vector<std::string> clamped;  // RequestBody.clamped.
  Messages caller_system;            // SealedContent.caller_system.
  Standing standing;
  bool output_named = false;            // The caller named max_tokens: what stands there is not a default or a cap alone.
  std::int64_t thought_tokens_max = 0;  // The least cap on thoughts, for a request that names no bound of its own; 0: none.
};

// Puts the system prompts, defaults and caps of the chain into a request that Validate let pass. INVALID_ARGUMENT (CAP_EXCEEDED, param =
// the field) where it names more than a cap that refuses; the message says how much, and whose cap it is.
absl::StatusOr<DefaultsApplied> ApplyDefaults(DefaultsChain chain, tollgate::v1::ChatRequest& request);

// The messages' part of it alone. Gives the caller's own system messages, where a system prompt was put before or in place of them.
Messages PutSystemPrompt(DefaultsChain chain, Messages& messages);

// As ApplyDefaults, for the prompt's tokens, which are known later; a prompt is never cut.
absl::Status CheckInputTokens(DefaultsChain chain, std::int64_t tokens);

// As ApplyDefaults, for a cap on thoughts where the request names no bound: of a model that thinks, what lets no thought be closed is
// refused.
absl::Status CheckThoughtCap(DefaultsChain chain, const tollgate::v1::ChatRequest& request, const inference::ModelInfo& model);

// How many of a prompt's first tokens are those of the system prompt that the org published; 0 if it published none. Renders that alone.
std::int64_t PublishedTokens(DefaultsChain chain, const inference::Pool& pool, const std::string& model,
                             std::span<const std::int32_t> prompt);

}  // namespace tollgate::pipeline
