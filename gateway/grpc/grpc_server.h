// A gRPC server behind our own listener: limits, health, reflection, drain. It carries any services; the API front end (grpc_front.h) and
// the admin services are both built on it.
//
//   grpc_front::GrpcServer server(options, io);
//   server.AddService("tollgate.v1.Directory", &directory_service);
//   TG_RETURN_IF_ERROR(server.Start());
//   …
//   server.SetServing(false);  server.StopAccepting();  …  server.Shutdown(std::chrono::seconds(5));
//
// gRPC calls services on threads of its own (clamp(cores/2, 2, 16)); reactions must be quick and never block. Use the callback API.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "gateway/net/listener.h"

namespace grpc {
class Service;
}

namespace tollgate::grpc_front {

struct GrpcServerOptions {
  net::ListenerOptions listener;                // watch_descriptors is set by the server.
  bool reflection = false;                      // grpc.reflection.v1alpha.ServerReflection; where false it is not there at all.
  int message_bytes_max = 4 * 1024 * 1024;      // Of one request; beyond it RESOURCE_EXHAUSTED.
  int metadata_bytes_max = 16 * 1024;           // Of one request's headers.
  int concurrent_streams_max = 256;             // On one connection; more wait at the client.
  std::int64_t memory_bytes_max = 256ll << 20;  // gRPC's buffers, all connections together.
  int handshake_timeout_ms = 10'000;            // From accept to the HTTP/2 settings.
  int idle_timeout_ms = 30 * 60 * 1000;         // A connection without calls is closed.
  int keepalive_ms = 60'000;                    // The server pings a quiet connection.
  int keepalive_timeout_ms = 20'000;            // No answer to a ping: the connection is dead, its calls are cancelled.
  int write_timeout_ms = 30'000;                // A call whose client takes no piece, or no answer, for so long is cancelled (GrpcFront).
  int client_ping_min_ms = 10'000;              // Clients that ping more often are sent away (too_many_pings).
};

// Start and Shutdown from one thread; the rest from any.
class GrpcServer {
 public:
  GrpcServer(GrpcServerOptions options, net::IoThreads& io);
  // Shutdown()s at once.
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // Before Start. `full_name` as in the proto ("tollgate.v1.Audit"): the name that health knows. The service must outlive the server.
  void AddService(std::string_view full_name, ::grpc::Service* service);

  // Binds, builds and accepts. Health says SERVING until SetServing says otherwise.
  absl::Status Start();

  // What grpc.health.v1.Health answers, for each service and for the empty name.
  void SetServing(bool serving);

  // The port closes; open connections and calls go on.
  void StopAccepting();

  // Sends GOAWAY, waits at most `deadline` for running calls (a health Watch runs for ever), then cancels those left, and waits for their
  // reactions to finish. Blocks. End the calls before, so that none ends as a bare CANCELLED.
  void Shutdown(std::chrono::milliseconds deadline);

  std::uint16_t port() const;  // After Start.
  const net::Listener& listener() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::grpc_front
