// A verdict in short, as whoever asked sees it: the action, the rules, how many spans were redacted, and what the rules that changed or
// blocked the text say to its reader. Pure; any thread.
#pragma once

#include "policy/policy_set.h"
#include "policy/verdict.h"
#include "tollgate/v1/inference.pb.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::explain {

v1::PolicyOutcome ToOutcome(const policy::Verdict& verdict);
// As records have it, without sentences: those are of `policies`, whose verdict it is.
v1::PolicyOutcome ToOutcome(const v1::Verdict& verdict, const policy::PolicySet& policies);

}  // namespace tollgate::explain
