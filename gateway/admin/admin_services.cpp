// Each method is one line: its handler, its name. Serve puts the call on a worker, which admits the caller, runs the handler and finishes
// the reactor; gRPC keeps request and reply alive until then. The only file of this room that compiles against the services.
//
// Tested by tests/gateway/admin/services_test.cpp.
#include "gateway/admin/admin_services.h"

#include <grpcpp/grpcpp.h>

#include <atomic>

#include "base/postgres_pool.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/workers.h"
#include "gateway/grpc/grpc_status.h"
#include "tollgate/v1/audit.grpc.pb.h"
#include "tollgate/v1/defaults.grpc.pb.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/policy.grpc.pb.h"
#include "tollgate/v1/registry.grpc.pb.h"
#include "tollgate/v1/system.grpc.pb.h"
#include "tollgate/v1/usage.grpc.pb.h"

namespace tollgate::admin {
namespace {

constexpr std::chrono::milliseconds kInterruptPatience{1000};

using Context = ::grpc::CallbackServerContext;
using Reactor = ::grpc::ServerUnaryReactor;

base::SessionPool::Options PoolOf(const base::PostgresOptions& postgres, int sessions) {
  base::SessionPool::Options options;
  options.postgres = postgres;
  options.sessions = sessions;
  options.queue_timeout = std::chrono::milliseconds(5000);
  return options;
}

// A call; deletes itself when gRPC is done with it, which comes after Finish.
class Call final : public Reactor {
 public:
  const std::atomic<bool>& gone() const { return gone_; }
  void OnCancel() override { gone_ = true; }
  void OnDone() override { delete this; }

 private:
  std::atomic<bool> gone_{false};
};

class Counter {
 public:
  Counter(Desk& desk, Workers& workers) : desk_(desk), workers_(workers) {}

  template <typename Request, typename Reply>
  Reactor* Serve(Context* context, const Request* request, Reply* reply, const char* method,
                 absl::Status (*handler)(const Caller&, const Request&, Reply&)) {
    Call* call = new Call;
    const std::string bearer = grpc_front::BearerOf(*context);
    const absl::Status taken = workers_.Submit([this, call, request, reply, method, handler, bearer] {
      call->Finish(grpc_front::ToGrpcStatus(Run(*request, *reply, method, handler, bearer, call->gone())));
    });
    if (!taken.ok()) call->Finish(grpc_front::ToGrpcStatus(taken));
    return call;
  }

 private:
  template <typename Request, typename Reply>
  absl::Status Run(const Request& request, Reply& reply, const char* method, absl::Status (*handler)(const Caller&, const Request&, Reply&),
                   const std::string& bearer, const std::atomic<bool>& gone) {
    TG_ASSIGN(const Caller caller, Caller::Admit(desk_, method, bearer, gone));
    return handler(caller, request, reply);
  }

