// Each call is one line: its method, its handler, its messages. Runner::Serve admits the caller on gRPC's thread, a look into the snapshot,
// so that nobody unknown takes a place, and puts the call on a worker, which admits again, as much may have changed while it waited, runs
// the handler and finishes the reactor; gRPC keeps request and reply alive until then. The only file of this room that compiles against the
// services.
//
// Tested by tests/gateway/admin/services_test.cpp, services_queue_test.cpp.
#include "gateway/admin/admin_services.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>

#include "base/postgres_pool.h"
#include "gateway/admin/handlers.h"
#include "gateway/admin/workers.h"
#include "gateway/grpc/bytes.h"
#include "gateway/grpc/grpc_status.h"
#include "gateway/grpc/write_limit.h"
#include "gateway/net/io_threads.h"
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
constexpr std::chrono::milliseconds kTakenPatience{1000};

// Two for orgs, of which none has both, and one that only who acts for the installation may take.
constexpr int kUrgentThreads = 3;

// However few postgres.sessions says: of fewer, one org's share would be one, and a replay of ten minutes all of its calls.
constexpr int kThreadsMin = 4;

// Ordinary calls that run at once; as many sessions for each of what they ask, so that none waits for another's, and who has a share of
// the threads has it of the sessions.
int ThreadsOf(const AdminOptions& options) { return std::max(options.threads, kThreadsMin); }

// Short changes that end or undo something: nobody can wait for them while reports run.
constexpr std::string_view kUrgent[] = {
    "/tollgate.v1.System/Stop",         "/tollgate.v1.System/LiftStop",      "/tollgate.v1.Directory/RevokeKey",
    "/tollgate.v1.Directory/RotateKey", "/tollgate.v1.Directory/SetBlocked", "/tollgate.v1.Directory/RevokeGrant",
};

Whose WhoseOf(const Caller& caller, std::string_view method, const std::atomic<bool>& gone) {
  const bool urgent = std::find(std::begin(kUrgent), std::end(kUrgent), method) != std::end(kUrgent);
  return {urgent, caller.SeesAll() ? base::OrgId() : caller.place().org->id, &gone};
}

using Context = ::grpc::CallbackServerContext;
using Reactor = ::grpc::ServerUnaryReactor;

base::SessionPool::Options PoolOf(const base::PostgresOptions& postgres, int sessions) {
  base::SessionPool::Options options;
  options.postgres = postgres;
  options.sessions = sessions;
  options.queue_timeout = std::chrono::milliseconds(5000);
  return options;
}

// For what lists of limits tell beside them: a look-up by keys of an index, apart from reports, that gives up before its reader does.
base::SessionPool::Options TakenPoolOf(const base::PostgresOptions& usage) {
  base::SessionPool::Options options = PoolOf(usage, 1);
  options.queue_timeout = kTakenPatience;
  options.postgres.connect_timeout = kTakenPatience;
  options.postgres.statement_timeout = kTakenPatience;
  options.postgres.lock_timeout = kTakenPatience;
  return options;
}

// A call; deletes itself when gRPC is done with it, which comes after Finish.
class Call final : public Reactor {
 public:
  Call(Context* context, const AdminContext& shared)
      : limit_(context, shared.with.io->context().get_executor(), shared.with.write_timeout) {}

  const std::atomic<bool>& gone() const { return gone_; }
  void End(const absl::Status& status, std::size_t bytes = 0) {
    limit_.Begin(bytes);
    Finish(grpc_front::ToGrpcStatus(status));
  }
  void OnCancel() override { gone_ = true; }
  void OnDone() override {
    limit_.Done();
    delete this;
  }

 private:
  grpc_front::WriteLimit limit_;
  std::atomic<bool> gone_{false};
};

class Runner {
 public:
  Runner(AdminContext& context, Workers& workers) : context_(context), workers_(workers) {}

  template <typename Request, typename Reply>
  Reactor* Serve(Context* context, const Request* request, Reply* reply, const char* method,
                 absl::Status (*handler)(const Caller&, const Request&, Reply&)) {
    Call* call = new Call(context, context_);
    const std::string bearer = grpc_front::BearerOf(*context);
    const absl::StatusOr<Caller> caller = Caller::Admit(context_, method, bearer, call->gone());
    absl::Status taken = caller.status();
    if (taken.ok()) {
      taken = workers_.Submit(WhoseOf(*caller, method, call->gone()), [this, call, request, reply, method, handler, bearer] {
        const absl::Status done = Run(*request, *reply, method, handler, bearer, call->gone());
        call->End(done, done.ok() ? reply->ByteSizeLong() : 0);
      });
    }
    if (!taken.ok()) call->End(taken);
    return call;
  }

 private:
  template <typename Request, typename Reply>
  absl::Status Run(const Request& request, Reply& reply, const char* method, absl::Status (*handler)(const Caller&, const Request&, Reply&),
                   const std::string& bearer, const std::atomic<bool>& gone) {
    // Who was told that it failed, by a deadline for instance, may have done something else by now.
    if (gone.load()) return base::Cancelled("the call was cancelled before its turn came; nothing was done");
    TG_ASSIGN(const Caller caller, Caller::Admit(context_, method, bearer, gone));
    TG_RETURN_IF_ERROR(grpc_front::CheckKnown(request));
    return handler(caller, request, reply);
  }

