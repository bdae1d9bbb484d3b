// Services that answer from memory and keep what they were asked.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/gateway/cli/harness.h"
#include "tollgate/v1/audit.grpc.pb.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/inference.grpc.pb.h"
#include "tollgate/v1/policy.grpc.pb.h"
#include "tollgate/v1/system.grpc.pb.h"
#include "tollgate/v1/usage.grpc.pb.h"

namespace v1 = tollgate::v1;

template <typename Detail>
grpc::Status Rich(grpc::StatusCode code, const std::string& message, const std::vector<Detail>& details) {
  google::rpc::Status status;
  status.set_code(code);
  for (const auto& detail : details) status.add_details()->PackFrom(*detail);
  return {code, message, status.SerializeAsString()};
}

inline grpc::Status SpentMinute() {
  auto info = std::make_shared<google::rpc::ErrorInfo>();
  info->set_reason("RATE_LIMITED");
  (*info->mutable_metadata())["rules"] = "a.b,c.d";
  auto retry = std::make_shared<google::rpc::RetryInfo>();
  retry->mutable_retry_delay()->set_seconds(12);
  return Rich<std::shared_ptr<google::protobuf::Message>>(grpc::StatusCode::RESOURCE_EXHAUSTED, "team search has used 100 of 100 tokens",
                                                          {info, retry});
}

inline std::string BearerOf(const grpc::ServerContext& context) {
  const auto found = context.client_metadata().find("authorization");
  return found == context.client_metadata().end() ? "" : std::string(found->second.data(), found->second.size());
}

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
  grpc::Status CreateKey(grpc::ServerContext*, const v1::CreateKeyRequest* request, v1::CreateKeyReply* reply) override {
    create_key = *request;
    reply->set_secret("tg_live_abc");
    reply->mutable_key()->set_public_id("abcdefgh");
    return grpc::Status::OK;
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
    }
    return grpc::Status::OK;
  }
  grpc::Status CreateTeam(grpc::ServerContext*, const v1::CreateTeamRequest*, v1::Team*) override { return SpentMinute(); }

  std::string bearer;
  v1::CreateKeyRequest create_key;
  v1::SetQuotaRequest set_quota;
};

class FakeAudit final : public v1::Audit::Service {
 public:
  grpc::Status List(grpc::ServerContext*, const v1::ListRecordsRequest* request, v1::ListRecordsReply* reply) override {
    list = *request;
    for (int i = 0; i < 3; ++i) {
      auto& stored = *reply->add_records();
      stored.mutable_position()->set_log_id(1);
      stored.mutable_position()->set_index(9 - i);
      stored.mutable_record()->set_kind(v1::RECORD_KIND_DENY);
      stored.mutable_record()->mutable_deny()->set_reason("POLICY_BLOCKED");
    }
    reply->set_next_page_token("more");
    return grpc::Status::OK;
  }
  grpc::Status Show(grpc::ServerContext*, const v1::ShowRecordRequest* request, v1::ShowRecordReply* reply) override {
    show = *request;
    auto& stored = *reply->add_records();
    stored.mutable_record()->set_kind(v1::RECORD_KIND_REQUEST);
    stored.mutable_record()->mutable_request()->set_model("m");
    auto& message = *stored.mutable_content()->add_prompt();
    message.set_role(v1::ROLE_USER);
    message.add_parts("one\ntwo\x1b[2J");
    return grpc::Status::OK;
  }
  grpc::Status Verify(grpc::ServerContext*, const v1::VerifyLogRequest*, v1::VerifyLogReply* reply) override {
    auto& log = *reply->add_logs();
    log.set_log_id(1);
    log.set_problem("leaf hash differs");
    log.set_first_bad_index(7);
    return grpc::Status::OK;
  }

  v1::ListRecordsRequest list;
  v1::ShowRecordRequest show;
};

