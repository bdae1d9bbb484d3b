// Usage that answers from memory and keeps what it was asked.
#pragma once

#include <cstdint>

#include "tollgate/v1/usage.grpc.pb.h"

namespace v1 = tollgate::v1;

class FakeUsage final : public v1::Usage::Service {
 public:
  grpc::Status Report(grpc::ServerContext*, const v1::UsageReportRequest* request, v1::UsageReportReply* reply) override {
    report = *request;
    if (!lines.lines().empty()) return *reply = lines, grpc::Status::OK;
    for (const char* team : {"search", "support"}) {
      auto& line = *reply->add_lines();
      line.set_name(team);
      line.set_requests(2);
      line.set_first_requests(2);
      line.mutable_tokens()->set_input(1000);
      line.mutable_tokens()->set_output(500);
      line.set_amount("0.30");
      line.set_amount_nanos(amount_nanos);
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
  std::int64_t amount_nanos = 300'000'000;  // Of each line.
  v1::UsageReportReply lines;               // If there are some, the report.
};
