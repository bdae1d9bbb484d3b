// Nothing here is counted for each byte of a text: work is counted where a search begins, a keyword ends or a hit is kept. The most that a
// search can cost is reckoned beforehand, for nobody knows whether its automaton holds; mostly it costs far less, and a question is cheap.
//
// Tested by tests/policy/effort_test.cpp.
#include "policy/effort.h"

#include <fmt/format.h>

#include "base/error_detail.h"

namespace tollgate::policy {

bool Effort::Ask() {
  left_ = -1;  // Where it is over, all that is spent asks here.
  if (over()) return false;
  if (keep_going_) status_ = keep_going_();
  if (over()) return false;
  left_ = kUnitsUnasked;
  return true;
}

bool Effort::RefuseHits() {
  left_ = -1;
  if (over()) return false;
  status_ = base::WithDetail(base::FailedPrecondition(fmt::format(
                                 "the rules in force find more than {} spans in this text, more than can be judged; send less text, "
                                 "or have the author of the rules write narrower ones",
                                 kHitsMax)),
                             {.reason = "POLICY_TOO_MANY_HITS", .may_retry = false});
  return false;
}

}  // namespace tollgate::policy
