#include "gateway/grpc/grpc_front.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <boost/asio/thread_pool.hpp>
#include <catch2/catch_test_macros.hpp>

#include "gateway/grpc/grpc_status.h"
#include "gateway/net/io_threads.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/gateway/grpc/generic_call.h"
#include "tests/gateway/http/fake_chat.h"
#include "tests/support/signal.h"
#include "tollgate/v1/inference.grpc.pb.h"

using namespace tollgate;
using namespace tollgate::testing;

namespace {

struct Fixture {
  explicit Fixture(grpc_front::GrpcServerOptions options = {}) {
    auto started = grpc_front::GrpcFront::Start(std::move(options), io, cpu.get_executor(), chat);
    REQUIRE(started.ok());
    front = *std::move(started);
    channel = NewChannel(front->port());
    inference = v1::Inference::NewStub(channel);
  }

  net::IoThreads io{2};
  boost::asio::thread_pool cpu{1};
  FakeChat chat;
  std::unique_ptr<grpc_front::GrpcFront> front;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Inference::Stub> inference;
};

v1::ChatRequest SampleRequest() {
  v1::ChatRequest request;
  request.set_model("smollm2");
  auto* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_parts("hi");
  return request;
}

std::string Trailer(const grpc::ClientContext& context, const std::string& name) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find(name);
  return it == trailers.end() ? "" : std::string(it->second.data(), it->second.size());
}

// Runs until it is cancelled.
FakeChat::Chatting UntilGone(Signal& started, Signal& cancelled) {
  return [&started, &cancelled](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    started.Set();
    co_await UntilCancelled(asked.cancellation);
    cancelled.Set();
    co_return SampleFailure(base::Cancelled("the client went away"));
  };
}

}  // namespace

