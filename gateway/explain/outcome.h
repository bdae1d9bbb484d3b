// A verdict in short, as whoever asked sees it: the action, the rules, and how many spans were redacted. Pure; any thread.
#pragma once

#include "policy/verdict.h"
#include "tollgate/v1/inference.pb.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::explain {

v1::PolicyOutcome ToOutcome(const policy::Verdict& verdict);
v1::PolicyOutcome ToOutcome(const v1::Verdict& verdict);  // As records have it.

}  // namespace tollgate::explain
