// What policy says of a policy that somebody tries, as messages of the API. Pure; any thread. Costs are those of policy/explain.h and
// policy/lint.h.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "policy/explain.h"
#include "policy/lint.h"
#include "policy/policy_set.h"
#include "tollgate/v1/policy.pb.h"

namespace tollgate::explain {

// INVALID_ARGUMENT for an unknown role: pipeline::PolicyPrompt would take it for the user's.
absl::Status CheckRoles(const google::protobuf::RepeatedPtrField<v1::ChatMessage>& messages);

// What the policies do to the request's text, taken to come from `subject`. Of the request only text, direction and role are looked at.
// INVALID_ARGUMENT as policy::Explain, or for an unknown role. Without `ask` nobody is asked. `keep_going` as there.
absl::StatusOr<v1::ExplainPolicyReply> Explain(std::span<const policy::PolicySource> policies, const policy::Subject& subject,
                                               const v1::ExplainPolicyRequest& request, const policy::AskOthers& ask = nullptr,
                                               const std::function<absl::Status()>& keep_going = nullptr);

// Errors as policy::Lint.
absl::StatusOr<v1::LintPolicyReply> Lint(std::span<const policy::PolicySource> policies, const policy::LintOptions& options);

}  // namespace tollgate::explain
