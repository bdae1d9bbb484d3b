// One slice is the rule for small messages and is parsed in place; several are joined first. protobuf keeps fields that it does not know
// aside, in each message its own; so one look at each message finds them, and only fields that hold messages lead to more.
//
// Tested by tests/gateway/grpc/grpc_front_test.cpp.
#include "gateway/grpc/bytes.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/support/slice.h>

#include <string>
#include <vector>

#include "base/error_detail.h"

namespace tollgate::grpc_front {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The first one, in words; empty: there is none.
std::string UnknownIn(const Message& message) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  const google::protobuf::Reflection& its = *message.GetReflection();
  const google::protobuf::UnknownFieldSet& unknown = its.GetUnknownFields(message);
  if (!unknown.empty()) return fmt::format("field {} of {}", unknown.field(0).number(), type.full_name());
  std::string found;
  for (int i = 0; i < type.field_count() && found.empty(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      if (its.HasField(message, field)) found = UnknownIn(its.GetMessage(message, field));
      continue;
    }
    const int size = its.FieldSize(message, field);
    for (int at = 0; at < size && found.empty(); ++at) found = UnknownIn(its.GetRepeatedMessage(message, field, at));
  }
  return found;
}

}  // namespace

absl::Status CheckKnown(const Message& message) {
  const std::string unknown = UnknownIn(message);
  if (unknown.empty()) return absl::OkStatus();
  return base::WithDetail(
      base::InvalidArgument(
          fmt::format("{} is not known to this version of Tollgate, which ignores no field: leave it out, or update the gateway", unknown)),
      {.reason = "UNKNOWN_PARAMETER", .may_retry = false});
}

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
  if (parsed) return CheckKnown(message);
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
