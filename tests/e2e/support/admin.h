// Admin: the admin API as a test uses it. Calls throw std::runtime_error with gRPC's status unless they are tried.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include "tests/e2e/support/gateway.h"
#include "tollgate/v1/audit.grpc.pb.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/policy.grpc.pb.h"
#include "tollgate/v1/system.grpc.pb.h"
#include "tollgate/v1/usage.grpc.pb.h"

namespace tollgate::e2e {

// A channel of its own to 127.0.0.1.
std::shared_ptr<grpc::Channel> ChannelTo(int port);

class Admin {
 public:
  Admin(const Gateway& gateway, std::string key) : channel_(ChannelTo(gateway.admin_port())), key_(std::move(key)) {}

  template <typename Service, typename Request, typename Reply>
  grpc::Status Try(grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Reply*), const Request& request,
                   Reply* reply) {
    const auto stub = Service::NewStub(channel_);
    grpc::ClientContext context;
    if (!key_.empty()) context.AddMetadata("authorization", "Bearer " + key_);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return ((*stub).*method)(&context, request, reply);
  }

  template <typename Service, typename Request, typename Reply>
  Reply Call(grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Reply*), const Request& request) {
    Reply reply;
    const grpc::Status status = Try<Service>(method, request, &reply);
    if (!status.ok())
      throw std::runtime_error(Request::descriptor()->name() + ": " + std::to_string(status.error_code()) + " " + status.error_message());
    return reply;
  }

  // What tests change again and again, in org acme.
  v1::CreateKeyReply MakeKey(const std::string& team, const std::string& project, const std::string& name,
                             std::vector<std::string> roles = {"member"});
  void MakeProject(const std::string& team, const std::string& project);  // And the team.
  void SetQuota(const v1::ScopeRef& scope, v1::QuotaMeter meter, v1::QuotaWindow window, std::int64_t amount);
  void PutPolicy(const std::string& yaml, const std::string& name = "test");
  void Revoke(const std::string& public_id);

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::string key_;
};

v1::ScopeRef ScopeOf(const std::string& team, const std::string& project = "", const std::string& key = "");

// Org acme with team red, project app and one member's key, prices for the model, and no quotas or policies.
struct Company {
  std::string key;  // Its text.
  std::string public_id;
};
Company MakeCompany(Admin& admin, const std::string& model = "scripted");

}  // namespace tollgate::e2e
