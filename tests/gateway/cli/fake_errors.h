// Errors as the server sends them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

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
