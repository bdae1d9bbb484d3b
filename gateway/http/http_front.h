// The API over HTTP/1.1, as OpenAI's clients speak it, and the probes' listener. Both translate and decide nothing.
//
// Paths, bytes, errors and headers: gateway/http/README.md. Connections are kept alive; pipelined requests are answered in order. A client
// that closes its side of the connection while its request runs has gone: the call is cancelled. A slow reader holds one piece: the
// pipeline waits for it, at most write_timeout_ms.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/net/listener.h"
#include "gateway/pipeline/service.h"

namespace tollgate::http_front {

struct HttpOptions {
  net::ListenerOptions listener;
  std::int64_t header_bytes_max = 16 * 1024;       // Beyond it 431.
  std::int64_t body_bytes_max = 4 * 1024 * 1024;   // Beyond it 413, before it is read.
  std::int64_t memory_bytes_max = 256ll << 20;     // Bodies of all connections, each from 64 KiB, until parsed. Beyond it 503.
  int header_timeout_ms = 10'000;                  // From a request's first byte to its headers' end.
  int body_timeout_ms = 30'000;                    // From the headers' end to the body's.
  int idle_timeout_ms = 75'000;                    // Before a connection's first request, and between requests.
  int write_timeout_ms = 30'000;                   // For one write to be taken by the client.
  int comment_ms = 15'000;                         // On a quiet stream, a `: keep-alive` comment is sent this often.
  std::string system_fingerprint = "fp_tollgate";  // In every completion.
};

// What the probes answer. Called on I/O threads, from several at once; must be quick.
struct Probes {
  std::function<std::vector<std::string>()> not_ready;  // Reasons, for people; empty: ready. Null: always ready. HttpFront keeps them.
  std::function<std::string()> metrics;                 // Prometheus text. Null, and always on HttpFront: no /metrics.
};

// Thread-safe but for Start and Shutdown (one thread).
class HttpFront {
 public:
  // Binds and serves. `io`, what `cpu` runs on, `chat` and `clock` must outlive it; requests run as coroutines on strands of `io`, and
  // bodies above 64 KiB are parsed by `cpu`, for each connection one at a time.
  static absl::StatusOr<std::unique_ptr<HttpFront>> Start(HttpOptions options, net::IoThreads& io, boost::asio::any_io_executor cpu,
                                                          pipeline::Service& service, Probes probes,
                                                          const base::Clock& clock = base::SystemClock());
  // Shutdown()s at once.
  ~HttpFront();

  // The port closes, idle connections close, running requests go on; each answer from now on ends its connection.
  void StopAccepting();
  // After StopAccepting: whether no connection is left within that time; one is until its client has taken its answer, or a limit is over.
  bool AwaitIdle(std::chrono::milliseconds within);
  // StopAccepting, waits at most `deadline` for running requests, cancels those left, closes everything and waits until no coroutine of
  // this front end is in `chat` any more. Blocks; not from an I/O thread.
  void Shutdown(std::chrono::milliseconds deadline);

  std::uint16_t port() const;
  const net::Listener& listener() const;
  std::int64_t body_bytes() const;  // What bodies take of memory_bytes_max.

 private:
  struct Impl;
  explicit HttpFront(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// GET /metrics, /healthz (also /livez, /health), /readyz on a listener of its own. No credential: keep it off public networks.
class ProbesFront {
 public:
  static absl::StatusOr<std::unique_ptr<ProbesFront>> Start(HttpOptions options, net::IoThreads& io, Probes probes);
  ~ProbesFront();
  void Shutdown(std::chrono::milliseconds deadline);
  std::uint16_t port() const;
  const net::Listener& listener() const;

 private:
  struct Impl;
  explicit ProbesFront(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::http_front