TEST_CASE("A gRPC chat carries the caller in and the reply and trailers out") {
  Fixture f;
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer tg_key");
  context.AddMetadata("x-client-request-id", "mine");
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  v1::ChatReply reply;
  REQUIRE(f.inference->Chat(&context, SampleRequest(), &reply).ok());
  const Asked asked = f.chat.last();
  CHECK(asked.caller.bearer == "tg_key");
  CHECK(asked.caller.source == "127.0.0.1");
  CHECK(asked.caller.surface == pipeline::Surface::kGrpc);
  CHECK(asked.caller.client_request_id == "mine");
  REQUIRE(asked.caller.deadline.has_value());
  CHECK(*asked.caller.deadline > asked.caller.received + std::chrono::seconds(1));
  CHECK(*asked.caller.deadline <= asked.caller.received + std::chrono::seconds(61));  // gRPC rounds timeouts up.
  CHECK(asked.request.messages(0).parts(0) == "hi");
  CHECK(reply.id() == asked.caller.request_id.ToString());
  CHECK(reply.model() == "smollm2");
  CHECK(reply.created() == 1'790'000'000);
  CHECK(reply.text() == "Hello");
  CHECK(reply.end().finish_reason() == v1::FINISH_REASON_STOP);
  CHECK(reply.end().usage().output() == 5);
  CHECK(Trailer(context, "x-request-id") == reply.id());
  CHECK(Trailer(context, "x-tollgate-record") == "3/42");
  CHECK(Trailer(context, "x-tollgate-overhead-ms") == "1.234");
  CHECK(Trailer(context, "x-ratelimit-limit-requests") == "60");
  CHECK(Trailer(context, "x-ratelimit-remaining-requests") == "59");
  CHECK(Trailer(context, "x-ratelimit-reset-requests") == "1500ms");
}

TEST_CASE("A call without deadline or credential has none") {
  Fixture f;
  for (const char* value : {"", "Basic eDp5", "Bearer"}) {
    grpc::ClientContext context;
    if (*value != 0) context.AddMetadata("authorization", value);
    v1::ChatReply reply;
    REQUIRE(f.inference->Chat(&context, SampleRequest(), &reply).ok());
    CHECK(f.chat.last().caller.bearer.empty());
    CHECK_FALSE(f.chat.last().caller.deadline.has_value());
  }
}

TEST_CASE("A gRPC stream has its pieces in order and its end in the last chunk") {
  Fixture f;
  grpc::ClientContext context;
  auto reader = f.inference->ChatStream(&context, SampleRequest());
  v1::ChatChunk first, last, none;
  REQUIRE(reader->Read(&first));
  REQUIRE(reader->Read(&last));
  CHECK_FALSE(reader->Read(&none));
  CHECK(reader->Finish().ok());
  CHECK(first.text() == "Hel");
  CHECK_FALSE(first.has_end());
  CHECK(first.id() == f.chat.last().caller.request_id.ToString());
  CHECK(first.model() == "smollm2");
  CHECK(last.text() == "lo");
  CHECK(last.end().record().index() == 42);
  CHECK(Trailer(context, "x-tollgate-record") == "3/42");
}

TEST_CASE("A failure is its status with google.rpc details, in unary calls and streams") {
  Fixture f;
  f.chat.Fail(base::WithDetail(base::ResourceExhausted("team search has used 2,000 of 2,000 tokens"), {.reason = "RATE_LIMITED",
                                                                                                       .param = "messages",
                                                                                                       .retry_after_ms = 1500,
                                                                                                       .may_retry = true,
                                                                                                       .rule_ids = {"a", "b"},
                                                                                                       .subject = "team search"}));
  for (const bool stream : {false, true}) {
    grpc::ClientContext context;
    grpc::Status status;
    if (stream) {
      auto reader = f.inference->ChatStream(&context, SampleRequest());
      v1::ChatChunk chunk;
      CHECK_FALSE(reader->Read(&chunk));
      status = reader->Finish();
    } else {
      v1::ChatReply reply;
      status = f.inference->Chat(&context, SampleRequest(), &reply);
    }
    CHECK(status.error_code() == grpc::RESOURCE_EXHAUSTED);
    CHECK(status.error_message() == "team search has used 2,000 of 2,000 tokens");
    google::rpc::Status rich;
    REQUIRE(rich.ParseFromString(status.error_details()));
    CHECK(rich.code() == 8);
    CHECK(rich.message() == status.error_message());
    REQUIRE(rich.details_size() == 4);
    google::rpc::ErrorInfo info;
    REQUIRE(rich.details(0).UnpackTo(&info));
    CHECK(info.reason() == "RATE_LIMITED");
    CHECK(info.domain() == "tollgate");
    CHECK(info.metadata().at("rules") == "a,b");
    CHECK(info.metadata().at("subject") == "team search");
    CHECK_FALSE(info.metadata().contains("retry"));
    google::rpc::RetryInfo retry;
    REQUIRE(rich.details(1).UnpackTo(&retry));
    CHECK(retry.retry_delay().seconds() == 1);
    CHECK(retry.retry_delay().nanos() == 500'000'000);
    google::rpc::QuotaFailure quota;
    REQUIRE(rich.details(2).UnpackTo(&quota));
    CHECK(quota.violations(0).subject() == "team search");
    google::rpc::BadRequest bad;
    REQUIRE(rich.details(3).UnpackTo(&bad));
    CHECK(bad.field_violations(0).field() == "messages");
    CHECK(Trailer(context, "x-tollgate-record") == "3/41");
    CHECK(Trailer(context, "x-ratelimit-remaining-tokens") == "0");
    CHECK(Trailer(context, "grpc-retry-pushback-ms") == "1500");
    CHECK_FALSE(Trailer(context, "x-request-id").empty());
  }
}

TEST_CASE("Every code keeps its number and has an ErrorInfo") {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status = grpc_front::ToGrpcStatus(base::MakeStatus(static_cast<absl::StatusCode>(code), "why"));
    CHECK(static_cast<int>(status.error_code()) == code);
    google::rpc::Status rich;
    REQUIRE(rich.ParseFromString(status.error_details()));
    google::rpc::ErrorInfo info;
    REQUIRE(rich.details(0).UnpackTo(&info));
    CHECK_FALSE(info.reason().empty());
  }
  const grpc::Status spent =
      grpc_front::ToGrpcStatus(base::WithDetail(base::ResourceExhausted("x"), {.reason = "QUOTA_SPENT", .may_retry = false}));
  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  REQUIRE(rich.ParseFromString(spent.error_details()));
  REQUIRE(rich.details(0).UnpackTo(&info));
  CHECK(info.metadata().at("retry") == "false");
}