  AdminContext& context_;
  Workers& workers_;
};

// A service whose calls a Runner serves.
template <typename Wire>
class Served : public Wire {
 public:
  explicit Served(Runner& runner) : runner_(runner) {}

 protected:
  Runner& runner_;
};

// One call of a service: its method, its handler, what comes and what goes.
#define TG_CALL(service, method, handler, Request, Reply)                                 \
  Reactor* method(Context* c, const v1::Request* q, v1::Reply* r) override {              \
    return runner_.Serve(c, q, r, "/tollgate.v1." #service "/" #method, &admin::handler); \
  }

class DirectoryService final : public Served<v1::Directory::CallbackService> {
 public:
  using Served::Served;
  TG_CALL(Directory, CreateOrg, CreateOrg, CreateOrgRequest, Org)
  TG_CALL(Directory, ListOrgs, ListOrgs, ListOrgsRequest, ListOrgsReply)
  TG_CALL(Directory, CreateTeam, CreateTeam, CreateTeamRequest, Team)
  TG_CALL(Directory, ListTeams, ListTeams, ListTeamsRequest, ListTeamsReply)
  TG_CALL(Directory, CreateProject, CreateProject, CreateProjectRequest, Project)
  TG_CALL(Directory, ListProjects, ListProjects, ListProjectsRequest, ListProjectsReply)
  TG_CALL(Directory, SetBlocked, SetBlocked, SetBlockedRequest, SetBlockedReply)
  TG_CALL(Directory, CreateKey, CreateKey, CreateKeyRequest, CreateKeyReply)
  TG_CALL(Directory, ListKeys, ListKeys, ListKeysRequest, ListKeysReply)
  TG_CALL(Directory, RotateKey, RotateKey, RotateKeyRequest, CreateKeyReply)
  TG_CALL(Directory, RevokeKey, RevokeKey, RevokeKeyRequest, Key)
  TG_CALL(Directory, GrantModel, GrantModel, GrantModelRequest, Grant)
  TG_CALL(Directory, RevokeGrant, RevokeGrant, RevokeGrantRequest, Grant)
  TG_CALL(Directory, ClearGrants, ClearGrants, ClearGrantsRequest, ClearGrantsReply)
  TG_CALL(Directory, ListGrants, ListGrants, ListGrantsRequest, ListGrantsReply)
  TG_CALL(Directory, SetQuota, SetQuota, SetQuotaRequest, Quota)
  TG_CALL(Directory, RemoveQuota, RemoveQuota, RemoveQuotaRequest, Quota)
  TG_CALL(Directory, ListQuotas, ListQuotas, ListQuotasRequest, ListQuotasReply)
  TG_CALL(Directory, SetPrice, SetPrice, SetPriceRequest, Price)
  TG_CALL(Directory, ListPrices, ListPrices, ListPricesRequest, ListPricesReply)
};

class DefaultsService final : public Served<v1::Defaults::CallbackService> {
 public:
  using Served::Served;
  TG_CALL(Defaults, Set, SetDefaults, SetDefaultsRequest, ScopeDefaults)
  TG_CALL(Defaults, Remove, RemoveDefaults, RemoveDefaultsRequest, ScopeDefaults)
  TG_CALL(Defaults, List, ListDefaults, ListDefaultsRequest, ListDefaultsReply)
};

class RegistryService final : public Served<v1::Registry::CallbackService> {
 public:
  using Served::Served;
  TG_CALL(Registry, AddModel, AddModel, AddModelRequest, RegisteredModel)
  TG_CALL(Registry, ListModels, ListRegisteredModels, ListRegisteredModelsRequest, ListRegisteredModelsReply)
  TG_CALL(Registry, ShowModel, ShowModel, ShowModelRequest, RegisteredModel)
  TG_CALL(Registry, LoadModel, LoadModel, LoadModelRequest, RegisteredModel)
  TG_CALL(Registry, UnloadModel, UnloadModel, UnloadModelRequest, RegisteredModel)
  TG_CALL(Registry, RetireModel, RetireModel, RetireModelRequest, RegisteredModel)
  TG_CALL(Registry, RestrictModel, RestrictModel, RestrictModelRequest, RegisteredModel)
  TG_CALL(Registry, SetAlias, SetAlias, SetAliasRequest, ModelAlias)
  TG_CALL(Registry, RollbackAlias, RollbackAlias, RollbackAliasRequest, ModelAlias)
  TG_CALL(Registry, RemoveAlias, RemoveAlias, RemoveAliasRequest, ModelAlias)
  TG_CALL(Registry, ListAliases, ListAliases, ListAliasesRequest, ListAliasesReply)
};

class PolicyService final : public Served<v1::Policy::CallbackService> {
 public:
  using Served::Served;
  TG_CALL(Policy, Check, CheckPolicy, CheckPolicyRequest, CheckPolicyReply)
  TG_CALL(Policy, Put, PutPolicy, PutPolicyRequest, StoredPolicy)
  TG_CALL(Policy, Activate, ActivatePolicy, ActivatePolicyRequest, StoredPolicy)
  TG_CALL(Policy, Try, TryPolicy, TryPolicyRequest, StoredPolicy)
  TG_CALL(Policy, Rollback, RollbackPolicy, RollbackPolicyRequest, StoredPolicy)
  TG_CALL(Policy, SetSigners, SetPolicySigners, SetPolicySignersRequest, PolicySigners)
  TG_CALL(Policy, SetSecondPerson, SetSecondPerson, SetSecondPersonRequest, SetSecondPersonReply)
  TG_CALL(Policy, List, ListPolicies, ListPoliciesRequest, ListPoliciesReply)
  TG_CALL(Policy, Show, ShowPolicy, ShowPolicyRequest, StoredPolicy)
  TG_CALL(Policy, Explain, ExplainPolicy, ExplainPolicyRequest, ExplainPolicyReply)
  TG_CALL(Policy, Lint, LintPolicy, LintPolicyRequest, LintPolicyReply)
  TG_CALL(Policy, ListApprovals, ListApprovals, ListApprovalsRequest, ListApprovalsReply)
  TG_CALL(Policy, Approve, Approve, ApproveRequest, PolicyApproval)
  TG_CALL(Policy, RevokeApproval, RevokeApproval, RevokeApprovalRequest, PolicyApproval)
  TG_CALL(Policy, Replay, ReplayPolicy, ReplayPolicyRequest, PolicyChanges)
  TG_CALL(Policy, ShadowReport, ShadowReport, ShadowReportRequest, PolicyChanges)
};

class AuditService final : public Served<v1::Audit::CallbackService> {
 public:
  using Served::Served;
  TG_CALL(Audit, List, ListRecords, ListRecordsRequest, ListRecordsReply)
  TG_CALL(Audit, Show, ShowRecord, ShowRecordRequest, ShowRecordReply)
  TG_CALL(Audit, Verify, VerifyLogs, VerifyLogRequest, VerifyLogReply)
  TG_CALL(Audit, ShowPseudonym, ShowPseudonym, ShowPseudonymRequest, ShowPseudonymReply)
  TG_CALL(Audit, ErasePseudonyms, ErasePseudonyms, ErasePseudonymsRequest, ErasePseudonymsReply)
  TG_CALL(Audit, Replay, ReplayAnswer, ReplayRequest, ReplayReply)
};

class UsageService final : public Served<v1::Usage::CallbackService> {
 public:
  using Served::Served;
  TG_CALL(Usage, Report, ReportUsage, UsageReportRequest, UsageReportReply)
  TG_CALL(Usage, Reconcile, ReconcileUsage, ReconcileRequest, ReconcileReply)
};

class SystemService final : public Served<v1::System::CallbackService> {
 public:
  using Served::Served;
  TG_CALL(System, Status, Status, StatusRequest, StatusReply)
  TG_CALL(System, Stop, StopNow, StopRequest, EmergencyStop)
  TG_CALL(System, LiftStop, LiftStop, LiftStopRequest, EmergencyStop)
  TG_CALL(System, ListStops, ListStops, ListStopsRequest, ListStopsReply)
};

#undef TG_CALL

}  // namespace

