// Field by field; nothing is decided here.
//
// Tested by tests/gateway/explain/explain_test.cpp.
#include "gateway/explain/explain.h"

#include "base/encoding.h"
#include "gateway/explain/outcome.h"

namespace tollgate::explain {
namespace {

absl::StatusOr<policy::Role> RoleOf(v1::Role role) {
  switch (role) {
    case v1::ROLE_SYSTEM: return policy::Role::kSystem;
    case v1::ROLE_USER:
    case v1::ROLE_UNSPECIFIED: return policy::Role::kUser;
    case v1::ROLE_ASSISTANT: return policy::Role::kAssistant;
    case v1::ROLE_TOOL: return policy::Role::kTool;
    default: return base::InvalidArgument("role: unknown; use system, user, assistant or tool");
  }
}

absl::StatusOr<policy::Channel> ChannelOf(const v1::ExplainPolicyRequest& request) {
  using policy::Part;
  if (request.part().empty()) return policy::Channel{Part::kText, request.tool()};
  for (const Part part : {Part::kText, Part::kReasoning, Part::kToolDefinition, Part::kToolCall, Part::kToolResult}) {
    if (request.part() == policy::PartName(part)) return policy::Channel{part, request.tool()};
  }
  return base::InvalidArgument("part: unknown; use text, reasoning, tool_definitions, tool_calls or tool_results");
}

void Fill(const policy::Score& score, v1::ExplainedScore& out) {
  out.set_value(score.value);
  out.set_least(score.least);
  out.set_unit(std::string(score.unit));
}

void Fill(const policy::FoundSpan& span, v1::ExplainedSpan& out) {
  out.set_rule_id(span.rule_id);
  out.set_action(policy::ActionName(span.action));
  out.set_severity(span.severity);
  out.set_begin(span.begin);
  out.set_end(span.end);
  out.set_line(span.line);
  out.set_column(span.column);
  out.set_detector(span.detector);
  for (const std::string& sentence : span.evidence) out.add_evidence(sentence);
  out.set_became(span.became);
  if (span.score) Fill(*span.score, *out.mutable_score());
}

void Fill(const policy::Heard& heard, v1::ExplainedAnswer& out) {
  out.set_detector(heard.detector);
  out.set_name(heard.name);
  out.set_category(heard.category);
  out.set_failure(heard.answer.failure);
  out.set_ms(heard.millis);
  out.set_input_tokens(heard.input_tokens);
  out.set_output_tokens(heard.output_tokens);
}

void Fill(const policy::RuleStory& story, v1::ExplainedRule& out) {
  out.set_policy(story.policy);
  out.set_rule_id(story.rule_id);
  out.set_line(story.line);
  out.set_action(policy::ActionName(story.action));
  out.set_severity(story.severity);
  out.set_state(policy::StateName(story.state));
  out.set_count(story.count);
  out.set_why(story.why);
  out.set_because(story.because);
  out.set_micros(story.micros);
  if (story.score) Fill(*story.score, *out.mutable_score());
  if (story.heard) Fill(*story.heard, *out.mutable_answer());
}

void Fill(const policy::LintRemark& remark, v1::LintRemark& out) {
  out.set_level(policy::LintLevelName(remark.level));
  out.set_check(remark.check);
  out.set_policy(remark.policy);
  out.set_rule_id(remark.rule_id);
  out.set_line(remark.line);
  out.set_column(remark.column);
  out.set_message(remark.message);
}

void Fill(const policy::RuleCost& cost, v1::RuleCost& out) {
  out.set_policy(cost.policy);
  out.set_rule_id(cost.rule_id);
  out.set_us_per_kb(cost.us_per_kb);
  out.set_slowest_text(cost.slowest_text);
  out.set_output(cost.output);
  out.set_hold_mean_bytes(cost.hold_mean_bytes);
  out.set_hold_max_bytes(cost.hold_max_bytes);
  out.set_hold_bound_bytes(cost.hold_bound_bytes);
}

}  // namespace

absl::Status CheckRoles(const google::protobuf::RepeatedPtrField<v1::ChatMessage>& messages) {
  for (const v1::ChatMessage& message : messages) TG_RETURN_IF_ERROR(RoleOf(message.role()).status());
  return absl::OkStatus();
}

absl::StatusOr<v1::ExplainPolicyReply> Explain(std::span<const policy::PolicySource> policies, const policy::Subject& subject,
                                               const v1::ExplainPolicyRequest& request, const policy::AskOthers& ask,
                                               const std::function<absl::Status()>& keep_going) {
  TG_ASSIGN(const policy::Role role, RoleOf(request.role()));
  TG_ASSIGN(const policy::Channel channel, ChannelOf(request));
  TG_ASSIGN(const policy::Explanation explanation,
            policy::Explain(policies, subject, {request.text(), request.output(), role, channel}, ask, keep_going));
  v1::ExplainPolicyReply out;
  *out.mutable_outcome() = ToOutcome(explanation.verdict);
  out.set_text_used(explanation.result);
  out.set_text_judged(explanation.judged);
  for (const policy::FoundSpan& span : explanation.found) Fill(span, *out.add_spans());
  for (const policy::RuleStory& story : explanation.rules) Fill(story, *out.add_rules());
  out.set_policy_digest(base::HexEncode(base::View(explanation.digest)));
  out.set_micros(explanation.micros);
  out.set_shared_micros(explanation.shared_micros);
  return out;
}

absl::StatusOr<v1::LintPolicyReply> Lint(std::span<const policy::PolicySource> policies, const policy::LintOptions& options) {
  TG_ASSIGN(const policy::LintReport report, policy::Lint(policies, options));
  v1::LintPolicyReply out;
  for (const policy::LintRemark& remark : report.remarks) Fill(remark, *out.add_remarks());
  for (const policy::RuleCost& cost : report.costs) Fill(cost, *out.add_costs());
  out.set_us_per_kb(report.us_per_kb);
  return out;
}

}  // namespace tollgate::explain
