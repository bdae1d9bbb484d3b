// Verdicts keep where something was found, never what.
// Tested by tests/gateway/pipeline/request_test.cpp.
#include "gateway/pipeline/records.h"

#include <cmath>

#include "gateway/pipeline/append.h"

namespace tollgate::pipeline {
namespace v1 = tollgate::v1;

namespace {

std::int64_t Millionths(double value) { return std::llround(value * 1e6); }

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

v1::Verdict ToProto(const policy::Verdict& verdict) {
  v1::Verdict out;
  out.set_action(policy::ActionName(verdict.action));
  for (const policy::RuleOutcome& rule : verdict.rules) {
    v1::RuleOutcome* outcome = out.add_rules();
    outcome->set_rule_id(rule.rule_id);
    outcome->set_action(policy::ActionName(rule.action));
    outcome->set_count(rule.count);
    std::string effect = policy::EffectName(rule.effect.kind);
    if (rule.effect.kind == policy::Effect::Kind::kRoute || rule.effect.kind == policy::Effect::Kind::kAccept) effect += " " + rule.effect.text;
    outcome->set_effect(effect);
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

v1::PolicyOutcome ToOutcome(const policy::Verdict& verdict) {
  v1::PolicyOutcome out;
  out.set_action(policy::ActionName(verdict.action));
  std::int64_t redactions = 0;
  for (const policy::RuleOutcome& rule : verdict.rules) {
    out.add_rule_ids(rule.rule_id);
    if (rule.action == policy::Action::kRedact) redactions += rule.count;
  }
  out.set_redactions(redactions);
  return out;
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
}

void FillLogprobs(const Logprobs& logprobs, v1::SealedContent& content) {
  for (const v1::TokenLogprob& token : logprobs) Fill(token, content.add_logprobs());
}

}  // namespace tollgate::pipeline