  Desk& desk_;
  Workers& workers_;
};

class DirectoryService final : public v1::Directory::CallbackService {
 public:
  explicit DirectoryService(Counter& counter) : counter_(counter) {}
  Reactor* CreateOrg(Context* c, const v1::CreateOrgRequest* q, v1::Org* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/CreateOrg", &admin::CreateOrg);
  }
  Reactor* ListOrgs(Context* c, const v1::ListOrgsRequest* q, v1::ListOrgsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/ListOrgs", &admin::ListOrgs);
  }
  Reactor* CreateTeam(Context* c, const v1::CreateTeamRequest* q, v1::Team* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/CreateTeam", &admin::CreateTeam);
  }
  Reactor* ListTeams(Context* c, const v1::ListTeamsRequest* q, v1::ListTeamsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/ListTeams", &admin::ListTeams);
  }
  Reactor* CreateProject(Context* c, const v1::CreateProjectRequest* q, v1::Project* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/CreateProject", &admin::CreateProject);
  }
  Reactor* ListProjects(Context* c, const v1::ListProjectsRequest* q, v1::ListProjectsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/ListProjects", &admin::ListProjects);
  }
  Reactor* SetBlocked(Context* c, const v1::SetBlockedRequest* q, v1::SetBlockedReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/SetBlocked", &admin::SetBlocked);
  }
  Reactor* CreateKey(Context* c, const v1::CreateKeyRequest* q, v1::CreateKeyReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/CreateKey", &admin::CreateKey);
  }
  Reactor* ListKeys(Context* c, const v1::ListKeysRequest* q, v1::ListKeysReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/ListKeys", &admin::ListKeys);
  }
  Reactor* RotateKey(Context* c, const v1::RotateKeyRequest* q, v1::CreateKeyReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/RotateKey", &admin::RotateKey);
  }
  Reactor* RevokeKey(Context* c, const v1::RevokeKeyRequest* q, v1::Key* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/RevokeKey", &admin::RevokeKey);
  }
  Reactor* GrantModel(Context* c, const v1::GrantModelRequest* q, v1::Grant* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/GrantModel", &admin::GrantModel);
  }
  Reactor* RevokeGrant(Context* c, const v1::RevokeGrantRequest* q, v1::Grant* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/RevokeGrant", &admin::RevokeGrant);
  }
  Reactor* ClearGrants(Context* c, const v1::ClearGrantsRequest* q, v1::ClearGrantsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/ClearGrants", &admin::ClearGrants);
  }
  Reactor* ListGrants(Context* c, const v1::ListGrantsRequest* q, v1::ListGrantsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/ListGrants", &admin::ListGrants);
  }
  Reactor* SetQuota(Context* c, const v1::SetQuotaRequest* q, v1::Quota* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/SetQuota", &admin::SetQuota);
  }
  Reactor* RemoveQuota(Context* c, const v1::RemoveQuotaRequest* q, v1::Quota* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/RemoveQuota", &admin::RemoveQuota);
  }
  Reactor* ListQuotas(Context* c, const v1::ListQuotasRequest* q, v1::ListQuotasReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/ListQuotas", &admin::ListQuotas);
  }
  Reactor* SetPrice(Context* c, const v1::SetPriceRequest* q, v1::Price* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/SetPrice", &admin::SetPrice);
  }
  Reactor* ListPrices(Context* c, const v1::ListPricesRequest* q, v1::ListPricesReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Directory/ListPrices", &admin::ListPrices);
  }

 private:
  Counter& counter_;
};

class DefaultsService final : public v1::Defaults::CallbackService {
 public:
  explicit DefaultsService(Counter& counter) : counter_(counter) {}
  Reactor* Set(Context* c, const v1::SetDefaultsRequest* q, v1::ScopeDefaults* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Defaults/Set", &SetDefaults);
  }
  Reactor* Remove(Context* c, const v1::RemoveDefaultsRequest* q, v1::ScopeDefaults* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Defaults/Remove", &RemoveDefaults);
  }
  Reactor* List(Context* c, const v1::ListDefaultsRequest* q, v1::ListDefaultsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Defaults/List", &ListDefaults);
  }

 private:
  Counter& counter_;
};

class RegistryService final : public v1::Registry::CallbackService {
 public:
  explicit RegistryService(Counter& counter) : counter_(counter) {}
  Reactor* AddModel(Context* c, const v1::AddModelRequest* q, v1::RegisteredModel* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/AddModel", &admin::AddModel);
  }
  Reactor* ListModels(Context* c, const v1::ListRegisteredModelsRequest* q, v1::ListRegisteredModelsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/ListModels", &admin::ListRegisteredModels);
  }
  Reactor* ShowModel(Context* c, const v1::ShowModelRequest* q, v1::RegisteredModel* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/ShowModel", &admin::ShowModel);
  }
  Reactor* LoadModel(Context* c, const v1::LoadModelRequest* q, v1::RegisteredModel* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/LoadModel", &admin::LoadModel);
  }
  Reactor* UnloadModel(Context* c, const v1::UnloadModelRequest* q, v1::RegisteredModel* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/UnloadModel", &admin::UnloadModel);
  }
  Reactor* RetireModel(Context* c, const v1::RetireModelRequest* q, v1::RegisteredModel* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/RetireModel", &admin::RetireModel);
  }
  Reactor* RestrictModel(Context* c, const v1::RestrictModelRequest* q, v1::RegisteredModel* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/RestrictModel", &admin::RestrictModel);
  }
  Reactor* SetAlias(Context* c, const v1::SetAliasRequest* q, v1::ModelAlias* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/SetAlias", &admin::SetAlias);
  }
  Reactor* RollbackAlias(Context* c, const v1::RollbackAliasRequest* q, v1::ModelAlias* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/RollbackAlias", &admin::RollbackAlias);
  }
  Reactor* RemoveAlias(Context* c, const v1::RemoveAliasRequest* q, v1::ModelAlias* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/RemoveAlias", &admin::RemoveAlias);
  }
  Reactor* ListAliases(Context* c, const v1::ListAliasesRequest* q, v1::ListAliasesReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Registry/ListAliases", &admin::ListAliases);
  }

