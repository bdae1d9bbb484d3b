// One slice is the rule for small messages and is parsed in place; several are joined first.
//
// Tested by tests/gateway/grpc/grpc_front_test.cpp.
#include "gateway/grpc/bytes.h"

#include <fmt/format.h>
#include <grpcpp/support/slice.h>

#include <vector>

#include "base/error_detail.h"

namespace tollgate::grpc_front {

absl::Status ParseBytes(const ::grpc::ByteBuffer& bytes, google::protobuf::Message& message) {
  std::vector<::grpc::Slice> slices;
  bool parsed = bytes.Dump(&slices).ok();
  if (parsed && slices.size() == 1) {
    parsed = message.ParseFromArray(slices[0].begin(), static_cast<int>(slices[0].size()));
  } else if (parsed) {
    std::string joined;
    joined.reserve(bytes.Length());
    for (const ::grpc::Slice& slice : slices) joined.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    parsed = message.ParseFromString(joined);
  }
  if (parsed) return absl::OkStatus();
  return base::WithDetail(
      base::InvalidArgument(fmt::format("the request is not a {}, or a string in it is not UTF-8; build it from the .proto",
                                        message.GetDescriptor()->full_name())),
      {.reason = "INVALID_REQUEST", .may_retry = false});
}

::grpc::ByteBuffer ToBytes(const google::protobuf::Message& message) {
  ::grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<std::uint8_t*>(slice.begin()));
  return ::grpc::ByteBuffer(&slice, 1);
}

}  // namespace tollgate::grpc_front
