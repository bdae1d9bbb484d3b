// The API over gRPC: the services of tollgate.v1 for applications (gateway/grpc/README.md lists them), with health and (optional)
// reflection. It translates between the wire and pipeline::Service and decides nothing.
//
// Trailers: README.md. Errors: see grpc_status.h. A malformed message is INVALID_ARGUMENT.
// Caller.deadline is the call's; a cancelled call cancels the pipeline's. A stream has one write in flight, so a slow reader holds one
// piece, or one answer, and for write_timeout_ms at most: then the call is cancelled.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <memory>

#include "base/status.h"
#include "gateway/grpc/grpc_server.h"
#include "gateway/pipeline/service.h"

namespace tollgate::grpc_front {

// Thread-safe but for Start and Shutdown (one thread).
class GrpcFront {
 public:
  // Binds and serves. `io`, what `cpu` runs on and `chat` must outlive it; calls run as coroutines on strands of `io`, and messages above
  // 64 KiB are parsed by `cpu`, those of callers with a key alone.
  static absl::StatusOr<std::unique_ptr<GrpcFront>> Start(GrpcServerOptions options, net::IoThreads& io, boost::asio::any_io_executor cpu,
                                                          pipeline::Service& service);
  // Shutdown()s at once.
  ~GrpcFront();

  void SetServing(bool serving);  // Health.
  void StopAccepting();           // The port closes; the rest goes on.
  // Whether of the calls that came before it was first asked none is left within that time; one is until its client has taken its end, or
  // write_timeout_ms is over. Calls that come later are for a pipeline that takes none any more to refuse, and neither they nor health's
  // are waited for.
  bool AwaitIdle(std::chrono::milliseconds within);
  // As GrpcServer::Shutdown. When it returns, no coroutine of this front end is in `chat` any more.
  void Shutdown(std::chrono::milliseconds deadline);

  std::uint16_t port() const;
  const net::Listener& listener() const;

 private:
  struct Impl;
  explicit GrpcFront(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::grpc_front
