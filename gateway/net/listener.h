// Accepts connections for gRPC and HTTP alike, so that limits and behaviour under exhausted descriptors are ours.
//
// Limits: connections in total and by source address; who comes beyond them is closed at once. Descriptors: when the process runs out
// (EMFILE, ENFILE), a spare one is given up to accept and close each newcomer, so that clients see a closed connection instead of a hang
// and service returns unaided once descriptors are free. A few descriptors are always left to the rest of the program (database, files).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/networks.h"
#include "base/status.h"

namespace tollgate::net {

class IoThreads;

// One accepted connection; the handler owns it.
struct Accepted {
  int fd = -1;                 // Non-blocking, close-on-exec, TCP_NODELAY. The handler must see that it is closed.
  std::string source;          // Peer address without port: "127.0.0.1", "::1" (an IPv4-mapped address is given as IPv4).
  std::shared_ptr<void> slot;  // Its place in the limits. Keep it while the connection lives (see ListenerOptions::watch_descriptors).
};

struct ListenerOptions {
  std::string name;                       // For diagnostics: "grpc", "http", "probes".
  std::string address = "127.0.0.1";      // Numeric IPv4 or IPv6.
  std::uint16_t port = 0;                 // 0: any free one; see port().
  int backlog = 1024;                     // Connections that the kernel keeps waiting.
  int connections_max = 4096;             // At once, in total.
  int connections_per_source_max = 1024;  // At once, from one address; those of `proxies` are not counted so.
  base::Networks proxies;                 // Whose X-Forwarded-For is believed (forwarded.h); the front end looks at it.
  int descriptors_reserved = 32;          // Of the process's limit: newcomers are closed when fewer than these are left.
  // False: a connection ends when its slot is destroyed. True: it ends when its descriptor is closed, by whomever (gRPC); slot is null.
  bool watch_descriptors = false;
};

// Thread-safe.
class Listener {
 public:
  using Handler = std::function<void(Accepted)>;

  // What Bind would say now of address and port. Nobody can connect meanwhile.
  static absl::Status CheckFree(const ListenerOptions& options);
  // Binds and listens; accepts nothing yet, clients wait in the backlog. Errors name address, port and remedy.
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(const ListenerOptions& options, IoThreads& io);
  // Stop()s.
  ~Listener();

  // `handler` is called on an I/O thread, for one connection at a time; it must not block or throw. Once.
  void Start(Handler handler);

  // No new connections: the port closes. When it returns, the handler neither runs nor will run. Open connections stay. Not from the
  // handler.
  void Stop();

  std::uint16_t port() const;     // The one bound.
  std::int64_t open() const;      // Connections that hold a place.
  std::int64_t accepted() const;  // Handed over, since the start.
  std::int64_t refused() const;   // Closed at once for a limit or for want of descriptors, since the start.

 private:
  struct Impl;
  explicit Listener(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace tollgate::net
