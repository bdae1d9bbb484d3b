// Calls for vectors and relevance: parse, ask the pipeline, write the answer. The bridge is unary_call.h's.
//
// Tested by tests/gateway/grpc/embed_calls_test.cpp.
#include <utility>
#include <variant>

#include "gateway/grpc/unary_call.h"
#include "tollgate/v1/embeddings.pb.h"

namespace tollgate::grpc_front {
namespace {

namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Outcome;

class EmbedCall final : public UnaryCall {
  using UnaryCall::UnaryCall;

 public:
  async::Awaitable<::grpc::Status> Answer() override {
    v1::EmbedRequest request;
    const std::optional<Failure> refusal = co_await ReadMessage(shared_, caller_, *request_, request);
    if (refusal) co_return Fail(*refusal);
    TakeClientId(request, caller_);
    Outcome<pipeline::EmbedAnswer> outcome = co_await shared_.service.Embed(caller_, request, cancellation_);
    if (const Failure* failure = std::get_if<Failure>(&outcome)) co_return Fail(*failure);
    pipeline::EmbedAnswer& answer = std::get<pipeline::EmbedAnswer>(outcome);
    Trailers(rpc_).Of(answer);
    v1::EmbedReply message;
    message.set_id(caller_.request_id.ToString());
    message.set_model(answer.head.model);
    const auto each = static_cast<std::ptrdiff_t>(answer.dimensions);
    for (auto at = answer.numbers.begin(); at != answer.numbers.end(); at += each)
      message.add_vectors()->mutable_values()->Add(at, at + each);
    message.mutable_end()->Swap(&answer.end);
    *reply_ = ToBytes(message);
    room_ = std::move(answer.room);
    co_return ::grpc::Status::OK;
  }
};

class RerankCall final : public UnaryCall {
  using UnaryCall::UnaryCall;

 public:
  async::Awaitable<::grpc::Status> Answer() override {
    v1::RerankRequest request;
    const std::optional<Failure> refusal = co_await ReadMessage(shared_, caller_, *request_, request);
    if (refusal) co_return Fail(*refusal);
    TakeClientId(request, caller_);
    Outcome<pipeline::RerankAnswer> outcome = co_await shared_.service.Rerank(caller_, request, cancellation_);
    if (const Failure* failure = std::get_if<Failure>(&outcome)) co_return Fail(*failure);
    pipeline::RerankAnswer& answer = std::get<pipeline::RerankAnswer>(outcome);
    Trailers(rpc_).Of(answer);
    v1::RerankReply message;
    message.set_id(caller_.request_id.ToString());
    message.set_model(answer.head.model);
    for (v1::RankedDocument& result : answer.results) message.add_results()->Swap(&result);
    message.mutable_end()->Swap(&answer.end);
    *reply_ = ToBytes(message);
    room_ = std::move(answer.room);
    co_return ::grpc::Status::OK;
  }
};

}  // namespace

::grpc::ServerUnaryReactor* StartEmbed(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                       ::grpc::ByteBuffer* reply) {
  return std::make_shared<EmbedCall>(shared, rpc, request, reply)->Begin();
}

::grpc::ServerUnaryReactor* StartRerank(CallContext& shared, ::grpc::CallbackServerContext* rpc, const ::grpc::ByteBuffer* request,
                                        ::grpc::ByteBuffer* reply) {
  return std::make_shared<RerankCall>(shared, rpc, request, reply)->Begin();
}

}  // namespace tollgate::grpc_front
