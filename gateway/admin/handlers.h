// What each admin call does, apart from gRPC: caller and request in, reply out. All block; worker threads only.
#pragma once

#include "gateway/admin/caller.h"
#include "tollgate/v1/audit.pb.h"
#include "tollgate/v1/defaults.pb.h"
#include "tollgate/v1/directory.pb.h"
#include "tollgate/v1/policy.pb.h"
#include "tollgate/v1/registry.pb.h"
#include "tollgate/v1/system.pb.h"
#include "tollgate/v1/usage.pb.h"

namespace tollgate::admin {

// Directory: tenants and keys (directory_tenants.cpp).
absl::Status CreateOrg(const Caller& caller, const v1::CreateOrgRequest& request, v1::Org& reply);
absl::Status ListOrgs(const Caller& caller, const v1::ListOrgsRequest& request, v1::ListOrgsReply& reply);
absl::Status CreateTeam(const Caller& caller, const v1::CreateTeamRequest& request, v1::Team& reply);
absl::Status ListTeams(const Caller& caller, const v1::ListTeamsRequest& request, v1::ListTeamsReply& reply);
absl::Status CreateProject(const Caller& caller, const v1::CreateProjectRequest& request, v1::Project& reply);
absl::Status ListProjects(const Caller& caller, const v1::ListProjectsRequest& request, v1::ListProjectsReply& reply);
absl::Status SetBlocked(const Caller& caller, const v1::SetBlockedRequest& request, v1::SetBlockedReply& reply);
absl::Status CreateKey(const Caller& caller, const v1::CreateKeyRequest& request, v1::CreateKeyReply& reply);
absl::Status ListKeys(const Caller& caller, const v1::ListKeysRequest& request, v1::ListKeysReply& reply);
absl::Status RotateKey(const Caller& caller, const v1::RotateKeyRequest& request, v1::CreateKeyReply& reply);
absl::Status RevokeKey(const Caller& caller, const v1::RevokeKeyRequest& request, v1::Key& reply);

// Directory: rules (directory_rules.cpp).
absl::Status GrantModel(const Caller& caller, const v1::GrantModelRequest& request, v1::Grant& reply);
absl::Status RevokeGrant(const Caller& caller, const v1::RevokeGrantRequest& request, v1::Grant& reply);
absl::Status ClearGrants(const Caller& caller, const v1::ClearGrantsRequest& request, v1::ClearGrantsReply& reply);
absl::Status ListGrants(const Caller& caller, const v1::ListGrantsRequest& request, v1::ListGrantsReply& reply);
absl::Status SetQuota(const Caller& caller, const v1::SetQuotaRequest& request, v1::Quota& reply);
absl::Status RemoveQuota(const Caller& caller, const v1::RemoveQuotaRequest& request, v1::Quota& reply);
absl::Status ListQuotas(const Caller& caller, const v1::ListQuotasRequest& request, v1::ListQuotasReply& reply);
absl::Status SetPrice(const Caller& caller, const v1::SetPriceRequest& request, v1::Price& reply);
absl::Status ListPrices(const Caller& caller, const v1::ListPricesRequest& request, v1::ListPricesReply& reply);

// defaults_handlers.cpp
absl::Status SetDefaults(const Caller& caller, const v1::SetDefaultsRequest& request, v1::ScopeDefaults& reply);
absl::Status RemoveDefaults(const Caller& caller, const v1::RemoveDefaultsRequest& request, v1::ScopeDefaults& reply);
absl::Status ListDefaults(const Caller& caller, const v1::ListDefaultsRequest& request, v1::ListDefaultsReply& reply);

// policy_handlers.cpp, policy_lifecycle.cpp
absl::Status CheckPolicy(const Caller& caller, const v1::CheckPolicyRequest& request, v1::CheckPolicyReply& reply);
absl::Status PutPolicy(const Caller& caller, const v1::PutPolicyRequest& request, v1::StoredPolicy& reply);
// Rules of the text that ask, or send requests to, whom this instance does not know, or are for models that it does not know or for
// aliases.
void WarnOfAsked(const Caller& caller, const std::string& name, const std::string& yaml, v1::StoredPolicy& reply);
absl::Status ActivatePolicy(const Caller& caller, const v1::ActivatePolicyRequest& request, v1::StoredPolicy& reply);
absl::Status TryPolicy(const Caller& caller, const v1::TryPolicyRequest& request, v1::StoredPolicy& reply);
absl::Status RollbackPolicy(const Caller& caller, const v1::RollbackPolicyRequest& request, v1::StoredPolicy& reply);
absl::Status SetPolicySigners(const Caller& caller, const v1::SetPolicySignersRequest& request, v1::PolicySigners& reply);
absl::Status SetSecondPerson(const Caller& caller, const v1::SetSecondPersonRequest& request, v1::SetSecondPersonReply& reply);
absl::Status ListPolicies(const Caller& caller, const v1::ListPoliciesRequest& request, v1::ListPoliciesReply& reply);
absl::Status ShowPolicy(const Caller& caller, const v1::ShowPolicyRequest& request, v1::StoredPolicy& reply);
absl::Status ExplainPolicy(const Caller& caller, const v1::ExplainPolicyRequest& request, v1::ExplainPolicyReply& reply);
absl::Status LintPolicy(const Caller& caller, const v1::LintPolicyRequest& request, v1::LintPolicyReply& reply);
// approval_handlers.cpp
absl::Status ListApprovals(const Caller& caller, const v1::ListApprovalsRequest& request, v1::ListApprovalsReply& reply);
absl::Status Approve(const Caller& caller, const v1::ApproveRequest& request, v1::PolicyApproval& reply);
absl::Status RevokeApproval(const Caller& caller, const v1::RevokeApprovalRequest& request, v1::PolicyApproval& reply);

// policy_replay.cpp
absl::Status ReplayPolicy(const Caller& caller, const v1::ReplayPolicyRequest& request, v1::PolicyChanges& reply);
absl::Status ShadowReport(const Caller& caller, const v1::ShadowReportRequest& request, v1::PolicyChanges& reply);

// registry_handlers.cpp
absl::Status AddModel(const Caller& caller, const v1::AddModelRequest& request, v1::RegisteredModel& reply);
absl::Status ListRegisteredModels(const Caller& caller, const v1::ListRegisteredModelsRequest& request,
                                  v1::ListRegisteredModelsReply& reply);
absl::Status ShowModel(const Caller& caller, const v1::ShowModelRequest& request, v1::RegisteredModel& reply);
absl::Status LoadModel(const Caller& caller, const v1::LoadModelRequest& request, v1::RegisteredModel& reply);
absl::Status UnloadModel(const Caller& caller, const v1::UnloadModelRequest& request, v1::RegisteredModel& reply);
absl::Status RetireModel(const Caller& caller, const v1::RetireModelRequest& request, v1::RegisteredModel& reply);
absl::Status RestrictModel(const Caller& caller, const v1::RestrictModelRequest& request, v1::RegisteredModel& reply);
// Rules in force or on trial, of any org, that are for a model of the alias's name.
void WarnOfScopes(const Caller& caller, const directory::Alias& alias, v1::ModelAlias& reply);
absl::Status SetAlias(const Caller& caller, const v1::SetAliasRequest& request, v1::ModelAlias& reply);
absl::Status RollbackAlias(const Caller& caller, const v1::RollbackAliasRequest& request, v1::ModelAlias& reply);
absl::Status RemoveAlias(const Caller& caller, const v1::RemoveAliasRequest& request, v1::ModelAlias& reply);
absl::Status ListAliases(const Caller& caller, const v1::ListAliasesRequest& request, v1::ListAliasesReply& reply);

// audit_handlers.cpp, pseudonym_handlers.cpp
absl::Status ListRecords(const Caller& caller, const v1::ListRecordsRequest& request, v1::ListRecordsReply& reply);
absl::Status ShowRecord(const Caller& caller, const v1::ShowRecordRequest& request, v1::ShowRecordReply& reply);
absl::Status ShowPseudonym(const Caller& caller, const v1::ShowPseudonymRequest& request, v1::ShowPseudonymReply& reply);
absl::Status ErasePseudonyms(const Caller& caller, const v1::ErasePseudonymsRequest& request, v1::ErasePseudonymsReply& reply);
absl::Status VerifyLogs(const Caller& caller, const v1::VerifyLogRequest& request, v1::VerifyLogReply& reply);
// answer_replay.cpp
absl::Status ReplayAnswer(const Caller& caller, const v1::ReplayRequest& request, v1::ReplayReply& reply);

// usage_handlers.cpp
absl::Status ReportUsage(const Caller& caller, const v1::UsageReportRequest& request, v1::UsageReportReply& reply);
absl::Status ReconcileUsage(const Caller& caller, const v1::ReconcileRequest& request, v1::ReconcileReply& reply);

// system_handlers.cpp
absl::Status Status(const Caller& caller, const v1::StatusRequest& request, v1::StatusReply& reply);
absl::Status StopNow(const Caller& caller, const v1::StopRequest& request, v1::EmergencyStop& reply);
absl::Status LiftStop(const Caller& caller, const v1::LiftStopRequest& request, v1::EmergencyStop& reply);
absl::Status ListStops(const Caller& caller, const v1::ListStopsRequest& request, v1::ListStopsReply& reply);

}  // namespace tollgate::admin
