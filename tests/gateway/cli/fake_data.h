// Audit, Inference and Models that answer from memory and keep what they were asked.
#pragma once

#include <string>
#include <vector>

#include "tests/gateway/cli/fake_errors.h"
#include "tollgate/v1/audit.grpc.pb.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace v1 = tollgate::v1;

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
    *stored.mutable_record()->mutable_request()->mutable_input_verdict() = verdict;
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

  grpc::Status ShowPseudonym(grpc::ServerContext*, const v1::ShowPseudonymRequest* request, v1::ShowPseudonymReply* reply) override {
    pseudonym = *request;
    reply->set_value("bob@example.com\n\x1b[2J");
    return grpc::Status::OK;
  }
  grpc::Status ErasePseudonyms(grpc::ServerContext*, const v1::ErasePseudonymsRequest* request, v1::ErasePseudonymsReply* reply) override {
    erased = *request;
    reply->set_erased(2);
    return grpc::Status::OK;
  }

  grpc::Status Replay(grpc::ServerContext*, const v1::ReplayRequest* request, v1::ReplayReply* reply) override {
    replay = *request;
    *reply = replayed;
    return grpc::Status::OK;
  }

  v1::ReplayRequest replay;
  v1::ReplayReply replayed;
  v1::ShowPseudonymRequest pseudonym;
  v1::ErasePseudonymsRequest erased;
  v1::ListRecordsRequest list;
  v1::ShowRecordRequest show;
  v1::Verdict verdict;  // Of the record that is shown.
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
    for (const std::string& piece : pieces) {
      chunk.set_text(piece);
      writer->Write(chunk);
    }
    if (!breaks.ok()) return breaks;
    chunk.clear_text();
    *chunk.mutable_end() = EndOf(prompt);
    writer->Write(chunk);
    return grpc::Status::OK;
  }
  grpc::Status Chat(grpc::ServerContext*, const v1::ChatRequest* request, v1::ChatReply* reply) override {
    chat = *request;
    *reply->mutable_end() = EndOf(request->messages(0).parts(0));
    return grpc::Status::OK;
  }
  v1::ChatRequest chat;
  std::vector<std::string> pieces = {"Hel", "lo"};
  std::string because = "It is not announced.";
  grpc::Status breaks;  // Behind the pieces.

 private:
  v1::ChatEnd EndOf(const std::string& prompt) const {
    v1::ChatEnd end;
    end.set_finish_reason(prompt == "cut" ? v1::FINISH_REASON_CONTENT_FILTER : v1::FINISH_REASON_STOP);
    if (prompt == "long" || prompt == "spend") end.set_finish_reason(v1::FINISH_REASON_LENGTH);
    end.mutable_usage()->set_input(7);
    end.mutable_usage()->set_output(5);
    end.mutable_output_policy()->set_action(prompt == "cut" ? "block" : "allow");
    if (prompt == "cut") {
      v1::ActingRule& rule = *end.mutable_output_policy()->add_rules();
      rule.set_id("codename");
      end.mutable_output_policy()->add_rule_ids("codename");
      rule.set_because(because);
    }
    if (prompt == "spend") end.set_quota_reached("project trial");
    return end;
  }
};

class FakeModels final : public v1::Models::Service {
 public:
  grpc::Status List(grpc::ServerContext*, const v1::ListModelsRequest*, v1::ListModelsReply* reply) override {
    reply->add_models()->set_name("smollm2");
    return grpc::Status::OK;
  }
};
