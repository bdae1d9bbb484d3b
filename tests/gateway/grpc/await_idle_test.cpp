// Whose last bytes an orderly stop waits for.
#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <future>
#include <thread>

#include "gateway/grpc/grpc_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/grpc/generic_call.h"
#include "tests/gateway/http/fake_chat.h"
#include "tollgate/v1/inference.grpc.pb.h"

using namespace tollgate;
using namespace tollgate::testing;

TEST_CASE("Waiting for the calls that are there does not wait for those that come meanwhile") {
  net::IoThreads io{2};
  boost::asio::thread_pool cpu{1};
  FakeChat chat;
  chat.Answer([](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    co_await UntilCancelled(asked.cancellation);
    co_return SampleFailure(base::Cancelled("the client went away"));
  });
  auto front = grpc_front::GrpcFront::Start({}, io, cpu.get_executor(), chat);
  REQUIRE(front.ok());
  const auto inference = v1::Inference::NewStub(NewChannel((*front)->port()));
  grpc::ClientContext first, second;
  const auto call = [&](grpc::ClientContext& context) {
    v1::ChatReply reply;
    return inference->Chat(&context, v1::ChatRequest(), &reply).error_code();
  };
  auto before = std::async(std::launch::async, [&] { return call(first); });
  while (chat.running() < 1) std::this_thread::yield();
  CHECK_FALSE((*front)->AwaitIdle(std::chrono::milliseconds(0)));
  auto later = std::async(std::launch::async, [&] { return call(second); });
  while (chat.running() < 2) std::this_thread::yield();
  first.TryCancel();
  CHECK((*front)->AwaitIdle(std::chrono::seconds(10)));
  CHECK(before.get() == grpc::CANCELLED);
  CHECK(chat.running() == 1);
  second.TryCancel();
  CHECK(later.get() == grpc::CANCELLED);
}
