// How long a client may take to read what it was sent.
#include <boost/asio/thread_pool.hpp>
#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "gateway/grpc/grpc_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/grpc/stalled_client.h"
#include "tests/gateway/http/fake_chat.h"

using namespace tollgate;
using namespace tollgate::testing;

TEST_CASE("A client that answers pings but grants no window has each of its calls ended, and holds up no shutdown") {
  net::IoThreads io{2};
  boost::asio::thread_pool cpu{1};
  FakeChat chat;
  grpc_front::GrpcServerOptions options;
  options.write_timeout_ms = 200;
  auto front = grpc_front::GrpcFront::Start(options, io, cpu.get_executor(), chat);
  REQUIRE(front.ok());
  StalledClient client((*front)->port());
  const std::string model = "\x0a\x01m";  // The first field of each that has any.
  const char* methods[] = {"/tollgate.v1.Inference/Chat", "/tollgate.v1.Inference/ChatStream", "/tollgate.v1.Tokens/Count",
                           "/tollgate.v1.Models/List",    "/tollgate.v1.Embeddings/Embed",     "/tollgate.v1.Embeddings/Rerank"};
  for (const char* method : methods) {
    INFO(method);
    const std::uint32_t stream = client.Call(method, "tg_test", std::string_view(method).ends_with("/List") ? "" : model);
    REQUIRE(client.AwaitReset(stream));
  }
  CHECK_FALSE(client.got_message());
  std::thread shutdown([&] { (*front)->Shutdown(std::chrono::minutes(10)); });
  CHECK(client.AwaitEnd());
  shutdown.join();
}

TEST_CASE("A client that takes a large message slowly gets all of it, and one that stops in its middle is cut") {
  net::IoThreads io{2};
  boost::asio::thread_pool cpu{1};
  FakeChat chat;
  constexpr std::uint32_t kStep = 64 * 1024, kSteps = 32;
  chat.Answer(
      [](Asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> { co_return SampleReply(std::string((kSteps - 1) * kStep, 'x')); });
  grpc_front::GrpcServerOptions options;
  options.write_timeout_ms = 500;
  auto front = grpc_front::GrpcFront::Start(options, io, cpu.get_executor(), chat);
  REQUIRE(front.ok());
  for (const char* method : {"/tollgate.v1.Inference/Chat", "/tollgate.v1.Inference/ChatStream"}) {
    INFO(method);
    StalledClient client((*front)->port());
    const std::uint32_t slow = client.Call(method, "tg_test", "\x0a\x01m");
    for (std::uint32_t step = 1; step < kSteps; ++step) {
      client.Grant(slow, kStep);
      REQUIRE(client.AwaitBytes(slow, step * kStep));
      std::this_thread::sleep_for(std::chrono::milliseconds(25));  // A good half more than one message's time, of eight that it has.
    }
    client.Grant(slow, kStep);
    CHECK(client.AwaitStatus(slow));
    const std::uint32_t stops = client.Call(method, "tg_test", "\x0a\x01m");
    client.Grant(stops, kStep);
    REQUIRE(client.AwaitBytes(stops, kStep));
    CHECK(client.AwaitReset(stops));
  }
}
