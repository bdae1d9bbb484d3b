// Directory and System that answer from memory and keep what they were asked.
#pragma once

#include <string>
#include <utility>

#include "tests/gateway/cli/fake_errors.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/policy.grpc.pb.h"
#include "tollgate/v1/system.grpc.pb.h"

namespace v1 = tollgate::v1;

class FakeDirectory final : public v1::Directory::Service {
 public:
  grpc::Status ListTeams(grpc::ServerContext* context, const v1::ListTeamsRequest* request, v1::ListTeamsReply* reply) override {
    bearer = BearerOf(*context);
    auto& team = *reply->add_teams();
    team.set_org(request->org().empty() ? "own" : request->org());
    team.set_name(request->page_token().empty() ? "search" : "support");
    team.set_record("1/2");
    if (request->page_token().empty()) reply->set_next_page_token("next");
    return grpc::Status::OK;
  }
  grpc::Status ListProjects(grpc::ServerContext*, const v1::ListProjectsRequest* request, v1::ListProjectsReply* reply) override {
    if (request->team() == "search") reply->add_projects()->set_name("web");
    return grpc::Status::OK;
  }
  grpc::Status ListOrgs(grpc::ServerContext*, const v1::ListOrgsRequest*, v1::ListOrgsReply* reply) override {
    reply->add_orgs()->set_name("acme");
    return end;
  }
  grpc::Status GrantModel(grpc::ServerContext*, const v1::GrantModelRequest*, v1::Grant*) override { return grpc::Status::OK; }
  grpc::Status SetPrice(grpc::ServerContext*, const v1::SetPriceRequest*, v1::Price*) override { return grpc::Status::OK; }
  grpc::Status ListPrices(grpc::ServerContext*, const v1::ListPricesRequest*, v1::ListPricesReply*) override { return grpc::Status::OK; }
  grpc::Status CreateKey(grpc::ServerContext*, const v1::CreateKeyRequest* request, v1::CreateKeyReply* reply) override {
    create_key = *request;
    reply->set_secret("tg_live_abc");
    reply->mutable_key()->set_public_id("abcdefgh");
    return grpc::Status::OK;
  }
  grpc::Status ListKeys(grpc::ServerContext*, const v1::ListKeysRequest* request, v1::ListKeysReply* reply) override {
    list_keys = *request;
    auto& key = *reply->add_keys();
    key.set_public_id("abcdefgh");
    key.set_org("acme");
    key.set_team("search");
    key.set_project("web");
    key.set_name("ci");
    key.set_owner("ann");
    key.add_roles("member");
    if (!request->include_dead()) return grpc::Status::OK;
    auto& dead = *reply->add_keys() = key;
    dead.set_public_id("zyxwvuts");
    dead.set_revoked_us(1);
    return grpc::Status::OK;
  }
  grpc::Status RotateKey(grpc::ServerContext*, const v1::RotateKeyRequest* request, v1::CreateKeyReply* reply) override {
    rotate_key = *request;
    reply->set_secret("tg_live_new");
    reply->mutable_key()->set_public_id("newkeyid");
    return grpc::Status::OK;
  }
  grpc::Status RevokeKey(grpc::ServerContext*, const v1::RevokeKeyRequest* request, v1::Key* reply) override {
    revoke_key = *request;
    reply->set_public_id(request->public_id());
    reply->set_record("1/9");
    return end;
  }
  grpc::Status SetQuota(grpc::ServerContext*, const v1::SetQuotaRequest* request, v1::Quota* reply) override {
    set_quota = *request;
    *reply->mutable_scope() = request->scope();
    reply->set_meter(request->meter());
    reply->set_window(request->window());
    reply->set_amount(request->amount());
    return grpc::Status::OK;
  }
  grpc::Status ListQuotas(grpc::ServerContext*, const v1::ListQuotasRequest*, v1::ListQuotasReply* reply) override {
    for (const auto& [team, project] : {std::pair("", ""), std::pair("search", ""), std::pair("search", "web"), std::pair("support", "")}) {
      auto& quota = *reply->add_quotas();
      quota.mutable_scope()->set_org("acme");
      quota.mutable_scope()->set_team(team);
      quota.mutable_scope()->set_project(project);
      quota.set_meter(v1::QUOTA_METER_TOKENS);
      quota.set_window(v1::QUOTA_WINDOW_MONTH);
      quota.set_amount(1000);
      if (*project == 0) continue;
      quota.set_taken(1250);
      quota.set_resets_us(1'796'083'200'000'000);
    }
    return grpc::Status::OK;
  }
  grpc::Status CreateTeam(grpc::ServerContext*, const v1::CreateTeamRequest*, v1::Team*) override { return SpentMinute(); }

  grpc::Status end;  // Of ListOrgs and RevokeKey.
  std::string bearer;
  v1::CreateKeyRequest create_key;
  v1::ListKeysRequest list_keys;
  v1::RotateKeyRequest rotate_key;
  v1::RevokeKeyRequest revoke_key;
  v1::SetQuotaRequest set_quota;
};

// Serves smollm2 and llama; knows the org acme with the team search and its project web.
class FakeSystem final : public v1::System::Service {
 public:
  grpc::Status Status(grpc::ServerContext*, const v1::StatusRequest*, v1::StatusReply* reply) override {
    for (const char* model : {"smollm2", "llama"}) reply->add_models()->set_name(model);
    return grpc::Status::OK;
  }
  grpc::Status Stop(grpc::ServerContext*, const v1::StopRequest* request, v1::EmergencyStop* reply) override {
    *reply->mutable_target() = request->target();
    reply->set_in_force(true);
    return Find(request->target());
  }
  grpc::Status LiftStop(grpc::ServerContext*, const v1::LiftStopRequest* request, v1::EmergencyStop* reply) override {
    *reply->mutable_target() = request->target();
    return Find(request->target());
  }

 private:
  static grpc::Status Find(const v1::StopTarget& target) {
    const auto missing = [](const std::string& what) { return grpc::Status(grpc::StatusCode::NOT_FOUND, "there is no " + what); };
    const v1::ScopeRef& scope = target.scope();
    if (!target.has_scope()) return grpc::Status::OK;
    if (!scope.org().empty() && scope.org() != "acme") return missing("org '" + scope.org() + "'");
    if (!scope.team().empty() && scope.team() != "search") return missing("team 'acme/" + scope.team() + "'");
    if (!scope.project().empty() && scope.project() != "web") return missing("project 'acme/search/" + scope.project() + "'");
    return grpc::Status::OK;
  }
};
