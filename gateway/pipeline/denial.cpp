// A block comes first: what is refused anyway asks for nothing. Tested by tests/gateway/pipeline/effects_test.cpp.
#include "gateway/pipeline/denial.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error_detail.h"

namespace tollgate::pipeline {
namespace {

constexpr std::size_t kIdsToldMax = 32;  // In words; programs get them all.

std::string Told(const std::vector<std::string>& ids) {
  if (ids.size() <= kIdsToldMax) return fmt::format("{}", fmt::join(ids, ", "));
  return fmt::format("{}, … and {} more", fmt::join(ids.begin(), ids.begin() + kIdsToldMax, ", "), ids.size() - kIdsToldMax);
}

absl::Status Blocked(const policy::Verdict& verdict) {
  base::ErrorDetail detail{.reason = "POLICY_BLOCKED", .may_retry = false};
  std::string because;
  for (const policy::RuleOutcome& rule : verdict.rules) {
    if (rule.action != policy::Action::kBlock) continue;
    detail.rule_ids.push_back(rule.rule_id);
    if (because.empty()) because = rule.because;
  }
  return base::WithDetail(base::PermissionDenied(fmt::format("the prompt was blocked by policy rule {}{}{}", Told(detail.rule_ids),
                                                             because.empty() ? "" : ": ", because)),
                          detail);
}

absl::Status NeedsJustification(const policy::RuleOutcome& rule) {
  return base::WithDetail(base::PermissionDenied(fmt::format(
                              "policy rule {} wants a justification: {} Say why the request is needed in the field justification "
                              "(HTTP: also the header x-tollgate-justification), and send it again",
                              rule.rule_id, rule.because)),
                          {.reason = "JUSTIFICATION_NEEDED", .param = "justification", .may_retry = false, .rule_ids = {rule.rule_id}});
}

}  // namespace

const policy::RuleOutcome* FirstEffect(const policy::Verdict& verdict, policy::Effect::Kind kind) {
  const auto found =
      std::find_if(verdict.rules.begin(), verdict.rules.end(), [&](const policy::RuleOutcome& rule) { return rule.effect.kind == kind; });
  return found == verdict.rules.end() ? nullptr : &*found;
}

std::optional<Denial> DenialOf(const policy::Verdict& verdict, const tollgate::v1::ChatRequest& call) {
  if (verdict.action == policy::Action::kBlock) return Denial{"POLICY_BLOCKED", Blocked(verdict)};
  const policy::RuleOutcome* wants = FirstEffect(verdict, policy::Effect::Kind::kJustify);
  const bool says_why = call.justification().find_first_not_of(" \t\r\n") != std::string::npos;
  if (wants != nullptr && !says_why) return Denial{"JUSTIFICATION_NEEDED", NeedsJustification(*wants)};
  return std::nullopt;
}

}  // namespace tollgate::pipeline
