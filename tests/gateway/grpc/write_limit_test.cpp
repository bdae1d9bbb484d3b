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
