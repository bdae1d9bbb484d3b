// Plain blocking gRPC, the same that any client would use.
//
// Tested by tests/e2e, which run the demo.
#include "gateway/dev/demo_client.h"

#include <fmt/format.h>

#include "gateway/cli/remote.h"
#include "gateway/dev/company.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tollgate/v1/audit.grpc.pb.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/inference.grpc.pb.h"
#include "tollgate/v1/policy.grpc.pb.h"
#include "tollgate/v1/system.grpc.pb.h"
#include "tollgate/v1/usage.grpc.pb.h"

namespace tollgate::dev {
namespace {
constexpr int kTimeoutSeconds = 180;

std::string Trailer(const grpc::ClientContext& call, const char* name) {
  const auto found = call.GetServerTrailingMetadata().find(name);
  return found == call.GetServerTrailingMetadata().end() ? "" : std::string(found->second.data(), found->second.size());
}

std::string CodeName(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::PERMISSION_DENIED: return "PERMISSION_DENIED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::UNAUTHENTICATED: return "UNAUTHENTICATED";
    case grpc::StatusCode::INVALID_ARGUMENT: return "INVALID_ARGUMENT";
    case grpc::StatusCode::NOT_FOUND: return "NOT_FOUND";
    case grpc::StatusCode::UNAVAILABLE: return "UNAVAILABLE";
    default: return fmt::format("status {}", static_cast<int>(code));
  }
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details())) return "";
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

absl::Status ToStatus(const grpc::Status& status) {
  return status.ok() ? absl::OkStatus() : base::MakeStatus(static_cast<absl::StatusCode>(status.error_code()), cli::Describe(status));
}
}  // namespace

struct DemoClient::Impl {
  std::shared_ptr<grpc::Channel> api;
  std::shared_ptr<grpc::Channel> admin;
  std::vector<cli::DevKey> keys;
  std::string model;

  // One unary call on the admin listener, as the owner.
  template <typename Service, typename Request, typename Reply>
  absl::StatusOr<Reply> Call(grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Reply*), const Request& request) {
    const auto stub = Service::NewStub(admin);
    grpc::ClientContext call;
    cli::Prepare(call, cli::SecretOf(keys, "owner"), kTimeoutSeconds);
    Reply reply;
    TG_RETURN_IF_ERROR(ToStatus(((*stub).*method)(&call, request, &reply)));
    return reply;
  }
};

DemoClient::DemoClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DemoClient::~DemoClient() = default;
const std::string& DemoClient::model() const { return impl_->model; }

absl::StatusOr<std::unique_ptr<DemoClient>> DemoClient::Connect(const cli::DevEndpoints& endpoints, std::vector<cli::DevKey> keys) {
  auto impl = std::make_unique<Impl>();
  const std::chrono::seconds patience(5);
  TG_ASSIGN(impl->api, cli::Connect({fmt::format("127.0.0.1:{}", endpoints.grpc_port), "", "tollgate dev"}, patience));
  TG_ASSIGN(impl->admin, cli::Connect({fmt::format("127.0.0.1:{}", endpoints.admin_port), "", "tollgate dev"}, patience));
  impl->keys = std::move(keys);
  impl->model = endpoints.model;
  return std::unique_ptr<DemoClient>(new DemoClient(std::move(impl)));
}

absl::StatusOr<Answer> DemoClient::Ask(const std::string& key, v1::ChatRequest request,
                                       const std::function<void(const std::string&)>& on_text) {
  request.set_model(impl_->model);
  const auto stub = v1::Inference::NewStub(impl_->api);
  grpc::ClientContext call;
  cli::Prepare(call, cli::SecretOf(impl_->keys, key), kTimeoutSeconds);
  Answer answer;
  const auto reader = stub->ChatStream(&call, request);
  for (v1::ChatChunk chunk; reader->Read(&chunk);) {
    if (!chunk.text().empty()) ++answer.pieces, on_text(chunk.text());
    answer.text += chunk.text();
    if (chunk.has_end()) answer.end = chunk.end();
  }
  const grpc::Status status = reader->Finish();
  answer.request_id = Trailer(call, "x-request-id");
  answer.record = Trailer(call, "x-tollgate-record");
  if (status.ok()) return answer;
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
    return ToStatus(status);
  answer.refused = true;
  answer.code = CodeName(status.error_code());
  answer.reason = ReasonOf(status);
  answer.message = status.error_message();
  return answer;
}

absl::StatusOr<v1::ShowRecordReply> DemoClient::Story(const std::string& request_id, bool with_content) {
  v1::ShowRecordRequest request;
  request.set_request_id(request_id);
  request.set_with_content(with_content);
  if (with_content) request.set_reason("tollgate demo");
  return impl_->Call<v1::Audit>(&v1::Audit::Stub::Show, request);
}

absl::StatusOr<v1::VerifyLogReply> DemoClient::Verify() { return impl_->Call<v1::Audit>(&v1::Audit::Stub::Verify, v1::VerifyLogRequest()); }

absl::StatusOr<v1::UsageReportReply> DemoClient::BillByTeam() {
  v1::UsageReportRequest request;
  request.set_org(kOrg);
  request.set_group_by(v1::USAGE_GROUP_TEAM);
  return impl_->Call<v1::Usage>(&v1::Usage::Stub::Report, request);
}

absl::StatusOr<v1::ReconcileReply> DemoClient::Reconcile() {
  return impl_->Call<v1::Usage>(&v1::Usage::Stub::Reconcile, v1::ReconcileRequest());
}

absl::StatusOr<CompanyNow> DemoClient::Look() {
  CompanyNow now;
  const auto of_org = [](auto request) {
    request.set_org(kOrg);
    request.set_page_size(500);
    return request;
  };
  TG_ASSIGN(now.stops, impl_->Call<v1::System>(&v1::System::Stub::ListStops, v1::ListStopsRequest()));
  TG_ASSIGN(now.teams, impl_->Call<v1::Directory>(&v1::Directory::Stub::ListTeams, of_org(v1::ListTeamsRequest())));
  TG_ASSIGN(now.projects, impl_->Call<v1::Directory>(&v1::Directory::Stub::ListProjects, of_org(v1::ListProjectsRequest())));
  TG_ASSIGN(now.grants, impl_->Call<v1::Directory>(&v1::Directory::Stub::ListGrants, of_org(v1::ListGrantsRequest())));
  TG_ASSIGN(now.quotas, impl_->Call<v1::Directory>(&v1::Directory::Stub::ListQuotas, of_org(v1::ListQuotasRequest())));
  TG_ASSIGN(now.policies, impl_->Call<v1::Policy>(&v1::Policy::Stub::List, of_org(v1::ListPoliciesRequest())));
  return now;
}

}  // namespace tollgate::dev