 private:
  Counter& counter_;
};

class PolicyService final : public v1::Policy::CallbackService {
 public:
  explicit PolicyService(Counter& counter) : counter_(counter) {}
  Reactor* Check(Context* c, const v1::CheckPolicyRequest* q, v1::CheckPolicyReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Check", &CheckPolicy);
  }
  Reactor* Put(Context* c, const v1::PutPolicyRequest* q, v1::StoredPolicy* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Put", &PutPolicy);
  }
  Reactor* Activate(Context* c, const v1::ActivatePolicyRequest* q, v1::StoredPolicy* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Activate", &ActivatePolicy);
  }
  Reactor* Try(Context* c, const v1::TryPolicyRequest* q, v1::StoredPolicy* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Try", &TryPolicy);
  }
  Reactor* Rollback(Context* c, const v1::RollbackPolicyRequest* q, v1::StoredPolicy* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Rollback", &RollbackPolicy);
  }
  Reactor* SetSigners(Context* c, const v1::SetPolicySignersRequest* q, v1::PolicySigners* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/SetSigners", &admin::SetPolicySigners);
  }
  Reactor* SetSecondPerson(Context* c, const v1::SetSecondPersonRequest* q, v1::SetSecondPersonReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/SetSecondPerson", &admin::SetSecondPerson);
  }
  Reactor* List(Context* c, const v1::ListPoliciesRequest* q, v1::ListPoliciesReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/List", &ListPolicies);
  }
  Reactor* Show(Context* c, const v1::ShowPolicyRequest* q, v1::StoredPolicy* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Show", &ShowPolicy);
  }
  Reactor* Explain(Context* c, const v1::ExplainPolicyRequest* q, v1::ExplainPolicyReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Explain", &ExplainPolicy);
  }
  Reactor* Lint(Context* c, const v1::LintPolicyRequest* q, v1::LintPolicyReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Lint", &LintPolicy);
  }
  Reactor* ListApprovals(Context* c, const v1::ListApprovalsRequest* q, v1::ListApprovalsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/ListApprovals", &admin::ListApprovals);
  }
  Reactor* Approve(Context* c, const v1::ApproveRequest* q, v1::PolicyApproval* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Approve", &admin::Approve);
  }
  Reactor* RevokeApproval(Context* c, const v1::RevokeApprovalRequest* q, v1::PolicyApproval* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/RevokeApproval", &admin::RevokeApproval);
  }
  Reactor* Replay(Context* c, const v1::ReplayPolicyRequest* q, v1::PolicyChanges* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/Replay", &ReplayPolicy);
  }
  Reactor* ShadowReport(Context* c, const v1::ShadowReportRequest* q, v1::PolicyChanges* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Policy/ShadowReport", &admin::ShadowReport);
  }

 private:
  Counter& counter_;
};

class AuditService final : public v1::Audit::CallbackService {
 public:
  explicit AuditService(Counter& counter) : counter_(counter) {}
  Reactor* List(Context* c, const v1::ListRecordsRequest* q, v1::ListRecordsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Audit/List", &ListRecords);
  }
  Reactor* Show(Context* c, const v1::ShowRecordRequest* q, v1::ShowRecordReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Audit/Show", &ShowRecord);
  }
  Reactor* Verify(Context* c, const v1::VerifyLogRequest* q, v1::VerifyLogReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Audit/Verify", &VerifyLogs);
  }
  Reactor* ShowPseudonym(Context* c, const v1::ShowPseudonymRequest* q, v1::ShowPseudonymReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Audit/ShowPseudonym", &admin::ShowPseudonym);
  }
  Reactor* ErasePseudonyms(Context* c, const v1::ErasePseudonymsRequest* q, v1::ErasePseudonymsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Audit/ErasePseudonyms", &admin::ErasePseudonyms);
  }
  Reactor* Replay(Context* c, const v1::ReplayRequest* q, v1::ReplayReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Audit/Replay", &ReplayAnswer);
  }

