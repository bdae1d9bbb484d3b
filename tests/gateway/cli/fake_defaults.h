// Defaults and Tokens that answer from memory and keep what they were asked.
#pragma once

#include <string>

#include "tollgate/v1/defaults.grpc.pb.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace v1 = tollgate::v1;

class FakeDefaults final : public v1::Defaults::Service {
 public:
  grpc::Status Set(grpc::ServerContext*, const v1::SetDefaultsRequest* request, v1::ScopeDefaults* reply) override {
    set = *request;
    Fill(request->scope(), 1, *reply);
    return grpc::Status::OK;
  }
  grpc::Status Remove(grpc::ServerContext*, const v1::RemoveDefaultsRequest* request, v1::ScopeDefaults* reply) override {
    remove = *request;
    Fill(request->scope(), 2, *reply);
    return grpc::Status::OK;
  }
  grpc::Status List(grpc::ServerContext*, const v1::ListDefaultsRequest*, v1::ListDefaultsReply* reply) override {
    v1::ScopeRef scope;
    scope.set_org("acme");
    scope.set_team("search");
    Fill(scope, 3, *reply->add_defaults());
    reply->mutable_defaults(0)->mutable_defaults()->set_system_prompt(system_prompt);
    return grpc::Status::OK;
  }

  v1::SetDefaultsRequest set;
  v1::RemoveDefaultsRequest remove;
  std::string system_prompt = "Be brief.";  // Of the scope that is listed.

 private:
  static void Fill(const v1::ScopeRef& scope, std::int64_t version, v1::ScopeDefaults& reply) {
    *reply.mutable_scope() = scope;
    reply.set_version(version);
    reply.set_record("1/7");
    reply.set_summary("what was set");
  }
};

class FakeTokens final : public v1::Tokens::Service {
 public:
  grpc::Status Count(grpc::ServerContext*, const v1::CountTokensRequest* request, v1::CountTokensReply* reply) override {
    count = *request;
    reply->set_tokens(request->messages_size() * 7);
    reply->set_context_tokens(4096);
    return grpc::Status::OK;
  }

  v1::CountTokensRequest count;
};
