// Why policy says no to a prompt, and what the caller is told. Pure.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "policy/verdict.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::pipeline {

struct Denial {
  std::string reason;   // UPPER_SNAKE, of the DENY record.
  absl::Status status;  // For the caller; names the rule and the remedy.
};

// The first rule, in the policy's order, that asks for this; null if none does.
const policy::RuleOutcome* FirstEffect(const policy::Verdict& verdict, policy::Effect::Kind kind);

// POLICY_BLOCKED; JUSTIFICATION_NEEDED where a rule demands one and the call has none. nullopt: policy lets it pass.
std::optional<Denial> DenialOf(const policy::Verdict& verdict, const tollgate::v1::ChatRequest& call);

}  // namespace tollgate::pipeline
