// What the pipeline breaks off.
#include <grpcpp/create_channel.h>
#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <catch2/catch_test_macros.hpp>

#include "gateway/grpc/grpc_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/grpc/generic_call.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/support/signal.h"
#include "tollgate/v1/inference.grpc.pb.h"

using namespace tollgate;
using namespace tollgate::testing;

TEST_CASE("A piece of a call that waits for its client ends when the pipeline breaks it off, long before the write timeout") {
  net::IoThreads io{2};
  boost::asio::thread_pool cpu{1};
  FakeChat chat;
  auto front = grpc_front::GrpcFront::Start({}, io, cpu.get_executor(), chat);
  REQUIRE(front.ok());
  const auto inference = v1::Inference::NewStub(NewChannel((*front)->port()));
  Signal ended;
  chat.Answer(UntilBrokenOff(ended));
  v1::ChatRequest request;
  request.set_model("smollm2");
  request.add_messages()->add_parts("hi");
  grpc::ClientContext context;
  auto reader = inference->ChatStream(&context, request);
  v1::ChatChunk chunk;
  REQUIRE(reader->Read(&chunk));
  CHECK(ended.Wait());
  while (reader->Read(&chunk)) continue;
  CHECK(reader->Finish().error_code() == grpc::CANCELLED);
}
