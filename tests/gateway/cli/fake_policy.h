// Policy that answers from memory and keeps what it was asked.
#pragma once

#include <vector>

#include "tests/gateway/cli/fake_changes.h"
#include "tollgate/v1/policy.grpc.pb.h"

namespace v1 = tollgate::v1;

class FakePolicy final : public v1::Policy::Service {
 public:
  grpc::Status Check(grpc::ServerContext*, const v1::CheckPolicyRequest* request, v1::CheckPolicyReply* reply) override {
    check = *request;
    if (!refusal.ok()) return refusal;
    if (request->messages_size() > 0) reply->mutable_input()->set_action(used.empty() ? "block" : "flag");
    if (!used.empty()) reply->add_messages_used()->add_parts(used);
    return grpc::Status::OK;
  }
  grpc::Status Put(grpc::ServerContext*, const v1::PutPolicyRequest* request, v1::StoredPolicy* reply) override {
    put = *request;
    if (!refusal.ok()) return refusal;
    reply->set_version(3);
    if (request->draft()) reply->set_state("draft");
    if (!warning.empty()) reply->add_warnings(warning);
    return grpc::Status::OK;
  }
  grpc::Status Show(grpc::ServerContext*, const v1::ShowPolicyRequest*, v1::StoredPolicy* reply) override {
    reply->set_yaml(yaml);
    return grpc::Status::OK;
  }
  grpc::Status SetSigners(grpc::ServerContext*, const v1::SetPolicySignersRequest* request, v1::PolicySigners* reply) override {
    signers = *request;
    for (const auto& signer : request->add()) reply->add_names(signer.name());
    reply->set_required(request->required());
    return grpc::Status::OK;
  }
  grpc::Status Activate(grpc::ServerContext*, const v1::ActivatePolicyRequest* request, v1::StoredPolicy* reply) override {
    reply->set_name(request->name());
    reply->set_version(request->version());
    reply->set_version_in_force(request->version());
    return grpc::Status::OK;
  }
  grpc::Status Explain(grpc::ServerContext*, const v1::ExplainPolicyRequest* request, v1::ExplainPolicyReply* reply) override {
    explain = *request;
    reply->mutable_outcome()->set_action("allow");
    v1::ExplainedRule& rule = *reply->add_rules();
    rule.set_rule_id("served");
    rule.set_why("it says so");
    rule.mutable_answer()->set_ms(12);
    rule.mutable_answer()->set_input_tokens(40);
    rule.mutable_answer()->set_output_tokens(3);
    return grpc::Status::OK;
  }
  grpc::Status Lint(grpc::ServerContext*, const v1::LintPolicyRequest* request, v1::LintPolicyReply* reply) override {
    lint = *request;
    v1::LintRemark& remark = *reply->add_remarks();
    remark.set_level("error");
    remark.set_rule_id("served");
    remark.set_message(warning);
    return grpc::Status::OK;
  }
  grpc::Status Try(grpc::ServerContext*, const v1::TryPolicyRequest* request, v1::StoredPolicy* reply) override {
    tried = *request;
    reply->set_version(request->version());
    reply->set_version_in_force(3);
    reply->set_version_on_trial(request->version());
    reply->set_trial("shadow");
    return grpc::Status::OK;
  }
  grpc::Status Rollback(grpc::ServerContext*, const v1::RollbackPolicyRequest* request, v1::StoredPolicy*) override {
    rolled_back = *request;
    return grpc::Status::OK;
  }
  grpc::Status SetSecondPerson(grpc::ServerContext*, const v1::SetSecondPersonRequest* request, v1::SetSecondPersonReply* reply) override {
    second_person = *request;
    reply->set_wanted(request->wanted());
    return grpc::Status::OK;
  }
  grpc::Status List(grpc::ServerContext*, const v1::ListPoliciesRequest* request, v1::ListPoliciesReply* reply) override {
    list = *request;
    v1::StoredPolicy& policy = *reply->add_policies();
    policy.set_name("acme");
    policy.set_state("tested");
    policy.set_author("ann@acme.example");
    return grpc::Status::OK;
  }
  grpc::Status ListApprovals(grpc::ServerContext*, const v1::ListApprovalsRequest*, v1::ListApprovalsReply* reply) override {
    v1::PolicyApproval& approval = *reply->add_approvals();
    approval.set_id("01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e");
    approval.set_rule_id("dump");
    approval.set_team("search");
    approval.set_key("3kQ9xZ0b");
    approval.set_state("pending");
    approval.set_request_id("01937c2e-7777-7bb0-a3f5-3c1f0a2b4d5e");
    return grpc::Status::OK;
  }
  grpc::Status Approve(grpc::ServerContext*, const v1::ApproveRequest* request, v1::PolicyApproval* reply) override {
    approve = *request;
    reply->set_key("3kQ9xZ0b");
    reply->set_rule_id("dump");
    reply->set_minutes(30);
    return grpc::Status::OK;
  }
  grpc::Status RevokeApproval(grpc::ServerContext*, const v1::RevokeApprovalRequest* request, v1::PolicyApproval* reply) override {
    revoke_approval = *request;
    reply->set_rule_id("dump");
    reply->set_key("3kQ9xZ0b");
    if (request->reason() != "not this") reply->set_granted_by("9aBcDeFg");
    return grpc::Status::OK;
  }
  v1::ApproveRequest approve;
  v1::RevokeApprovalRequest revoke_approval;
  // Two pages of the same.
  grpc::Status Replay(grpc::ServerContext*, const v1::ReplayPolicyRequest* request, v1::PolicyChanges* reply) override {
    replays.push_back(*request);
    if (!refusal.ok()) return refusal;
    FillChanges(request->page_token().empty(), *reply);
    return grpc::Status::OK;
  }
  grpc::Status ShadowReport(grpc::ServerContext*, const v1::ShadowReportRequest* request, v1::PolicyChanges* reply) override {
    reports.push_back(*request);
    FillChanges(request->page_token().empty(), *reply);
    return grpc::Status::OK;
  }
  grpc::Status refusal;  // Of Check, Put and Replay.
  std::string warning;   // Of Put and Lint.
  std::string yaml;      // Of what is shown.
  std::vector<v1::ReplayPolicyRequest> replays;
  std::vector<v1::ShadowReportRequest> reports;
  v1::TryPolicyRequest tried;
  v1::RollbackPolicyRequest rolled_back;
  v1::SetSecondPersonRequest second_person;
  v1::ListPoliciesRequest list;
  v1::CheckPolicyRequest check;
  std::string used;  // What Check says that a message becomes.
  v1::ExplainPolicyRequest explain;
  v1::LintPolicyRequest lint;
  v1::PutPolicyRequest put;
  v1::SetPolicySignersRequest signers;
};
