// Messages to and from gRPC's byte buffers, so that a malformed request is ours to refuse. (gRPC's own callback handlers answer
// UNIMPLEMENTED.)
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include "base/status.h"

namespace tollgate::grpc_front {

// INVALID_ARGUMENT when the bytes are not such a message, or a string in it is not UTF-8; and as CheckKnown.
absl::Status ParseBytes(const ::grpc::ByteBuffer& bytes, google::protobuf::Message& message);

// INVALID_ARGUMENT (UNKNOWN_PARAMETER) when the message, or one within it, has a field that this version's .proto has not: the caller asks
// for something, and would not get it. For who was given a message by gRPC.
absl::Status CheckKnown(const google::protobuf::Message& message);

::grpc::ByteBuffer ToBytes(const google::protobuf::Message& message);

}  // namespace tollgate::grpc_front
