// What a refusal's caller switches on, as it comes over gRPC.
#pragma once

#include <string>

#include <grpcpp/support/status.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace tollgate::test {

// The ErrorInfo's reason: "POLICY_BLOCKED". "" where there is none.
inline std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  if (!rich.ParseFromString(status.error_details())) return "";
  for (const auto& detail : rich.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

}  // namespace tollgate::test
