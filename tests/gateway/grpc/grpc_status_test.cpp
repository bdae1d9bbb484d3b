// What of a refusal reaches clients, however much there is to say.
#include "gateway/grpc/grpc_status.h"

#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <catch2/catch_test_macros.hpp>
#include <string>
#include <vector>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/grpc/grpc_front.h"
#include "gateway/net/io_threads.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/gateway/grpc/generic_call.h"
#include "tests/gateway/http/fake_chat.h"
#include "tollgate/v1/inference.grpc.pb.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

std::string Times(int count, const std::string& text) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

const std::string kHan = "\xe4\xb8\x80";  // U+4E00.

// As message and details travel to a client that takes no raw bytes.
std::size_t BytesOf(const grpc::Status& status) {
  std::size_t bytes = (status.error_details().size() + 2) / 3 * 4;
  for (const char c : status.error_message()) bytes += c >= ' ' && c <= '~' && c != '%' ? 1 : 3;
  return bytes;
}

google::rpc::ErrorInfo InfoOf(const grpc::Status& status) {
  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  REQUIRE(rich.ParseFromString(status.error_details()));
  CHECK(rich.message() == status.error_message());
  REQUIRE(rich.details(0).UnpackTo(&info));
  return info;
}

absl::Status Refusal(const std::string& message, int rules, const std::string& subject = "") {
  base::ErrorDetail detail{.reason = "POLICY_BLOCKED", .param = "messages", .may_retry = false, .subject = subject};
  for (int i = 0; i < rules; ++i) detail.rule_ids.push_back(std::to_string(1000 + i) + std::string(60, 'r'));
  return base::WithDetail(base::PermissionDenied(message), detail);
}

}  // namespace

TEST_CASE("A refusal by many rules, in any language, reaches a client that takes as much as clients do by default") {
  net::IoThreads io{1};
  boost::asio::thread_pool cpu{1};
  FakeChat chat;
  auto front = grpc_front::GrpcFront::Start({}, io, cpu.get_executor(), chat);
  REQUIRE(front.ok());
  const auto inference = v1::Inference::NewStub(NewChannel((*front)->port()));
  for (const std::string& message : {Times(2000, kHan), std::string(6000, 'x'), std::string(6000, '%'), std::string("short")}) {
    chat.Fail(Refusal(message, 300));
    grpc::ClientContext context;
    v1::ChatReply reply;
    const grpc::Status status = inference->Chat(&context, v1::ChatRequest(), &reply);
    CHECK(status.error_code() == grpc::PERMISSION_DENIED);
    CHECK(InfoOf(status).reason() == "POLICY_BLOCKED");
    CHECK(context.GetServerTrailingMetadata().contains("x-tollgate-record"));
    CHECK(BytesOf(status) <= 6200);
  }
}

TEST_CASE("What has no room is cut where it may be, and counted") {
  const grpc::Status many = grpc_front::ToGrpcStatus(Refusal(Times(2000, kHan), 300));
  CHECK(base::IsValidUtf8(many.error_message()));
  CHECK(many.error_message().starts_with(kHan + kHan));
  CHECK(many.error_message().ends_with("…"));
  const auto info = InfoOf(many);
  CHECK(info.metadata().at("rules").starts_with("1000rr"));
  CHECK(info.metadata().at("rules").size() == 15 * 64 + 14);  // Whole ones.
  CHECK(info.metadata().at("rules_left_out") == "285");
  CHECK(BytesOf(many) > 6150);  // No more than must be.

  std::string approvals;
  for (int i = 0; i < 40; ++i) approvals += (i == 0 ? "" : ",") + std::string(36, 'a');
  const auto subject = InfoOf(grpc_front::ToGrpcStatus(Refusal(Times(2000, kHan), 1, approvals))).metadata().at("subject");
  CHECK(subject == approvals);
  const auto longer = InfoOf(grpc_front::ToGrpcStatus(Refusal("x", 1, approvals + "," + approvals + "," + approvals)));
  CHECK(longer.metadata().at("subject").size() == 81 * 37 - 1);  // Whole ones here too.

  const std::string faults(2'500, 'f');  // As long as what is wrong with a policy may be.
  CHECK(grpc_front::ToGrpcStatus(base::InvalidArgument(faults)).error_message() == faults);
}

TEST_CASE("A refusal of ordinary length says all, in its violations too") {
  const grpc::Status status = grpc_front::ToGrpcStatus(Refusal("the prompt was blocked", 2));
  CHECK(status.error_message() == "the prompt was blocked");
  const auto info = InfoOf(status);
  CHECK_FALSE(info.metadata().contains("rules_left_out"));
  google::rpc::Status rich;
  google::rpc::BadRequest bad;
  REQUIRE(rich.ParseFromString(status.error_details()));
  REQUIRE(rich.details(1).UnpackTo(&bad));
  CHECK(bad.field_violations(0).description() == "the prompt was blocked");
}
