// A registry of one model, qwen3, that goes through the states a test wants, one a look.
#pragma once

#include <deque>
#include <string>

#include "tollgate/v1/registry.grpc.pb.h"

namespace v1 = tollgate::v1;

class FakeRegistry final : public v1::Registry::Service {
 public:
  grpc::Status AddModel(grpc::ServerContext*, const v1::AddModelRequest* request, v1::RegisteredModel* reply) override {
    add = *request;
    *reply->mutable_spec() = request->spec();
    return grpc::Status::OK;
  }
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListRegisteredModelsRequest*, v1::ListRegisteredModelsReply* reply) override {
    return Answer(reply->add_models());
  }
  grpc::Status ShowModel(grpc::ServerContext*, const v1::ShowModelRequest*, v1::RegisteredModel* reply) override { return Answer(reply); }
  grpc::Status LoadModel(grpc::ServerContext*, const v1::LoadModelRequest*, v1::RegisteredModel*) override { return grpc::Status::OK; }
  grpc::Status UnloadModel(grpc::ServerContext*, const v1::UnloadModelRequest*, v1::RegisteredModel*) override { return grpc::Status::OK; }
  grpc::Status RetireModel(grpc::ServerContext*, const v1::RetireModelRequest*, v1::RegisteredModel*) override { return grpc::Status::OK; }
  grpc::Status RestrictModel(grpc::ServerContext*, const v1::RestrictModelRequest*, v1::RegisteredModel*) override {
    return grpc::Status::OK;
  }

  grpc::Status SetAlias(grpc::ServerContext*, const v1::SetAliasRequest* request, v1::ModelAlias* reply) override {
    alias.set_name(request->name());
    *alias.mutable_previous_targets() = alias.targets();
    *alias.mutable_targets() = request->targets();
    *alias.mutable_fallbacks() = request->fallbacks();
    *reply = alias;
    if (request->name() == "ruled") reply->add_warnings("org acme: these rules are for a model of this name: guarded");
    return grpc::Status::OK;
  }
  grpc::Status RollbackAlias(grpc::ServerContext*, const v1::RollbackAliasRequest*, v1::ModelAlias* reply) override {
    alias.mutable_targets()->Swap(alias.mutable_previous_targets());
    *reply = alias;
    return grpc::Status::OK;
  }
  grpc::Status RemoveAlias(grpc::ServerContext*, const v1::RemoveAliasRequest*, v1::ModelAlias* reply) override {
    *reply = alias;
    return grpc::Status::OK;
  }
  grpc::Status ListAliases(grpc::ServerContext*, const v1::ListAliasesRequest*, v1::ListAliasesReply* reply) override {
    *reply->add_aliases() = alias;
    return grpc::Status::OK;
  }

  v1::ModelAlias alias;
  v1::AddModelRequest add;
  std::deque<v1::ModelState> states = {v1::MODEL_STATE_REFUSED};  // The last one stays.

 private:
  grpc::Status Answer(v1::RegisteredModel* reply) {
    reply->mutable_spec()->set_name("qwen3");
    reply->set_state(states.front());
    if (states.front() == v1::MODEL_STATE_REFUSED) reply->set_problem("its digest differs");
    if (states.size() > 1) states.pop_front();
    return grpc::Status::OK;
  }
};
