// Who calls, over HTTP and gRPC, when a proxy stands in front.
#include <grpcpp/grpcpp.h>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

#include "gateway/grpc/grpc_front.h"
#include "gateway/http/http_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/grpc/generic_call.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/gateway/http/raw_client.h"
#include "tollgate/v1/inference.grpc.pb.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

// Both front ends, which take this machine for a proxy that they trust, or not.
struct Fronts {
  explicit Fronts(bool trusted) {
    http_front::HttpOptions over_http;
    grpc_front::GrpcServerOptions over_grpc;
    const std::string loopback[] = {"127.0.0.0/8"};
    if (trusted) over_http.listener.proxies = over_grpc.listener.proxies = *base::Networks::Parse(loopback);
    http_side = *http_front::HttpFront::Start(over_http, io, io.context().get_executor(), chat, {});
    grpc_side = *grpc_front::GrpcFront::Start(over_grpc, io, io.context().get_executor(), chat);
    inference = v1::Inference::NewStub(NewChannel(grpc_side->port()));
  }

  // Whom the pipeline is told. `fields`: lines of the head.
  std::string OverHttp(RawClient& client, const std::string& fields) {
    client.Send(Request("POST", "/v1/chat/completions", R"({"model":"m","messages":[{"role":"user","content":"hi"}]})", fields));
    CHECK(client.Read().status == 200);
    return chat.last().caller.source;
  }
  std::string OverGrpc(const std::vector<std::string>& values, bool streamed) {
    grpc::ClientContext call;
    call.AddMetadata("authorization", "Bearer tg_key");
    for (const std::string& value : values) call.AddMetadata("x-forwarded-for", value);
    v1::ChatRequest request;
    request.set_model("m");
    request.add_messages()->add_parts("hi");
    request.mutable_messages(0)->set_role(v1::ROLE_USER);
    if (streamed) {
      const auto stream = inference->ChatStream(&call, request);
      v1::ChatChunk chunk;
      while (stream->Read(&chunk)) {
      }
      CHECK(stream->Finish().ok());
    } else {
      v1::ChatReply reply;
      CHECK(inference->Chat(&call, request, &reply).ok());
    }
    return chat.last().caller.source;
  }

  net::IoThreads io{2};
  FakeChat chat;
  std::unique_ptr<http_front::HttpFront> http_side;
  std::unique_ptr<grpc_front::GrpcFront> grpc_side;
  std::unique_ptr<v1::Inference::Stub> inference;
};

}  // namespace

TEST_CASE("Behind a trusted proxy a call comes from whom that names, each request of a connection by itself") {
  Fronts fronts(true);
  RawClient proxy(fronts.http_side->port());
  CHECK(fronts.OverHttp(proxy, "X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\n") == "198.51.100.7");
  CHECK(fronts.OverHttp(proxy, "X-Forwarded-For: 198.51.100.8\r\nx-forwarded-for: 127.0.0.2\r\n") == "198.51.100.8");
  CHECK(fronts.OverHttp(proxy, "") == "127.0.0.1");
  for (const bool streamed : {false, true}) {
    CHECK(fronts.OverGrpc({"203.0.113.9, 198.51.100.7"}, streamed) == "198.51.100.7");
    CHECK(fronts.OverGrpc({"198.51.100.8", "127.0.0.2"}, streamed) == "198.51.100.8");
    CHECK(fronts.OverGrpc({}, streamed) == "127.0.0.1");
  }
}

TEST_CASE("What anybody else says of where a call comes from counts for nothing") {
  Fronts fronts(false);
  RawClient client(fronts.http_side->port());
  CHECK(fronts.OverHttp(client, "X-Forwarded-For: 198.51.100.7\r\n") == "127.0.0.1");
  for (const bool streamed : {false, true}) CHECK(fronts.OverGrpc({"198.51.100.7"}, streamed) == "127.0.0.1");
}