class FakeUsage final : public v1::Usage::Service {
 public:
  grpc::Status Report(grpc::ServerContext*, const v1::UsageReportRequest* request, v1::UsageReportReply* reply) override {
    report = *request;
    for (const char* team : {"search", "support"}) {
      auto& line = *reply->add_lines();
      line.set_name(team);
      line.set_requests(2);
      line.mutable_tokens()->set_input(1000);
      line.mutable_tokens()->set_output(500);
      line.set_amount("0.30");
      line.set_amount_nanos(300'000'000);
      line.set_currency("EUR");
    }
    return grpc::Status::OK;
  }
  grpc::Status Reconcile(grpc::ServerContext*, const v1::ReconcileRequest*, v1::ReconcileReply* reply) override {
    reply->set_differences(1);
    reply->set_first_difference("request x: 3 tokens in the record, 2 in usage");
    return grpc::Status::OK;
  }
  v1::UsageReportRequest report;
};

class FakePolicy final : public v1::Policy::Service {
 public:
  grpc::Status Check(grpc::ServerContext*, const v1::CheckPolicyRequest* request, v1::CheckPolicyReply* reply) override {
    check = *request;
    if (request->messages_size() > 0) reply->mutable_input()->set_action("block");
    return grpc::Status::OK;
  }
  grpc::Status Put(grpc::ServerContext*, const v1::PutPolicyRequest* request, v1::StoredPolicy* reply) override {
    put = *request;
    reply->set_version(3);
    return grpc::Status::OK;
  }
  v1::CheckPolicyRequest check;
  v1::PutPolicyRequest put;
};

class FakeSystem final : public v1::System::Service {
 public:
  grpc::Status Stop(grpc::ServerContext*, const v1::StopRequest* request, v1::EmergencyStop* reply) override {
    *reply->mutable_target() = request->target();
    reply->set_in_force(true);
    return grpc::Status::OK;
  }
  grpc::Status LiftStop(grpc::ServerContext*, const v1::LiftStopRequest* request, v1::EmergencyStop* reply) override {
    *reply->mutable_target() = request->target();
    return grpc::Status::OK;
  }
};

class FakeInference final : public v1::Inference::Service {
 public:
  grpc::Status ChatStream(grpc::ServerContext* context, const v1::ChatRequest* request,
                          grpc::ServerWriter<v1::ChatChunk>* writer) override {
    chat = *request;
    const std::string prompt = request->messages(request->messages_size() - 1).parts(0);
    if (prompt == "refuse") {
      context->AddTrailingMetadata("x-tollgate-record", "1/5");
      return SpentMinute();
    }
    v1::ChatChunk chunk;
    chunk.set_id("id-1");
    chunk.set_text("Hel");
    writer->Write(chunk);
    chunk.set_text("lo");
    writer->Write(chunk);
    chunk.clear_text();
    chunk.mutable_end()->set_finish_reason(prompt == "cut" ? v1::FINISH_REASON_CONTENT_FILTER : v1::FINISH_REASON_STOP);
    chunk.mutable_end()->mutable_usage()->set_input(7);
    chunk.mutable_end()->mutable_output_policy()->set_action(prompt == "cut" ? "block" : "allow");
    if (prompt == "spend") chunk.mutable_end()->set_quota_reached("project trial");
    writer->Write(chunk);
    return grpc::Status::OK;
  }
  v1::ChatRequest chat;
};

class FakeModels final : public v1::Models::Service {
 public:
  grpc::Status List(grpc::ServerContext*, const v1::ListModelsRequest*, v1::ListModelsReply* reply) override {
    reply->add_models()->set_name("smollm2");
    return grpc::Status::OK;
  }
};

class Server {
 public:
  Server() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{&directory, &audit, &usage, &policy, &system, &inference, &models})
      builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  Result Run(std::vector<std::string> args, const std::string& input = "") const {
    for (const char* option : {"--admin", "--api"}) args.insert(args.end(), {option, fmt::format("127.0.0.1:{}", port_)});
    args.insert(args.end(), {"--key", "secret"});
    return RunLine(args, input);
  }

  FakeDirectory directory;
  FakeAudit audit;
  FakeUsage usage;
  FakePolicy policy;
  FakeSystem system;
  FakeInference inference;
  FakeModels models;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};
