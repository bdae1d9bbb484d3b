// The services are the generated ones in their raw form (byte buffers in and out), each a line that starts a call; calls.cpp is the bridge.
//
// Tested by tests/gateway/grpc/grpc_front_test.cpp.
#include "gateway/grpc/grpc_front.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <utility>

#include "gateway/grpc/calls.h"
#include "gateway/net/io_threads.h"
#include "tollgate/v1/embeddings.grpc.pb.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace tollgate::grpc_front {
namespace {

namespace v1 = tollgate::v1;
using Context = ::grpc::CallbackServerContext;
using Bytes = ::grpc::ByteBuffer;

using RawInference = v1::Inference::WithRawCallbackMethod_Chat<v1::Inference::WithRawCallbackMethod_ChatStream<v1::Inference::Service>>;
using RawTokens = v1::Tokens::WithRawCallbackMethod_Count<v1::Tokens::Service>;
using RawModels = v1::Models::WithRawCallbackMethod_List<v1::Models::Service>;
using RawEmbeddings = v1::Embeddings::WithRawCallbackMethod_Embed<v1::Embeddings::WithRawCallbackMethod_Rerank<v1::Embeddings::Service>>;

class InferenceService final : public RawInference {
 public:
  explicit InferenceService(CallContext& calls) : calls_(calls) {}
  ::grpc::ServerUnaryReactor* Chat(Context* rpc, const Bytes* request, Bytes* reply) override {
    return StartChat(calls_, rpc, request, reply);
  }
  ::grpc::ServerWriteReactor<Bytes>* ChatStream(Context* rpc, const Bytes* request) override {
    return StartChatStream(calls_, rpc, request);
  }

 private:
  CallContext& calls_;
};

class TokensService final : public RawTokens {
 public:
  explicit TokensService(CallContext& calls) : calls_(calls) {}
  ::grpc::ServerUnaryReactor* Count(Context* rpc, const Bytes* request, Bytes* reply) override {
    return StartCount(calls_, rpc, request, reply);
  }

 private:
  CallContext& calls_;
};

class ModelsService final : public RawModels {
 public:
  explicit ModelsService(CallContext& calls) : calls_(calls) {}
  ::grpc::ServerUnaryReactor* List(Context* rpc, const Bytes* request, Bytes* reply) override {
    return StartList(calls_, rpc, request, reply);
  }

 private:
  CallContext& calls_;
};

class EmbeddingsService final : public RawEmbeddings {
 public:
  explicit EmbeddingsService(CallContext& calls) : calls_(calls) {}
  ::grpc::ServerUnaryReactor* Embed(Context* rpc, const Bytes* request, Bytes* reply) override {
    return StartEmbed(calls_, rpc, request, reply);
  }
  ::grpc::ServerUnaryReactor* Rerank(Context* rpc, const Bytes* request, Bytes* reply) override {
    return StartRerank(calls_, rpc, request, reply);
  }

 private:
  CallContext& calls_;
};

}  // namespace

struct GrpcFront::Impl {
  Impl(GrpcServerOptions options, net::IoThreads& io, boost::asio::any_io_executor cpu, pipeline::Service& service)
      : calls{service,
              [&io] { return boost::asio::any_io_executor(boost::asio::make_strand(io.context())); },
              std::move(cpu),
              io.context().get_executor(),
              std::chrono::milliseconds(options.write_timeout_ms),
              options.listener.proxies,
              {},
              {}},
        server(std::move(options), io) {
    server.AddService("tollgate.v1.Inference", &inference);
    server.AddService("tollgate.v1.Tokens", &tokens);
    server.AddService("tollgate.v1.Models", &models);
    server.AddService("tollgate.v1.Embeddings", &embeddings);
  }

  CallContext calls;
  InferenceService inference{calls};
  TokensService tokens{calls};
  ModelsService models{calls};
  EmbeddingsService embeddings{calls};
  GrpcServer server;
};

GrpcFront::GrpcFront(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcFront::~GrpcFront() { Shutdown(std::chrono::milliseconds(0)); }

absl::StatusOr<std::unique_ptr<GrpcFront>> GrpcFront::Start(GrpcServerOptions options, net::IoThreads& io, boost::asio::any_io_executor cpu,
                                                            pipeline::Service& service) {
  auto impl = std::make_unique<Impl>(std::move(options), io, std::move(cpu), service);
  TG_RETURN_IF_ERROR(impl->server.Start());
  return std::unique_ptr<GrpcFront>(new GrpcFront(std::move(impl)));
}

void GrpcFront::SetServing(bool serving) { impl_->server.SetServing(serving); }
void GrpcFront::StopAccepting() { impl_->server.StopAccepting(); }
bool GrpcFront::AwaitIdle(std::chrono::milliseconds within) { return impl_->calls.open.AwaitEmpty(within); }

void GrpcFront::Shutdown(std::chrono::milliseconds deadline) {
  impl_->server.Shutdown(deadline);
  impl_->calls.inside.AwaitEmpty();
}

std::uint16_t GrpcFront::port() const { return impl_->server.port(); }
const net::Listener& GrpcFront::listener() const { return impl_->server.listener(); }

}  // namespace tollgate::grpc_front
