#include "tests/e2e/support/admin.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

namespace tollgate::e2e {

std::shared_ptr<grpc::Channel> ChannelTo(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(), arguments);
}

v1::ScopeRef ScopeOf(const std::string& team, const std::string& project, const std::string& key) {
  v1::ScopeRef scope;
  scope.set_org("acme");
  scope.set_team(team);
  scope.set_project(project);
  scope.set_key(key);
  return scope;
}

v1::CreateKeyReply Admin::MakeKey(const std::string& team, const std::string& project, const std::string& name,
                                  std::vector<std::string> roles) {
  v1::CreateKeyRequest request;
  request.set_org("acme");
  request.set_team(team);
  request.set_project(project);
  request.set_name(name);
  request.set_owner(name + "@example.com");
  for (const std::string& role : roles) request.add_roles(role);
  return Call<v1::Directory>(&v1::Directory::Stub::CreateKey, request);
}

void Admin::MakeProject(const std::string& team, const std::string& project) {
  v1::CreateTeamRequest new_team;
  new_team.set_org("acme");
  new_team.set_name(team);
  v1::Team made;
  const grpc::Status status = Try<v1::Directory>(&v1::Directory::Stub::CreateTeam, new_team, &made);
  if (!status.ok() && status.error_code() != grpc::StatusCode::ALREADY_EXISTS)
    throw std::runtime_error("CreateTeam: " + status.error_message());
  v1::CreateProjectRequest new_project;
  new_project.set_org("acme");
  new_project.set_team(team);
  new_project.set_name(project);
  Call<v1::Directory>(&v1::Directory::Stub::CreateProject, new_project);
}

void Admin::SetQuota(const v1::ScopeRef& scope, v1::QuotaMeter meter, v1::QuotaWindow window, std::int64_t amount) {
  v1::SetQuotaRequest request;
  *request.mutable_scope() = scope;
  request.set_meter(meter);
  request.set_window(window);
  request.set_amount(amount);
  Call<v1::Directory>(&v1::Directory::Stub::SetQuota, request);
}

void Admin::PutPolicy(const std::string& yaml, const std::string& name) {
  v1::PutPolicyRequest request;
  request.set_org("acme");
  request.set_name(name);
  request.set_yaml(yaml);
  Call<v1::Policy>(&v1::Policy::Stub::Put, request);
}

void Admin::Revoke(const std::string& public_id) {
  v1::RevokeKeyRequest request;
  request.set_public_id(public_id);
  request.set_reason("a test");
  Call<v1::Directory>(&v1::Directory::Stub::RevokeKey, request);
}

Company MakeCompany(Admin& admin, const std::string& model) {
  v1::CreateOrgRequest org;
  org.set_name("acme");
  admin.Call<v1::Directory>(&v1::Directory::Stub::CreateOrg, org);
  admin.MakeProject("red", "app");
  v1::SetPriceRequest price;
  price.set_model(model);
  price.set_input_per_1000("0.10");
  price.set_output_per_1000("0.40");
  admin.Call<v1::Directory>(&v1::Directory::Stub::SetPrice, price);
  const v1::CreateKeyReply key = admin.MakeKey("red", "app", "member");
  return {key.secret(), key.key().public_id()};
}

}  // namespace tollgate::e2e
