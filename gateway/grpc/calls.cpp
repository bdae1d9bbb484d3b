// A reactor holds itself alive until OnDone; its coroutine holds it too. The coroutine calls Finish exactly once, at its end, and OnDone
// comes after that and after all operations, so neither can touch the other's remains. Reactions do next to nothing: OnCancel sets the
// call's cancellation, OnWriteDone resumes the coroutine on its own strand.
//
// Each write has its limit (write_limit.h): OnWriteDone then comes as for any cancelled call. The last chunk travels with the status, and
// OnDone comes when both are gone; the limit holds until then.
//
// Tested by tests/gateway/grpc/grpc_front_test.cpp.
#include "gateway/grpc/calls.h"

#include <grpcpp/server_context.h>

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "gateway/grpc/bytes.h"
#include "gateway/grpc/grpc_status.h"
#include "gateway/grpc/unary_call.h"
#include "gateway/grpc/write_limit.h"

namespace tollgate::grpc_front {
namespace {

namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Outcome;
using pipeline::Reply;
using pipeline::ReplyHead;

template <typename Message>
void TakeLogprobs(pipeline::Logprobs& logprobs, Message& message) {
  for (v1::TokenLogprob& token : logprobs) message.add_logprobs()->Swap(&token);
}

// Another reply than the first, as ChatReply and the last ChatChunk have it.
void TakeChoice(pipeline::OutputPiece& piece, v1::Choice& choice) {
  choice.set_index(piece.choice);
  choice.set_text(std::move(piece.text));
  TakeLogprobs(piece.logprobs, choice);
  choice.set_reasoning(std::move(piece.thought));
  for (v1::ToolCall& call : piece.calls) choice.add_tool_calls()->Swap(&call);
}

class ChatCall final : public UnaryCall {
  using UnaryCall::UnaryCall;

 public:
  async::Awaitable<::grpc::Status> Answer() override {
    v1::ChatRequest request;
    const std::optional<Failure> refusal = co_await ReadMessage(shared_, caller_, *request_, request);
    if (refusal) co_return Fail(*refusal);
    TakeClientId(request, caller_);
    Outcome<Reply> outcome = co_await shared_.service.Chat(caller_, request, nullptr, cancellation_);
    if (const Failure* failure = std::get_if<Failure>(&outcome)) co_return Fail(*failure);
    Reply& reply = std::get<Reply>(outcome);
    v1::ChatReply message;
    message.set_id(caller_.request_id.ToString());
    message.set_model(reply.head.model);
    message.set_created(reply.head.created_s);
    message.set_text(std::move(reply.text));
    TakeLogprobs(reply.logprobs, message);
    message.set_reasoning(std::move(reply.thought));
    for (v1::ToolCall& call : reply.calls) message.add_tool_calls()->Swap(&call);
    for (pipeline::OutputPiece& other : reply.more) TakeChoice(other, *message.add_more());
    Trailers(rpc_).Of(reply);
    message.mutable_end()->Swap(&reply.end);
    *reply_ = ToBytes(message);
    room_ = std::move(reply.room);
    co_return ::grpc::Status::OK;
  }
};

class CountCall final : public UnaryCall {
  using UnaryCall::UnaryCall;

 public:
  async::Awaitable<::grpc::Status> Answer() override {
    v1::CountTokensRequest request;
    const std::optional<Failure> refusal = co_await ReadMessage(shared_, caller_, *request_, request);
    if (refusal) co_return Fail(*refusal);
    Outcome<v1::CountTokensReply> outcome = co_await shared_.service.CountTokens(caller_, request);
    if (const Failure* failure = std::get_if<Failure>(&outcome)) co_return Fail(*failure);
    *reply_ = ToBytes(std::get<v1::CountTokensReply>(outcome));
    co_return ::grpc::Status::OK;
  }
};

class ListCall final : public UnaryCall {
  using UnaryCall::UnaryCall;

