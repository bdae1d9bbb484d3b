// One line a rule, whichever form the verdict is in.
// Tested by tests/gateway/explain/explain_test.cpp, tests/gateway/pipeline/request_test.cpp.
#include "gateway/explain/outcome.h"

namespace tollgate::explain {
namespace {

void AddRule(const std::string& id, bool redacts, std::int64_t count, v1::PolicyOutcome& out) {
  out.add_rule_ids(id);
  if (redacts) out.set_redactions(out.redactions() + count);
}

}  // namespace

v1::PolicyOutcome ToOutcome(const policy::Verdict& verdict) {
  v1::PolicyOutcome out;
  out.set_action(policy::ActionName(verdict.action));
  for (const policy::RuleOutcome& rule : verdict.rules) AddRule(rule.rule_id, rule.action == policy::Action::kRedact, rule.count, out);
  return out;
}

v1::PolicyOutcome ToOutcome(const v1::Verdict& verdict) {
  const std::string_view redact = policy::ActionName(policy::Action::kRedact);
  v1::PolicyOutcome out;
  out.set_action(verdict.action());
  for (const v1::RuleOutcome& rule : verdict.rules()) AddRule(rule.rule_id(), rule.action() == redact, rule.count(), out);
  return out;
}

}  // namespace tollgate::explain
