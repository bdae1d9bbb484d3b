// Tokens are counted for rules that measure them only, the shadow's among them, which are shown the same subject.
// Tested by tests/gateway/pipeline/request_test.cpp, tests/gateway/pipeline/count_test.cpp.
#include "gateway/pipeline/judge.h"

#include <utility>

#include "gateway/pipeline/denial.h"
#include "gateway/pipeline/tool_prompt.h"

namespace tollgate::pipeline {

namespace {

absl::Status Inspect(const Judging& how, std::span<const policy::Message> prompt, Judged& judged) {
  const directory::Judges& policies = how.policies;
  if (policies.acting->needs_prompt_tokens() || (policies.shadow != nullptr && policies.shadow->needs_prompt_tokens())) {
    TG_ASSIGN(const auto tokens, how.tokens(judged.subject.model));
    judged.subject.prompt_tokens = static_cast<std::int64_t>(tokens.size());
  }
  TG_ASSIGN(judged.inspection, policies.acting->Inspect(judged.subject, prompt, how.keep_going));
  return absl::OkStatus();
}

}  // namespace

policy::Subject SubjectOf(const directory::Place& place, std::string model, std::vector<std::string> parts, std::int64_t unix_seconds) {
  policy::Subject subject;
  if (place.org != nullptr) subject.org = place.org->name;
  if (place.team != nullptr) subject.team = place.team->name;
  if (place.project != nullptr) subject.project = place.project->name;
  if (place.key != nullptr) subject.key = place.key->name;
  subject.model = std::move(model);
  subject.model_parts = std::move(parts);
  subject.unix_seconds = unix_seconds;
  return subject;
}

policy::Subject SubjectOf(const identity::Principal& principal, const tollgate::v1::ChatRequest& call, const audit::RequestKey& key,
                          const std::string& model, std::int64_t unix_seconds) {
  policy::Subject subject = SubjectOf(principal.place, model, principal.snapshot->PartsOf(model), unix_seconds);
  subject.pseudonym_key = key.pseudonym_key();
  // Beside a forced call no form is written.
  subject.json_reply = !MustCall(call) && (call.output_form().json_object() || call.output_form().has_json_schema());
  subject.end_user = call.end_user();
  return subject;
}

absl::StatusOr<Judged> JudgePrompt(const Judging& how, std::span<const policy::Message> prompt) {
  Judged judged{.inspection = {}, .subject = how.subject};
  TG_RETURN_IF_ERROR(Inspect(how, prompt, judged));
  const policy::RuleOutcome* rule = FirstEffect(judged.inspection.verdict, policy::Effect::Kind::kRoute);
  if (rule == nullptr || judged.inspection.verdict.action == policy::Action::kBlock) return judged;
  judged.routed_by = rule->rule_id;
  TG_ASSIGN(judged.route, RouteByRule(how.with, how.principal, *rule, how.fits, how.request, how.sequences));
  const std::string& model = judged.route->model.name;
  if (model == judged.subject.model) return judged;
  judged.subject.model = model;
  judged.subject.model_parts = how.principal.snapshot->PartsOf(model);
  TG_RETURN_IF_ERROR(Inspect(how, prompt, judged));
  return judged;
}

}  // namespace tollgate::pipeline