 private:
  Counter& counter_;
};

class UsageService final : public v1::Usage::CallbackService {
 public:
  explicit UsageService(Counter& counter) : counter_(counter) {}
  Reactor* Report(Context* c, const v1::UsageReportRequest* q, v1::UsageReportReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Usage/Report", &ReportUsage);
  }
  Reactor* Reconcile(Context* c, const v1::ReconcileRequest* q, v1::ReconcileReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.Usage/Reconcile", &ReconcileUsage);
  }

 private:
  Counter& counter_;
};

class SystemService final : public v1::System::CallbackService {
 public:
  explicit SystemService(Counter& counter) : counter_(counter) {}
  Reactor* Status(Context* c, const v1::StatusRequest* q, v1::StatusReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.System/Status", &admin::Status);
  }
  Reactor* Stop(Context* c, const v1::StopRequest* q, v1::EmergencyStop* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.System/Stop", &StopNow);
  }
  Reactor* LiftStop(Context* c, const v1::LiftStopRequest* q, v1::EmergencyStop* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.System/LiftStop", &admin::LiftStop);
  }
  Reactor* ListStops(Context* c, const v1::ListStopsRequest* q, v1::ListStopsReply* r) override {
    return counter_.Serve(c, q, r, "/tollgate.v1.System/ListStops", &admin::ListStops);
  }

 private:
  Counter& counter_;
};

}  // namespace

struct AdminServices::Impl {
  Impl(const AdminOptions& options, AdminCollaborators collaborators)
      : audit_pool(PoolOf(options.audit_postgres, options.threads)),
        verify_pool(PoolOf(options.verify_postgres, 1)),
        usage_pool(PoolOf(options.usage_postgres, 1)),
        reader(audit_pool, collaborators.keys, collaborators.journal),
        desk{std::move(collaborators), usage_pool, verify_pool, reader, {}, {}, {}},
        workers(options.threads, static_cast<std::size_t>(options.queue_max)) {}

  base::SessionPool audit_pool;
  base::SessionPool verify_pool;
  base::SessionPool usage_pool;
  audit::Reader reader;
  Desk desk;
  Workers workers;
  Counter counter{desk, workers};
  DirectoryService directory{counter};
  DefaultsService defaults{counter};
  RegistryService registry{counter};
  PolicyService policy{counter};
  AuditService audit{counter};
  UsageService usage{counter};
  SystemService system{counter};
  std::jthread interrupting;
};

AdminServices::AdminServices(AdminOptions options, AdminCollaborators collaborators)
    : impl_(std::make_unique<Impl>(options, std::move(collaborators))) {}
AdminServices::~AdminServices() = default;

void AdminServices::Stop() {
  impl_->desk.stopping = true;
  // On a thread of its own: a Postgres that does not answer must not hold up the drain.
  impl_->interrupting = std::jthread([impl = impl_.get()] {
    impl->verify_pool.Stop(kInterruptPatience);
    impl->usage_pool.Stop(kInterruptPatience);
  });
}

std::vector<std::pair<std::string_view, grpc::Service*>> AdminServices::services() {
  return {{"tollgate.v1.Directory", &impl_->directory}, {"tollgate.v1.Defaults", &impl_->defaults},
          {"tollgate.v1.Registry", &impl_->registry},   {"tollgate.v1.Policy", &impl_->policy},
          {"tollgate.v1.Audit", &impl_->audit},         {"tollgate.v1.Usage", &impl_->usage},
          {"tollgate.v1.System", &impl_->system}};
}

}  // namespace tollgate::admin