TEST_CASE("Malformed messages are INVALID_ARGUMENT, on every method, and never reach the pipeline") {
  Fixture f;
  std::string bytes = SampleRequest().SerializeAsString();
  bytes[bytes.find("hi")] = '\xff';
  for (const char* method : {"/tollgate.v1.Inference/Chat", "/tollgate.v1.Tokens/Count"}) {
    for (const std::string& request : {std::string("\xff\xff\xff"), std::string("\x0a\x7fx"), bytes}) {
      const GenericReply reply = CallGeneric(f.channel, method, request);
      CHECK(reply.status.error_code() == grpc::INVALID_ARGUMENT);
      CHECK(reply.status.error_message().find("build it from the .proto") != std::string::npos);
    }
  }
  const char* methods[] = {"/tollgate.v1.Inference/Chat", "/tollgate.v1.Inference/ChatStream", "/tollgate.v1.Tokens/Count",
                           "/tollgate.v1.Models/List",    "/tollgate.v1.Embeddings/Embed",     "/tollgate.v1.Embeddings/Rerank"};
  for (const char* m : methods) CHECK(CallGeneric(f.channel, m, "\xff\xff\xff").status.error_code() == grpc::INVALID_ARGUMENT);
  CHECK(f.chat.last().request.model().empty());
  f.chat.RefuseAll(base::Unauthenticated("no key"));  // The key comes first.
  for (const char* m : methods) CHECK(CallGeneric(f.channel, m, "\xff\xff\xff").status.error_code() == grpc::UNAUTHENTICATED);
  const std::string good = SampleRequest().SerializeAsString();
  for (const char* m : methods) CHECK(CallGeneric(f.channel, m, good).status.error_code() == grpc::UNAUTHENTICATED);
  CHECK(f.chat.last().request.model().empty());  // It was not even read.
  CHECK(CallGeneric(f.channel, "/tollgate.v1.Inference/Nothing", "").status.error_code() == grpc::UNIMPLEMENTED);
  CHECK(CallGeneric(f.channel, "/nothing.Here/Nothing", "").status.error_code() == grpc::UNIMPLEMENTED);
}

