// Records of prompts and replies that a journal wrote, under keys that can be destroyed, and replays of them over the admin API.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/explain/tally.h"
#include "tests/gateway/admin/served.h"

namespace tollgate::test {

inline constexpr const char* kNext = R"(version: 1
name: house
rules:
  - id: codename
    detect: {keywords: bluebird}
    do: block
  - id: web-mail
    where: {project: web, key: app, model: tiny}
    detect: {personal_data: email}
    do: redact
)";

struct ReplayWorld : Served {
  std::unique_ptr<v1::Policy::Stub> stub() { return v1::Policy::NewStub(channel); }

  // A prompt on record that nothing was found in, or one that was denied; its position. `form`: what its output was held to.
  audit::Position Record(const std::string& org, const std::string& text, const v1::ShadowVerdict& shadow = {},
                         const v1::DenyBody* deny = nullptr, const std::string& form = "") {
    const auto place = *Must(directory->InForce())->FindKey(in.IdOf(org + "/app"));
    const base::RequestId request = base::RequestId::New();
    const auto key = Must(audit::MakeKeyAndWait(*root_keys, place.team->id, request, audit::Journal::kNoDeadline));
    v1::SealedContent content;
    content.add_prompt()->set_role(v1::ROLE_USER);
    content.mutable_prompt(0)->add_parts(text);
    content.set_output_schema(form);
    audit::Entry entry;
    entry.record.set_kind(v1::RECORD_KIND_REQUEST);
    entry.record.set_request_id(request.Bytes());
    entry.record.set_attempt(1);
    entry.record.set_org_id(place.org->id.Bytes());
    entry.record.set_team_id(place.team->id.Bytes());
    entry.record.set_project_id(place.project->id.Bytes());
    entry.record.set_key_id(place.key->id.Bytes());
    entry.record.mutable_request()->set_model("tiny");
    entry.record.mutable_request()->mutable_input_verdict()->set_action("allow");
    if (!shadow.policy_digest().empty()) *entry.record.mutable_request()->mutable_shadow() = shadow;
    entry.content = audit::Seal(*key, {v1::RECORD_KIND_REQUEST, 1, 0}, content);
    entry.key = key->row();
    if (deny != nullptr) {
      entry.record.set_kind(v1::RECORD_KIND_DENY);
      *entry.record.mutable_deny() = *deny;
      entry.content = audit::Seal(*key, {v1::RECORD_KIND_DENY, 1, 0}, content);
    }
    requests.push_back(request.ToString());
    keys.push_back(key);
    return Must(audit::AppendAndWait(*journal, std::move(entry), audit::Journal::kNoDeadline));
  }

  // A record of the last request's reply.
  audit::Position Say(v1::RecordKind kind, std::uint32_t segment, const v1::SealedContent& content, const v1::EndBody& end = {}) {
    const auto place = *Must(directory->InForce())->FindKey(in.IdOf("acme/app"));
    audit::Entry entry;
    entry.record.set_kind(kind);
    entry.record.set_request_id(keys.back()->request().Bytes());
    entry.record.set_attempt(1);
    entry.record.set_segment(segment);
    entry.record.set_org_id(place.org->id.Bytes());
    entry.record.set_team_id(place.team->id.Bytes());
    if (segment > 0) entry.record.mutable_segment_body()->set_size(1);
    if (segment == 0) *entry.record.mutable_end() = end;
    if (content.ByteSizeLong() > 0) entry.content = audit::Seal(*keys.back(), {kind, 1, segment}, content);
    return Must(audit::AppendAndWait(*journal, std::move(entry), audit::Journal::kNoDeadline));
  }
  audit::Position Segment(std::uint32_t number, const std::string& text) { return Say(v1::RECORD_KIND_SEGMENT, number, Text(text)); }
  audit::Position Final(const v1::SealedContent& content, const v1::EndBody& end) { return Say(v1::RECORD_KIND_FINAL, 0, content, end); }
  static v1::SealedContent Text(const std::string& text) {
    v1::SealedContent content;
    content.set_text(text);
    return content;
  }
  // How a reply ended, and the rule that did something to it.
  static v1::EndBody Ended(v1::FinishReason finish, const std::string& action = "allow", const std::string& rule = "") {
    v1::EndBody end;
    end.set_finish_reason(finish);
    end.mutable_output_verdict()->set_action(action);
    if (rule.empty()) return end;
    v1::RuleOutcome& outcome = *end.mutable_output_verdict()->add_rules();
    outcome.set_rule_id(rule);
    outcome.set_action(action);
    outcome.set_count(1);
    return end;
  }
  static void Keep(v1::SealedContent& content, const std::string& rule, std::int64_t offset, const std::string& text) {
    v1::RawSpan& span = *content.add_raw();
    span.set_rule_id(rule);
    span.set_offset(offset);
    span.set_text(text);
  }

  // All pages of it.
  template <typename Request>
  v1::PolicyChanges All(const std::string& as, Request request,
                        grpc::Status (v1::Policy::Stub::*method)(grpc::ClientContext*, const Request&, v1::PolicyChanges*)) {
    explain::Tally tally(request.examples());
    pages = 0;
    do {
      v1::PolicyChanges page;
      const grpc::Status status = Call(as, stub(), method, request, page);
      INFO(status.error_message());
      REQUIRE(status.ok());
      tally.Add(page);
      ++pages;
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return tally.Changes();
  }

  std::vector<std::string> requests;
  std::vector<std::shared_ptr<const audit::RequestKey>> keys;
  int pages = 0;
};

inline v1::ReplayPolicyRequest AskReplay() {
  v1::ReplayPolicyRequest request;
  request.set_yaml(kNext);
  request.set_reason("before version 2");
  request.set_examples(2);
  request.set_page_size(2);
  return request;
}

}  // namespace tollgate::test