 public:
  async::Awaitable<::grpc::Status> Answer() override {
    v1::ListModelsRequest request;
    const std::optional<Failure> refusal = co_await ReadMessage(shared_, caller_, *request_, request);
    if (refusal) co_return Fail(*refusal);
    Outcome<v1::ListModelsReply> outcome = co_await shared_.service.ListModels(caller_);
    if (const Failure* failure = std::get_if<Failure>(&outcome)) co_return Fail(*failure);
    *reply_ = ToBytes(std::get<v1::ListModelsReply>(outcome));
    co_return ::grpc::Status::OK;
  }
};

class StreamCall final : public ::grpc::ServerWriteReactor<::grpc::ByteBuffer>,
                         public pipeline::StreamWriter,
                         public std::enable_shared_from_this<StreamCall> {
 public:
  StreamCall(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request)
      : shared_(shared), rpc_(rpc), request_(request), caller_(CallerOf(*rpc, shared.proxies)) {}

  ::grpc::ServerWriteReactor<::grpc::ByteBuffer>* Start() {
    self_ = shared_from_this();
    Spawn(shared_, self_);
    return this;
  }

  async::Awaitable<void> Run() {
    Trailers trailers(rpc_);
    trailers.Id(caller_);
    v1::ChatRequest request;
    const std::optional<Failure> refusal = co_await ReadMessage(shared_, caller_, *request_, request);
    if (refusal) {
      trailers.Of(*refusal);
      limit_.Begin();
      Finish(ToGrpcStatus(refusal->status));
      co_return;
    }
    TakeClientId(request, caller_);
    Outcome<Reply> outcome = co_await shared_.service.Chat(caller_, request, this, cancellation_);
    if (const Failure* failure = std::get_if<Failure>(&outcome)) {
      trailers.Of(*failure);
      limit_.Begin();
      Finish(ToGrpcStatus(failure->status));
      co_return;
    }
    Reply& reply = std::get<Reply>(outcome);
    trailers.Of(reply);
    pipeline::OutputPiece rest{.text = std::move(reply.text),
                               .logprobs = std::move(reply.logprobs),
                               .thought = std::move(reply.thought),
                               .calls = std::move(reply.calls)};
    v1::ChatChunk last = Chunk(reply.head, std::move(rest));
    for (pipeline::OutputPiece& other : reply.more) TakeChoice(other, *last.add_more());
    last.mutable_end()->Swap(&reply.end);
    bytes_ = ToBytes(last);
    limit_.Begin(bytes_.Length());
    StartWriteAndFinish(&bytes_, ::grpc::WriteOptions(), ::grpc::Status::OK);
  }

  async::Awaitable<absl::Status> Begin(const ReplyHead& head) override {
    head_ = head;
    co_return absl::OkStatus();
  }

  async::Awaitable<absl::Status> Write(pipeline::OutputPiece piece) override { co_return co_await Send(Chunk(head_, std::move(piece))); }

  void Abort() override { limit_.Cut(); }

  void OnWriteDone(bool ok) override {
    if (auto done = std::exchange(write_done_, nullptr)) done(ok);
  }
  void OnCancel() override { cancellation_->Cancel(); }
  void OnDone() override {
    limit_.Done();
    self_.reset();
  }

 private:
  async::Awaitable<absl::Status> Send(v1::ChatChunk chunk) {
    bytes_ = ToBytes(chunk);
    auto start = [this](auto done) {
      write_done_ = std::move(done);
      StartWrite(&bytes_);
    };
    limit_.Begin(bytes_.Length());
    const bool written = co_await async::Callback<bool>(start);
    limit_.End();
    if (written && !limit_.cut()) co_return absl::OkStatus();
    cancellation_->Cancel();
    co_return base::Cancelled("the client went away");
  }

  v1::ChatChunk Chunk(const ReplyHead& head, pipeline::OutputPiece piece) {
    v1::ChatChunk chunk;
    chunk.set_id(caller_.request_id.ToString());
    chunk.set_model(head.model);
    chunk.set_created(head.created_s);
    chunk.set_text(std::move(piece.text));
    TakeLogprobs(piece.logprobs, chunk);
    chunk.set_reasoning(std::move(piece.thought));
    for (v1::ToolCall& call : piece.calls) chunk.add_tool_calls()->Swap(&call);
    chunk.set_choice(piece.choice);
    return chunk;
  }

  CallContext& shared_;
  ::grpc::CallbackServerContext* const rpc_;
  const ::grpc::ByteBuffer* const request_;
  pipeline::Caller caller_;
  const std::shared_ptr<pipeline::Cancellation> cancellation_ = std::make_shared<pipeline::Cancellation>();
  ReplyHead head_;
  ::grpc::ByteBuffer bytes_;              // The write in flight.
  std::function<void(bool)> write_done_;  // Set before StartWrite, taken by OnWriteDone.
  WriteLimit limit_{rpc_, shared_.timers, shared_.write_timeout};
  const Inside::Stay open_{shared_.open};
  std::shared_ptr<StreamCall> self_;  // Until OnDone.
};

}  // namespace

::grpc::ServerUnaryReactor* StartChat(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                      ::grpc::ByteBuffer* reply) {
  return std::make_shared<ChatCall>(shared, rpc, request, reply)->Begin();
}

::grpc::ServerUnaryReactor* StartCount(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                       ::grpc::ByteBuffer* reply) {
  return std::make_shared<CountCall>(shared, rpc, request, reply)->Begin();
}

::grpc::ServerUnaryReactor* StartList(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                      ::grpc::ByteBuffer* reply) {
  return std::make_shared<ListCall>(shared, rpc, request, reply)->Begin();
}

::grpc::ServerWriteReactor<::grpc::ByteBuffer>* StartChatStream(CallContext& shared, ::grpc::CallbackServerContext* rpc,
                                                                const ::grpc::ByteBuffer* request) {
  return std::make_shared<StreamCall>(shared, rpc, request)->Start();
}

}  // namespace tollgate::grpc_front