TEST_CASE("A large message passes whole, in unary calls and streams") {
  Fixture f;
  v1::ChatRequest request = SampleRequest();
  request.mutable_messages(0)->set_parts(0, std::string(500'000, 'x'));
  for (const char* m : {"/tollgate.v1.Inference/Chat", "/tollgate.v1.Inference/ChatStream"}) {
    CHECK(CallGeneric(f.channel, m, request.SerializeAsString()).status.ok());
    CHECK(f.chat.last().request.messages(0).parts(0).size() == 500'000);
    std::string broken = request.SerializeAsString();
    broken[broken.find("xxx")] = '\xff';
    CHECK(CallGeneric(f.channel, m, broken).status.error_code() == grpc::INVALID_ARGUMENT);
  }
}

TEST_CASE("A message above the limit is RESOURCE_EXHAUSTED, one at the limit passes") {
  grpc_front::GrpcServerOptions options;
  options.message_bytes_max = 64 * 1024;
  Fixture f(options);
  v1::ChatRequest request = SampleRequest();
  request.mutable_messages(0)->set_parts(0, "");
  request.mutable_messages(0)->set_parts(0, std::string(64 * 1024 - request.ByteSizeLong() - 4, 'x'));
  REQUIRE(request.ByteSizeLong() <= 64 * 1024);
  v1::ChatReply reply;
  {
    grpc::ClientContext context;
    CHECK(f.inference->Chat(&context, request, &reply).ok());
  }
  request.mutable_messages(0)->add_parts("0123456789");
  grpc::ClientContext context;
  CHECK(f.inference->Chat(&context, request, &reply).error_code() == grpc::RESOURCE_EXHAUSTED);
}

TEST_CASE("Tokens are counted and models listed") {
  Fixture f;
  auto tokens = v1::Tokens::NewStub(f.channel);
  auto models = v1::Models::NewStub(f.channel);
  grpc::ClientContext counting, listing, failing;
  v1::CountTokensRequest count;
  count.add_messages();
  count.add_messages();
  v1::CountTokensReply counted;
  REQUIRE(tokens->Count(&counting, count, &counted).ok());
  CHECK(counted.tokens() == 14);
  v1::ListModelsReply listed;
  REQUIRE(models->List(&listing, {}, &listed).ok());
  CHECK(listed.models_size() == 2);
  f.chat.FailModels(base::Unauthenticated("no"));
  CHECK(models->List(&failing, {}, &listed).error_code() == grpc::UNAUTHENTICATED);
}

TEST_CASE("A client that cancels, or whose deadline passes, cancels the pipeline") {
  for (const bool stream : {false, true}) {
    for (const bool by_deadline : {false, true}) {
      Fixture f;
      Signal started, cancelled;
      f.chat.Answer(UntilGone(started, cancelled));
      grpc::ClientContext context;
      if (by_deadline) context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
      std::thread canceller([&] {
        if (by_deadline) return;
        started.Wait();
        context.TryCancel();
      });
      grpc::Status status;
      if (stream) {
        auto reader = f.inference->ChatStream(&context, SampleRequest());
        v1::ChatChunk chunk;
        CHECK_FALSE(reader->Read(&chunk));
        status = reader->Finish();
      } else {
        v1::ChatReply reply;
        status = f.inference->Chat(&context, SampleRequest(), &reply);
      }
      canceller.join();
      CHECK(status.error_code() == (by_deadline ? grpc::DEADLINE_EXCEEDED : grpc::CANCELLED));
      CHECK(cancelled.Wait());
    }
  }
}

TEST_CASE("A client that does not read its stream holds up that stream alone") {
  Fixture f;
  std::atomic<std::int64_t> written_bytes{0};
  Signal ended;
  f.chat.Answer([&](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    if (asked.writer == nullptr) co_return SampleReply("other");
    absl::Status status = co_await asked.writer->Begin(SampleHead());
    for (int i = 0; i < 16 * 1024 && status.ok(); ++i) {
      status = co_await asked.writer->Write(TextPiece(std::string(64 * 1024, 'x')));
      if (status.ok()) written_bytes += 64 * 1024;
    }
    ended.Set();
    co_return SampleFailure(status);
  });
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
  auto reader = f.inference->ChatStream(&context, SampleRequest());
  v1::ChatChunk chunk;
  REQUIRE(reader->Read(&chunk));
  grpc::ClientContext other;
  v1::ChatReply reply;
  CHECK(f.inference->Chat(&other, SampleRequest(), &reply).ok());
  CHECK(ended.Wait());
  CHECK(written_bytes < 64 * 1024 * 1024);
  while (reader->Read(&chunk)) continue;
  CHECK(reader->Finish().error_code() == grpc::DEADLINE_EXCEEDED);
}

TEST_CASE("A client that stalls without a deadline is cancelled when a write takes too long, the last one too") {
  for (const bool last : {false, true}) {
    grpc_front::GrpcServerOptions options;
    options.write_timeout_ms = 200;
    Fixture f(options);
    Signal ended;
    absl::StatusCode code{};
    f.chat.Answer([&](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
      absl::Status status = co_await asked.writer->Begin(SampleHead());
      status = co_await asked.writer->Write(TextPiece("x"));
      while (!last && status.ok()) status = co_await asked.writer->Write(TextPiece(std::string(64 * 1024, 'x')));
      code = status.code();
      ended.Set();
      if (last) co_return SampleReply(std::string(64 << 20, 'x'));
      co_return SampleFailure(status);
    });
    grpc::ClientContext context;
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    const std::string address = "127.0.0.1:" + std::to_string(f.front->port());
    const auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    const auto inference = v1::Inference::NewStub(channel);
    auto reader = inference->ChatStream(&context, SampleRequest());
    v1::ChatChunk chunk;
    REQUIRE(reader->Read(&chunk));
    CHECK(ended.Wait());
    CHECK(code == (last ? absl::StatusCode::kOk : absl::StatusCode::kCancelled));
    f.front->Shutdown(std::chrono::minutes(10));  // Returns once the call has ended by itself.
    while (reader->Read(&chunk)) continue;
    CHECK_FALSE(reader->Finish().ok());
  }
}

TEST_CASE("Shutdown cancels what has not ended by its deadline, and returns when nothing runs") {
  Fixture f;
  Signal started, cancelled;
  f.chat.Answer(UntilGone(started, cancelled));
  grpc::ClientContext context;
  auto reader = f.inference->ChatStream(&context, SampleRequest());
  REQUIRE(started.Wait());
  f.front->Shutdown(std::chrono::milliseconds(1));
  CHECK(cancelled.Wait());
  CHECK(f.chat.running() == 0);
  v1::ChatChunk chunk;
  CHECK_FALSE(reader->Read(&chunk));
  CHECK_FALSE(reader->Finish().ok());
}

TEST_CASE("Calls that the pipeline ends at a drain end with its words") {
  Fixture f;
  Signal started, go;
  f.chat.Answer([&](Asked asked) -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    const absl::Status begun = co_await asked.writer->Begin(SampleHead());
    CHECK(begun.ok());
    started.Set();
    go.Wait();
    co_return SampleFailure(base::WithDetail(base::Unavailable("the server is shutting down; send the request again"),
                                             {.reason = "SHUTDOWN", .retry_after_ms = 1000}));
  });
  grpc::ClientContext context;
  auto reader = f.inference->ChatStream(&context, SampleRequest());
  REQUIRE(started.Wait());
  std::thread shutdown([&] { f.front->Shutdown(std::chrono::seconds(30)); });
  go.Set();
  v1::ChatChunk chunk;
  CHECK_FALSE(reader->Read(&chunk));
  const grpc::Status status = reader->Finish();
  CHECK(status.error_code() == grpc::UNAVAILABLE);
  CHECK(status.error_message() == "the server is shutting down; send the request again");
  shutdown.join();
}
