// absl::Status to the wire: gRPC's status with google.rpc.Status in `grpc-status-details-bin`, one way for every service, and what every
// call carries as metadata.
//
// Details: always ErrorInfo (domain "tollgate"; reason of base::ErrorDetail, or the code's name; metadata `rules` with the policy rules'
// ids and `subject` with the scope, where present; `retry` = "false" where the same call would fail again); RetryInfo where waiting helps;
// QuotaFailure for RESOURCE_EXHAUSTED with a subject; BadRequest where a field is at fault.
// All of it fits the 8 KiB of trailers that clients take by default: of many rules some are told and the others counted (`rules_left_out`),
// of a long message the beginning, and then what is wrong with a field or quota is not told there again.
#pragma once

#include <string>

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "base/networks.h"
#include "base/status.h"
#include "gateway/pipeline/call.h"

namespace tollgate::grpc_front {

::grpc::Status ToGrpcStatus(const absl::Status& status);

// The credential of metadata `authorization: Bearer …`; empty if there is none, another scheme, or more than one.
std::string BearerOf(const ::grpc::ServerContextBase& context);

// The peer's address without port; where that is one of `proxies`, the client's that it names (net/forwarded.h).
std::string SourceOf(const ::grpc::ServerContextBase& context, const base::Networks& proxies);

// All of it: bearer, source, deadline, x-client-request-id, a new request id; received = now.
pipeline::Caller CallerOf(const ::grpc::ServerContextBase& context, const base::Networks& proxies);

}  // namespace tollgate::grpc_front