struct AdminServices::Impl {
  Impl(const AdminOptions& options, AdminCollaborators collaborators)
      : audit_pool(PoolOf(options.audit_postgres, ThreadsOf(options))),
        verify_pool(PoolOf(options.verify_postgres, 1)),
        usage_pool(PoolOf(options.usage_postgres, ThreadsOf(options))),
        taken_pool(TakenPoolOf(options.usage_postgres)),
        reader(audit_pool, collaborators.keys, collaborators.journal),
        context{std::move(collaborators), usage_pool, verify_pool, taken_pool, reader, {}, {}, {}, {}},
        workers(ThreadsOf(options), kUrgentThreads, static_cast<std::size_t>(options.queue_max)) {}

  base::SessionPool audit_pool;
  base::SessionPool verify_pool;  // For who acts for the installation alone.
  base::SessionPool usage_pool;
  base::SessionPool taken_pool;
  audit::Reader reader;
  AdminContext context;
  Workers workers;
  Runner runner{context, workers};
  DirectoryService directory{runner};
  DefaultsService defaults{runner};
  RegistryService registry{runner};
  PolicyService policy{runner};
  AuditService audit{runner};
  UsageService usage{runner};
  SystemService system{runner};
  std::jthread interrupting;
};

AdminServices::AdminServices(AdminOptions options, AdminCollaborators collaborators)
    : impl_(std::make_unique<Impl>(options, std::move(collaborators))) {}
AdminServices::~AdminServices() = default;

void AdminServices::Stop() {
  impl_->context.stopping = true;
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
