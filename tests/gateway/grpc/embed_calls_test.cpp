// The gRPC calls for vectors and relevance.
#include <catch2/catch_test_macros.hpp>

#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <thread>

#include "gateway/grpc/grpc_front.h"
#include "gateway/net/io_threads.h"
#include "tests/gateway/grpc/generic_call.h"
#include "tests/gateway/grpc/stalled_client.h"
#include "tests/gateway/http/fake_chat.h"
#include "tollgate/v1/embeddings.grpc.pb.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

struct Fixture {
  Fixture()
      : front(*grpc_front::GrpcFront::Start({}, io, cpu.get_executor(), chat)), stub(v1::Embeddings::NewStub(NewChannel(front->port()))) {}
  net::IoThreads io{1};  // So that a call is done with another that was first.
  boost::asio::thread_pool cpu{1};
  FakeChat chat;
  std::unique_ptr<grpc_front::GrpcFront> front;
  std::unique_ptr<v1::Embeddings::Stub> stub;
};

std::string Trailer(const grpc::ClientContext& context, const std::string& name) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find(name);
  return it == trailers.end() ? "" : std::string(it->second.data(), it->second.size());
}

}  // namespace

TEST_CASE("Vectors and ranks come with their end and the trailers of any call") {
  Fixture f;
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer tg_test");
  v1::EmbedRequest request;
  request.set_model("smollm2");
  request.set_client_request_id("mine");
  request.add_inputs()->set_text("a");
  request.add_inputs()->mutable_tokens()->add_ids(5);
  v1::EmbedReply reply;
  REQUIRE(f.stub->Embed(&context, request, &reply).ok());
  REQUIRE(reply.vectors_size() == 2);
  CHECK(reply.vectors(1).values(0) == 1.0F);
  CHECK(reply.vectors(1).values(1) == 0.5F);
  CHECK(reply.end().usage().input() == 12);
  CHECK(reply.end().record().index() == 42);
  CHECK(reply.id() == f.chat.embed_caller().request_id.ToString());
  CHECK(f.chat.embed_caller().client_request_id == "mine");
  CHECK(Trailer(context, "x-tollgate-record") == "3/42");
  CHECK(Trailer(context, "x-request-id") == reply.id());

  grpc::ClientContext ranking;
  v1::RerankRequest rank;
  rank.set_model("r");
  rank.set_query("q");
  rank.add_documents("a");
  rank.add_documents("b");
  v1::RerankReply ranked;
  REQUIRE(f.stub->Rerank(&ranking, rank, &ranked).ok());
  REQUIRE(ranked.results_size() == 2);
  CHECK(ranked.results(0).index() == 1);
  CHECK(ranked.results(0).relevance_score() == 0.75);
  CHECK(ranked.model() == "smollm2");
}

TEST_CASE("A refusal is a status") {
  Fixture f;
  grpc::ClientContext one, two;
  v1::EmbedReply reply;
  v1::RerankReply ranked;
  CHECK(f.stub->Embed(&one, {}, &reply).error_code() == grpc::INVALID_ARGUMENT);
  CHECK(f.stub->Rerank(&two, {}, &ranked).error_code() == grpc::INVALID_ARGUMENT);
  CHECK(Trailer(one, "x-tollgate-record") == "3/41");
}

TEST_CASE("An answer keeps its room until gRPC has sent it, or its client is gone") {
  Fixture f;
  auto room = std::make_shared<int>();
  const std::weak_ptr<int> held = room;
  f.chat.EmbedAs(2, std::move(room));
  {
    StalledClient client(f.front->port());
    client.Call("/tollgate.v1.Embeddings/Embed", "tg_test", "\x0a\x01m");
    while (f.chat.embedded().model().empty()) std::this_thread::yield();
    f.chat.EmbedAs(2, nullptr);
    grpc::ClientContext context;
    v1::EmbedReply reply;
    CHECK_FALSE(f.stub->Embed(&context, {}, &reply).ok());  // The first one's answer is made and out of our hands.
    CHECK_FALSE(held.expired());
  }
  while (!held.expired()) std::this_thread::yield();
}

TEST_CASE("A chat's answer keeps its room likewise") {
  Fixture f;
  auto room = std::make_shared<int>();
  const std::weak_ptr<int> held = room;
  f.chat.Answer([room](Asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    pipeline::Reply reply = SampleReply("Hello");
    reply.room = room;
    co_return reply;
  });
  room.reset();
  {
    StalledClient client(f.front->port());
    client.Call("/tollgate.v1.Inference/Chat", "tg_test", "\x0a\x01m");
    while (f.chat.last().request.model().empty()) std::this_thread::yield();
    f.chat.Fail(base::NotFound("gone"));
    grpc::ClientContext context;
    v1::EmbedReply reply;
    CHECK_FALSE(f.stub->Embed(&context, {}, &reply).ok());  // The first one's answer is made and out of our hands.
    CHECK_FALSE(held.expired());
  }
  while (!held.expired()) std::this_thread::yield();
}
