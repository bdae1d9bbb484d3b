// Commands against services that answer from memory: what is asked, what is printed, and what an error looks like.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include "base/encoding.h"
#include "gateway/cli/remote.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/gateway/cli/harness.h"
#include "tollgate/v1/audit.grpc.pb.h"
#include "tollgate/v1/directory.grpc.pb.h"
#include "tollgate/v1/inference.grpc.pb.h"
#include "tollgate/v1/policy.grpc.pb.h"
#include "tollgate/v1/system.grpc.pb.h"
#include "tollgate/v1/usage.grpc.pb.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

namespace {
template <typename Detail>
grpc::Status Rich(grpc::StatusCode code, const std::string& message, const std::vector<Detail>& details) {
  google::rpc::Status status;
  status.set_code(code);
  for (const auto& detail : details) status.add_details()->PackFrom(*detail);
  return {code, message, status.SerializeAsString()};
}

grpc::Status SpentMinute() {
  auto info = std::make_shared<google::rpc::ErrorInfo>();
  info->set_reason("RATE_LIMITED");
  (*info->mutable_metadata())["rules"] = "a.b,c.d";
  auto retry = std::make_shared<google::rpc::RetryInfo>();
  retry->mutable_retry_delay()->set_seconds(12);
  return Rich<std::shared_ptr<google::protobuf::Message>>(grpc::StatusCode::RESOURCE_EXHAUSTED, "team search has used 100 of 100 tokens", {info, retry});
}

std::string BearerOf(const grpc::ServerContext& context) {
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
  grpc::Status ChatStream(grpc::ServerContext* context, const v1::ChatRequest* request, grpc::ServerWriter<v1::ChatChunk>* writer) override {
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
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{&directory, &audit, &usage, &policy, &system, &inference, &models}) builder.RegisterService(service);
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
}  // namespace

TEST_CASE("Lists are asked to the last page and printed as a table, or as JSON") {
  Server server;
  const Result table = server.Run({"team", "list", "--org", "acme"});
  CHECK(table.code == kDone);
  CHECK(table.out == "ORG   TEAM     STATE  RECORD\nacme  search   open   1/2\nacme  support  open   1/2\n");
  CHECK(server.directory.bearer == "Bearer secret");
  const Result json = server.Run({"--json", "team", "list"});
  CHECK_THAT(json.out, ContainsSubstring("\"name\": \"support\"") && ContainsSubstring("\"blocked\": false"));
}

TEST_CASE("A key's text stands alone on standard output") {
  Server server;
  const Result result = server.Run({"key", "create", "search/web", "--name", "ci", "--role", "finance", "--role", "auditor", "--expires", "90d", "--owner", "ann"});
  CHECK(result.code == kDone);
  CHECK(result.out == "tg_live_abc\n");
  CHECK_THAT(result.err, ContainsSubstring("key abcdefgh"));
  CHECK(server.directory.create_key.team() == "search");
  CHECK(server.directory.create_key.project() == "web");
  CHECK(server.directory.create_key.roles_size() == 2);
  CHECK(server.directory.create_key.expires_in_s() == 90 * 86400);
}

TEST_CASE("Limits are set on the scope that is named, and shown with those above it") {
  Server server;
  CHECK(server.Run({"quota", "set", "tokens/month", "2000000", "--project", "search/web"}).out ==
        "set: 2,000,000 tokens/month of /search/web (record ); in force everywhere within a second\n");
  CHECK(server.directory.set_quota.window() == v1::QUOTA_WINDOW_MONTH);
  CHECK(server.Run({"quota", "set", "concurrent", "4", "--key-id", "abcdefgh"}).code == kDone);
  CHECK(server.directory.set_quota.scope().key() == "abcdefgh");
  const Result shown = server.Run({"quota", "show", "--project", "search/web"});
  CHECK_THAT(shown.out, ContainsSubstring("acme/search/web") && ContainsSubstring("acme/search  ") && !ContainsSubstring("support"));
  CHECK_THAT(server.Run({"quota", "list"}).out, ContainsSubstring("support"));
}

TEST_CASE("A refusal is told with its reason, its rules and when to try again") {
  Server server;
  const Result result = server.Run({"team", "create", "x"});
  CHECK(result.code == kRefused);
  CHECK(result.err == "tollgate: team search has used 100 of 100 tokens\n  reason: RATE_LIMITED\n  rules: a.b,c.d\n  try again in: 12 s\n");
  CHECK(result.out.empty());
}

TEST_CASE("A method that the server does not have is a refusal, not a crash") {
  Server server;
  CHECK(server.Run({"org", "create", "x"}).code == kRefused);
}

TEST_CASE("Records: filters go along, no more rows than asked for, content is indented and tamed") {
  Server server;
  const Result list = server.Run({"audit", "list", "--kind", "deny", "--team", "search", "--limit", "2", "--since", "2026-11-01"});
  CHECK(list.code == kDone);
  CHECK(server.audit.list.kinds(0) == v1::RECORD_KIND_DENY);
  CHECK(server.audit.list.team() == "search");
  CHECK(server.audit.list.from_us() == 1'793'491'200'000'000);
  CHECK_THAT(list.out, ContainsSubstring("1/8") && !ContainsSubstring("1/7"));
  const Result show = server.Run({"audit", "show", "chatcmpl-01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--content", "--reason", "because"});
  CHECK(server.audit.show.request_id() == "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e");
  CHECK(server.audit.show.reason() == "because");
  CHECK_THAT(show.out, ContainsSubstring("      | user: one\n      | two?[2J\n"));
  const Result verify = server.Run({"audit", "verify"});
  CHECK(verify.code == kRefused);
  CHECK_THAT(verify.out, ContainsSubstring("record 7: leaf hash differs"));
}

TEST_CASE("Usage is summed, and a difference is a refusal") {
  Server server;
  const Result report = server.Run({"usage", "report", "--by", "project", "--team", "search", "--project", "web"});
  CHECK(report.code == kDone);
  CHECK(server.usage.report.group_by() == v1::USAGE_GROUP_PROJECT);
  CHECK_THAT(report.out, ContainsSubstring("total           4         2,000          1,000    0.60  EUR"));
  const Result reconcile = server.Run({"usage", "reconcile"});
  CHECK(reconcile.code == kRefused);
  CHECK_THAT(reconcile.out, ContainsSubstring("1 requests differ; the first: request x"));
}

TEST_CASE("Policies are read from a file or standard input; a blocked text is exit code 1") {
  Server server;
  CHECK(server.Run({"policy", "put", "-", "--name", "acme"}, "rules: []").code == kDone);
  CHECK(server.policy.put.yaml() == "rules: []");
  const std::string file = (std::filesystem::temp_directory_path() / "tg-cli-policy.strict.yaml").string();
  REQUIRE(base::WriteFileAtomically(file, "x", 0600).ok());
  CHECK(server.Run({"policy", "put", file, "--store-only"}).code == kDone);
  CHECK(server.policy.put.name() == "tg-cli-policy");
  CHECK(server.policy.put.store_only());
  std::filesystem::remove(file);
  CHECK(server.Run({"policy", "test", "--input", "secret"}).code == kRefused);
  CHECK(server.policy.check.messages(0).parts(0) == "secret");
}

TEST_CASE("Stops name what they stop") {
  Server server;
  CHECK_THAT(server.Run({"stop", "model", "m", "--reason", "r"}).out, ContainsSubstring("model m is stopped"));
  CHECK_THAT(server.Run({"stop", "everything", "--reason", "r", "--lift"}).out, ContainsSubstring("everything may run again"));
  CHECK_THAT(server.Run({"stop", "team", "search", "--reason", "r", "--org", "acme"}).out, ContainsSubstring("acme/search is stopped"));
}

TEST_CASE("Chat streams the text and tells the rest on standard error") {
  Server server;
  const Result plain = server.Run({"chat", "Why", "blue?", "--seed", "7", "--stop", "a", "--stop", "b"});
  CHECK(plain.code == kDone);
  CHECK(plain.out == "Hello\n");
  CHECK(plain.err.empty());
  CHECK(server.inference.chat.model() == "smollm2");
  CHECK(server.inference.chat.messages(0).parts(0) == "Why blue?");
  CHECK(server.inference.chat.sampling().seed() == 7);
  CHECK(server.inference.chat.stop_size() == 2);
  const Result verbose = server.Run({"chat", "-v", "-m", "other", "-s", "Be brief.", "-"}, "from a pipe");
  CHECK_THAT(verbose.err, ContainsSubstring("tokens  7 in"));
  CHECK(server.inference.chat.messages(0).role() == v1::ROLE_SYSTEM);
  CHECK(server.inference.chat.messages(1).parts(0) == "from a pipe");
}

TEST_CASE("A chat that policy or a quota cut, or that was refused, is exit code 1") {
  Server server;
  const Result cut = server.Run({"chat", "cut"});
  CHECK(cut.code == kRefused);
  CHECK_THAT(cut.err, ContainsSubstring("[policy ended the reply: block]"));
  const Result spent = server.Run({"chat", "spend"});
  CHECK(spent.code == kRefused);
  CHECK_THAT(spent.err, ContainsSubstring("[a quota ended the reply: project trial]"));
  const Result refused = server.Run({"chat", "-v", "refuse"});
  CHECK(refused.code == kRefused);
  CHECK_THAT(refused.err, ContainsSubstring("reason: RATE_LIMITED") && ContainsSubstring("record  1/5"));
}

TEST_CASE("A key of `tollgate dev` goes to its own address and nowhere else") {
  std::string folder = (std::filesystem::temp_directory_path() / "tg-target-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  REQUIRE(base::WriteFileAtomically(folder + "/keys.json", R"({"keys": [{"name": "owner", "secret": "o"}, {"name": "web", "secret": "w"}]})", 0600).ok());
  REQUIRE(base::WriteFileAtomically(folder + "/endpoints.json", R"({"grpc_port": 5001, "admin_port": 5003, "org": "acme"})", 0600).ok());
  Globals globals;
  globals.folder = folder;
  CHECK(FindTarget(globals, Listener::kAdmin).address == "127.0.0.1:5003");
  CHECK(FindTarget(globals, Listener::kAdmin).key == "o");
  CHECK(FindTarget(globals, Listener::kApi).key == "w");
  CHECK(OrgOf(globals) == "acme");
  globals.admin = "elsewhere:8083";
  CHECK(FindTarget(globals, Listener::kAdmin).key.empty());
  CHECK(OrgOf(globals).empty());
  globals.admin = "127.0.0.1:5003";
  CHECK(FindTarget(globals, Listener::kAdmin).key == "o");
  ::setenv("TOLLGATE_KEY", "e", 1);
  CHECK(FindTarget(globals, Listener::kAdmin).key == "e");
  globals.key = "k";
  CHECK(FindTarget(globals, Listener::kAdmin).key == "k");
  ::unsetenv("TOLLGATE_KEY");
  globals = {};
  globals.folder = folder + "/none";
  CHECK(FindTarget(globals, Listener::kApi).address == "127.0.0.1:8081");
  std::filesystem::remove_all(folder);
}
