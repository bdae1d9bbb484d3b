// The gRPC library is built without a listening port: it is handed sockets that our listener accepted (an external connection acceptor),
// because Debian's gRPC 1.51 stops accepting for good after one EMFILE.
//
// Reflection is a plugin that registers itself for every server of the process as soon as its library is linked. The option below takes
// that one away from this server and adds one of its own where reflection is wanted, so that it is there once or not at all.
//
// Health is gRPC's own service, which has no descriptor: ours (proto/grpc/health) is linked so that reflection can describe it. Its Watch
// streams never end by themselves, which is why Shutdown needs a deadline.
//
// Tested by tests/gateway/grpc/grpc_server_test.cpp.
#include "gateway/grpc/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>

#include "base/diagnostics.h"
#include "grpc/health/v1/health.pb.h"

namespace tollgate::grpc_front {
namespace {

using Acceptor = ::grpc::experimental::ExternalConnectionAcceptor;
using Plugins = std::vector<std::unique_ptr<::grpc::ServerBuilderPlugin>>;

class ReflectionOption final : public ::grpc::ServerBuilderOption {
 public:
  explicit ReflectionOption(bool on) : on_(on) {}
  void UpdateArguments(::grpc::ChannelArguments*) override {}
  void UpdatePlugins(Plugins* plugins) override {
    auto ours = std::make_unique<::grpc::reflection::ProtoServerReflectionPlugin>();
    const std::string name = ours->name();
    std::erase_if(*plugins, [&](const auto& plugin) { return plugin->name() == name; });
    if (!on_) return;
    ::grpc::health::v1::HealthCheckRequest::descriptor();  // Reflection looks among what is linked.
    plugins->push_back(std::move(ours));
  }

 private:
  const bool on_;
};

// protobuf prints a line for each request with invalid UTF-8; the caller gets INVALID_ARGUMENT, which says enough.
void OnProtobufLog(google::protobuf::LogLevel level, const char*, int, const std::string& text) {
  if (text.find("invalid UTF-8") != std::string::npos) return;
  base::Diagnose(level >= google::protobuf::LOGLEVEL_ERROR ? base::Level::kError : base::Level::kWarn, "protobuf", text);
}

void Configure(::grpc::ServerBuilder& builder, const GrpcServerOptions& o) {
  builder.SetMaxReceiveMessageSize(o.message_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, o.metadata_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, o.concurrent_streams_max);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, o.handshake_timeout_ms);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, o.idle_timeout_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, o.keepalive_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, o.keepalive_timeout_ms);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, o.client_ping_min_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // Else the library stops pinging a quiet stream after two.
  builder.SetResourceQuota(::grpc::ResourceQuota(o.listener.name).Resize(static_cast<std::size_t>(o.memory_bytes_max)));
  builder.SetOption(std::make_unique<ReflectionOption>(o.reflection));
}

}  // namespace

struct GrpcServer::Impl {
  Impl(GrpcServerOptions o, net::IoThreads& threads) : options(std::move(o)), io(threads) { options.listener.watch_descriptors = true; }

  GrpcServerOptions options;
  net::IoThreads& io;
  std::vector<std::pair<std::string, ::grpc::Service*>> services;
  std::unique_ptr<net::Listener> listener;
  std::shared_ptr<Acceptor> acceptor;
  std::unique_ptr<::grpc::Server> server;
};

GrpcServer::GrpcServer(GrpcServerOptions options, net::IoThreads& io) : impl_(std::make_unique<Impl>(std::move(options), io)) {}
GrpcServer::~GrpcServer() { Shutdown(std::chrono::milliseconds(0)); }

void GrpcServer::AddService(std::string_view full_name, ::grpc::Service* service) {
  TG_CHECK(!impl_->server, "services are added before Start");
  impl_->services.emplace_back(full_name, service);
}

absl::Status GrpcServer::Start() {
  TG_CHECK(!impl_->server, "a gRPC server starts once");
  google::protobuf::SetLogHandler(&OnProtobufLog);
  TG_ASSIGN(impl_->listener, net::Listener::Bind(impl_->options.listener, impl_->io));
  ::grpc::EnableDefaultHealthCheckService(true);
  ::grpc::ServerBuilder builder;
  Configure(builder, impl_->options);
  for (const auto& [name, service] : impl_->services) builder.RegisterService(service);
  using Type = ::grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  impl_->acceptor = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD, ::grpc::InsecureServerCredentials());
  impl_->server = builder.BuildAndStart();
  if (!impl_->server) {
    return base::Internal(
        fmt::format("listener {}: the gRPC library refused to start; its reason is on standard error", impl_->options.listener.name));
  }
  SetServing(true);
  impl_->listener->Start([acceptor = impl_->acceptor](net::Accepted connection) {
    Acceptor::NewConnectionParameters parameters;
    parameters.fd = connection.fd;
    acceptor->HandleNewConnection(&parameters);
  });
  return absl::OkStatus();
}

void GrpcServer::SetServing(bool serving) {
  if (!impl_->server) return;
  ::grpc::HealthCheckServiceInterface* health = impl_->server->GetHealthCheckService();
  for (const auto& [name, service] : impl_->services) health->SetServingStatus(name, serving);
  health->SetServingStatus("", serving);
}

void GrpcServer::StopAccepting() {
  if (impl_->listener) impl_->listener->Stop();
}

void GrpcServer::Shutdown(std::chrono::milliseconds deadline) {
  StopAccepting();
  if (!impl_->server) return;
  impl_->server->Shutdown(std::chrono::system_clock::now() + deadline);
  impl_->acceptor.reset();
  impl_->server.reset();
}

std::uint16_t GrpcServer::port() const { return impl_->listener ? impl_->listener->port() : 0; }

const net::Listener& GrpcServer::listener() const {
  TG_CHECK(impl_->listener != nullptr, "the listener exists after Start");
  return *impl_->listener;
}

}  // namespace tollgate::grpc_front
