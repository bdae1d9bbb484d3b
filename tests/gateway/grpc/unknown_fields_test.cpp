// Fields that this version does not know: nothing that is asked for is left out silently.
#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>

#include "gateway/grpc/grpc_front.h"
#include "gateway/net/io_threads.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/gateway/grpc/generic_call.h"
#include "tests/gateway/http/fake_chat.h"
#include "tollgate/v1/embeddings.pb.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

const std::string kNewer = "\xf8\x3f\x01";  // Field 1023, a number.

// With that field in the message given.
template <typename Message>
void Add(Message& message) {
  REQUIRE(message.MergeFromString(kNewer));
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  REQUIRE(rich.ParseFromString(status.error_details()));
  REQUIRE(rich.details(0).UnpackTo(&info));
  return info.reason();
}

v1::ChatRequest Sample() {
  v1::ChatRequest request;
  request.set_model("m");
  for (const char* text : {"a", "b"}) request.add_messages()->add_parts(text);
  return request;
}

}  // namespace

TEST_CASE("A field that the .proto of this version has not is refused by number, wherever it stands, and nothing is routed") {
  net::IoThreads io{2};
  boost::asio::thread_pool cpu{1};
  FakeChat chat;
  auto front = grpc_front::GrpcFront::Start({}, io, cpu.get_executor(), chat);
  REQUIRE(front.ok());
  const auto channel = NewChannel((*front)->port());
  v1::ChatRequest whole = Sample(), within = Sample(), deep = Sample(), large = Sample();
  Add(whole);
  Add(*within.mutable_messages(1));
  Add(*deep.mutable_messages(0)->add_tool_calls());
  large.mutable_messages(0)->set_parts(0, std::string(100'000, 'x'));
  Add(large);
  v1::EmbedRequest embed;
  embed.set_model("m");
  Add(*embed.add_inputs()->mutable_tokens());
  struct Row {
    const char* method;
    std::string request, words;
  };
  const Row rows[] = {
      {"Inference/Chat", whole.SerializeAsString(), "field 1023 of tollgate.v1.ChatRequest"},
      {"Inference/ChatStream", whole.SerializeAsString(), "field 1023 of tollgate.v1.ChatRequest"},
      {"Inference/Chat", within.SerializeAsString(), "field 1023 of tollgate.v1.ChatMessage"},
      {"Inference/Chat", deep.SerializeAsString(), "field 1023 of tollgate.v1.ToolCall"},
      {"Inference/Chat", large.SerializeAsString(), "field 1023 of tollgate.v1.ChatRequest"},
      {"Tokens/Count", kNewer, "field 1023 of tollgate.v1.CountTokensRequest"},
      {"Models/List", kNewer, "field 1023 of tollgate.v1.ListModelsRequest"},
      {"Embeddings/Embed", embed.SerializeAsString(), "field 1023 of tollgate.v1."},
      {"Embeddings/Rerank", kNewer, "field 1023 of tollgate.v1.RerankRequest"},
  };
  for (const Row& row : rows) {
    INFO(row.method << " " << row.words);
    const GenericReply reply = CallGeneric(channel, std::string("/tollgate.v1.") + row.method, row.request);
    CHECK(reply.status.error_code() == grpc::INVALID_ARGUMENT);
    CHECK(ReasonOf(reply.status) == "UNKNOWN_PARAMETER");
    CHECK(reply.status.error_message().starts_with(row.words));
  }
  CHECK(chat.last().request.model().empty());
  CHECK(chat.embedded().model().empty());
  CHECK(CallGeneric(channel, "/tollgate.v1.Inference/Chat", Sample().SerializeAsString()).status.ok());
}
