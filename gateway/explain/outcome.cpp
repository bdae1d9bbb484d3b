// One line a rule, whichever form the verdict is in.
// Tested by tests/gateway/explain/explain_test.cpp, tests/gateway/pipeline/blocks_test.cpp.
#include "gateway/explain/outcome.h"

#include <span>
#include <string_view>
#include <vector>

namespace tollgate::explain {
namespace {

constexpr int kRulesToldMax = 32;  // A sentence may have 500 bytes.

struct One {
  std::string_view id, action;
  std::int64_t count;
  std::string_view because;
};

v1::PolicyOutcome Outcome(std::string_view action, std::span<const One> rules) {
  v1::PolicyOutcome out;
  out.set_action(std::string(action));
  const std::string_view redact = policy::ActionName(policy::Action::kRedact), block = policy::ActionName(policy::Action::kBlock);
  for (const One& rule : rules) {
    out.add_rule_ids(std::string(rule.id));
    if (rule.action == redact) out.set_redactions(out.redactions() + rule.count);
  }
  for (const std::string_view acted : {block, redact}) {
    for (const One& rule : rules) {
      if (rule.action != acted || out.rules_size() == kRulesToldMax) continue;
      v1::ActingRule& told = *out.add_rules();
      told.set_id(std::string(rule.id));
      told.set_action(std::string(rule.action));
      told.set_because(std::string(rule.because));
    }
  }
  return out;
}

}  // namespace

v1::PolicyOutcome ToOutcome(const policy::Verdict& verdict) {
  std::vector<One> rules;
  for (const policy::RuleOutcome& rule : verdict.rules) {
    rules.push_back({rule.rule_id, policy::ActionName(rule.action), rule.count, rule.because});
  }
  return Outcome(policy::ActionName(verdict.action), rules);
}

v1::PolicyOutcome ToOutcome(const v1::Verdict& verdict, const policy::PolicySet& policies) {
  std::vector<One> rules;
  for (const v1::RuleOutcome& rule : verdict.rules()) {
    rules.push_back({rule.rule_id(), rule.action(), rule.count(), policies.Because(rule.rule_id())});
  }
  return Outcome(verdict.action(), rules);
}

}  // namespace tollgate::explain
