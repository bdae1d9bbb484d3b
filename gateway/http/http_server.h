// A listener and its sessions: what the API front end and the probes have in common.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/http/exchange.h"
#include "gateway/http/http_front.h"

namespace tollgate::http_front {

// Thread-safe but for Start and Shutdown (one thread).
class HttpServer {
 public:
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(HttpOptions options, net::IoThreads& io, const base::Clock& clock,
                                                           Handler handler, Doorkeeper doorkeeper = nullptr);
  ~HttpServer();

  void StopAccepting();                               // Idle connections close; others end with their answer.
  bool AwaitIdle(std::chrono::milliseconds within);   // As HttpFront's, as is
  void Shutdown(std::chrono::milliseconds deadline);  // this.
  const net::Listener& listener() const;
  std::int64_t body_bytes() const;  // As HttpFront's.

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::http_front
