// Verdicts keep where something was found, never what.
// Tested by tests/gateway/pipeline/request_test.cpp.
#include "gateway/pipeline/records.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "gateway/pipeline/append.h"
#include "gateway/pipeline/tool_prompt.h"

namespace tollgate::pipeline {
namespace v1 = tollgate::v1;

namespace {

std::int64_t Millionths(double value) { return std::llround(value * 1e6); }

int Strictness(std::string_view action) {
  if (action.empty()) return -1;  // Nothing was judged.
  constexpr std::array<std::string_view, 4> kActions = {"allow", "flag", "redact", "block"};
  return static_cast<int>(std::find(kActions.begin(), kActions.end(), action) - kActions.begin());
}

void Fill(const v1::TokenLogprob& from, v1::ReleasedToken* to) {
  to->set_token(from.token());
  to->set_logprob_millionths(Millionths(from.logprob()));
  to->set_token_id(from.token_id());
  for (const v1::TokenLogprob& top : from.top()) Fill(top, to->add_top());
}

}  // namespace

std::string_view Name(Surface surface) { return surface == Surface::kGrpc ? "grpc" : "http"; }

v1::Record NewRecord(v1::RecordKind kind, const RecordIdentity& who) {
  v1::Record record;
  record.set_version(1);
  record.set_kind(kind);
  record.set_request_id(who.request.Bytes());
  record.set_attempt(kFirstAttempt);
  if (who.place.org) record.set_org_id(who.place.org->id.Bytes());
  if (who.place.team) record.set_team_id(who.place.team->id.Bytes());
  if (who.place.project) record.set_project_id(who.place.project->id.Bytes());
  if (who.place.key) record.set_key_id(who.place.key->id.Bytes());
  record.set_end_user_hmac(who.end_user_hmac);
  return record;
}

void AddSpans(std::span<const policy::Span> spans, std::int64_t from, v1::GuardOutcome& outcome) {
  outcome.clear_spans();
  for (const policy::Span& span : spans.first(std::min(spans.size(), policy::RuleOutcome::kSpansMax))) {
    v1::GuardSpan& out = *outcome.add_spans();
    out.set_message(span.message);
    out.set_begin(from + span.begin);
    out.set_end(from + span.end);
  }
}

v1::Verdict WithoutAsked(const v1::Verdict& verdict, const google::protobuf::RepeatedPtrField<v1::GuardOutcome>& asked) {
  v1::Verdict out = verdict;
  const auto by_others = [&](const v1::RuleOutcome& rule) {
    return std::any_of(asked.begin(), asked.end(), [&](const v1::GuardOutcome& guard) { return guard.rule_id() == rule.rule_id(); });
  };
  auto& rules = *out.mutable_rules();
  const auto end = std::remove_if(rules.begin(), rules.end(), by_others);
  if (end == rules.end()) return out;
  rules.erase(end, rules.end());
  policy::Action strictest = policy::Action::kAllow;
  for (const v1::RuleOutcome& rule : rules) strictest = std::max(strictest, ActionOf(rule.action()));
  out.set_action(policy::ActionName(strictest));
  return out;
}

policy::Action ActionOf(std::string_view name) {
  for (const policy::Action action : {policy::Action::kFlag, policy::Action::kRedact, policy::Action::kBlock}) {
    if (name == policy::ActionName(action)) return action;
  }
  return policy::Action::kAllow;
}

v1::Verdict ToProto(const policy::Verdict& verdict) {
  v1::Verdict out;
  out.set_action(policy::ActionName(verdict.action));
  for (const policy::RuleOutcome& rule : verdict.rules) {
    v1::RuleOutcome* outcome = out.add_rules();
    outcome->set_rule_id(rule.rule_id);
    outcome->set_action(policy::ActionName(rule.action));
    outcome->set_count(rule.count);
    outcome->set_effect(policy::EffectText(rule.effect));
    outcome->set_severity(rule.severity);
    if (rule.score) {
      outcome->mutable_score()->set_unit(std::string(rule.score->unit));
      outcome->mutable_score()->set_value_thousandths(std::llround(rule.score->value * 1e3));
      outcome->mutable_score()->set_least_thousandths(std::llround(rule.score->least * 1e3));
    }
    for (const policy::Span& span : rule.spans) {
      v1::Span* s = outcome->add_spans();
      s->set_message(span.message);
      s->set_begin(span.begin);
      s->set_end(span.end);
      s->set_field(span.field);
    }
  }
  for (const std::string& what : verdict.not_scanned) out.add_not_scanned(what);
  return out;
}

void MergeVerdict(const v1::Verdict& from, int choice, std::string_view field, v1::Verdict& into) {
  if (Strictness(from.action()) > Strictness(into.action()) || into.action().empty()) into.set_action(from.action());
  for (const v1::RuleOutcome& rule : from.rules()) {
    auto* const rules = into.mutable_rules();
    const auto known = std::find_if(rules->begin(), rules->end(), [&](const v1::RuleOutcome& r) { return r.rule_id() == rule.rule_id(); });
    v1::RuleOutcome& its = known == rules->end() ? *rules->Add() : *known;
    its.set_rule_id(rule.rule_id());
    if (Strictness(rule.action()) > Strictness(its.action()) || its.action().empty()) its.set_action(rule.action());
    its.set_count(its.count() + rule.count());
    its.set_severity(rule.severity());
    const bool higher = !its.has_score() || rule.score().value_thousandths() > its.score().value_thousandths();
    if (rule.has_score() && higher) *its.mutable_score() = rule.score();
    for (const v1::Span& span : rule.spans()) {
      if (its.spans_size() >= static_cast<int>(policy::RuleOutcome::kSpansMax)) break;
      v1::Span* added = its.add_spans();
      *added = span;
      added->set_message(static_cast<std::uint32_t>(choice));
      if (!field.empty()) added->set_field(std::string(field));
    }
  }
  for (const std::string& what : from.not_scanned()) {
    if (std::find(into.not_scanned().begin(), into.not_scanned().end(), what) == into.not_scanned().end()) into.add_not_scanned(what);
  }
}

v1::SamplingInForce ToProto(const inference::SamplingParams& s) {
  v1::SamplingInForce out;
  out.set_temperature_millionths(Millionths(s.temperature));
  out.set_top_p_millionths(Millionths(s.top_p));
  out.set_top_k(s.top_k);
  out.set_min_p_millionths(Millionths(s.min_p));
  out.set_presence_penalty_millionths(Millionths(s.presence_penalty));
  out.set_frequency_penalty_millionths(Millionths(s.frequency_penalty));
  out.set_repeat_penalty_millionths(Millionths(s.repeat_penalty));
  out.set_seed(s.seed);
  return out;
}

void FillOutput(const v1::ChatRequest& request, v1::RequestBody* body) {
  for (const v1::LogitBias& bias : request.logit_bias()) {
    v1::BiasInForce* in_force = body->mutable_sampling()->add_logit_bias();
    in_force->set_token(bias.token());
    in_force->set_bias_millionths(Millionths(bias.bias()));
  }
  body->set_logprobs(request.logprobs());
  body->set_top_logprobs(request.top_logprobs());
  if (request.output_form().json_object()) body->set_output_form("json_object");
  if (request.output_form().has_json_schema()) body->set_output_form("json_schema");
  if (request.output_form().has_grammar()) body->set_output_form("grammar");
  const v1::ToolChoice& choice = request.tool_choice();
  if (!choice.none()) body->set_tools(request.tools_size());
  body->set_tool_choice(choice.none() ? "none" : choice.required() ? "required" : choice.has_function() ? "function" : "");
  if (request.choices() > 1) body->set_choices(request.choices());
  body->set_max_reasoning_tokens(request.max_reasoning_tokens());
  body->set_one_tool_call(OneCall(request));
}

void FillAdapters(const inference::ModelInfo& model, google::protobuf::RepeatedPtrField<v1::AdapterInForce>* into) {
  for (const inference::AdapterInfo& adapter : model.adapters) {
    v1::AdapterInForce* in_force = into->Add();
    in_force->set_name(adapter.name);
    in_force->set_sha256(std::string(base::View(adapter.sha256)));
    in_force->set_scale_millionths(Millionths(adapter.scale));
  }
}

void FillDefaults(const DefaultsApplied& applied, v1::RequestBody* body) {
  *body->mutable_defaults() = applied.in_force;
  for (const std::string& name : applied.clamped) body->add_clamped(name);
  const Standing ordinary;
  if (applied.standing.band != ordinary.band) body->set_band(applied.standing.band);
  if (applied.standing.weight != ordinary.weight) body->set_weight_millionths(Millionths(applied.standing.weight));
}

void AddServerUsage(const inference::ReportedUsage& reported, v1::ServerUsage& usage) {
  usage.set_answers(usage.answers() + reported.answers);
  usage.set_silent(usage.silent() + reported.silent);
  if (reported.input_tokens >= 0) usage.set_input_reported(usage.input_reported() + reported.input_tokens);
  if (reported.output_tokens >= 0) usage.set_output_reported(usage.output_reported() + reported.output_tokens);
  usage.set_input_sent(usage.input_sent() + reported.sent_tokens);
  usage.set_output_came(usage.output_came() + reported.came_tokens);
  usage.set_differs(usage.differs() || reported.differs);
}

void FillReleased(const OutputPiece& piece, v1::SealedContent& content) {
  v1::ReleasedPart part;
  part.set_choice(piece.choice);
  part.set_reasoning(piece.thought);
  for (const v1::ToolCall& call : piece.calls) *part.add_tool_calls() = call;
  if (piece.choice == 0) {
    content.set_text(piece.text);
    for (const v1::TokenLogprob& token : piece.logprobs) Fill(token, content.add_logprobs());
  } else {
    part.set_text(piece.text);
    for (const v1::TokenLogprob& token : piece.logprobs) Fill(token, part.add_logprobs());
  }
  const bool says = !part.text().empty() || !part.reasoning().empty() || part.tool_calls_size() > 0 || part.logprobs_size() > 0;
  if (says) content.add_parts()->Swap(&part);
}

}  // namespace tollgate::pipeline
