// HttpClient: requests to other servers, many at once, on one thread. Answers come as they arrive, piece by piece, to a sink.
//
// Connections are kept and used again; one that the other side has closed meanwhile is replaced by a fresh one without the caller seeing
// it. HTTP/1.1, no redirects, no proxies from the environment. Servers are verified against `ca_file`, or the system's authorities.
//
// Threads: one at a time, but for Wake. A sink is called inside Run alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tollgate::base {

struct HttpClientOptions {
  std::string ca_file;           // PEM. Empty: what the system trusts.
  std::string certificate_file;  // PEM, ours, for servers that ask for one; with its key.
  std::string key_file;
  std::chrono::milliseconds connect_timeout{2000};  // TLS included.
  int connections_max = 1024;                       // Kept for later.
};

struct HttpRequest {
  std::string url;                   // http:// or https://.
  std::vector<std::string> headers;  // "name: value".
  bool post = false;
  std::string body;
  std::chrono::milliseconds timeout{0};  // For all of it; 0 = none.
};

// Receives one answer. Within OnBody neither Start nor Cancel may be called; within OnEnd both may.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  virtual bool OnBody(int http_status, std::string_view bytes) = 0;  // False: enough, end the transfer.
  // Before OnEnd, where the answer asks its client to wait so long (Retry-After); a day at most.
  virtual void OnRetryAfter(std::chrono::seconds /*wait*/) {}
  // Once, unless cancelled. OK: the answer came whole, as HTTP sees it. UNAVAILABLE: it did not; says why, of certificates with what to
  // check, and has the reason UNREACHABLE where no connection came about. ABORTED: OnBody had enough.
  virtual void OnEnd(int http_status, const absl::Status& status) = 0;
};

class HttpClient {
 public:
  // FAILED_PRECONDITION: a certificate or key cannot be read, is none, or the two do not belong together.
  static absl::StatusOr<std::unique_ptr<HttpClient>> Create(HttpClientOptions options);
  virtual ~HttpClient() = default;  // Cancels all.

  // Begins a request; `sink` lives until OnEnd or Cancel. Never fails: what cannot be begun ends with OnEnd.
  virtual std::int64_t Start(HttpRequest request, HttpSink& sink) = 0;
  virtual void Cancel(std::int64_t transfer) = 0;  // Closes its connection; its sink hears no more. Unknown: nothing.

  // Moves all transfers on as far as they go; waits up to `wait` until one can move, or Wake.
  virtual void Run(std::chrono::milliseconds wait) = 0;
  virtual void Wake() = 0;  // Any thread: ends a wait, or the next.

  virtual int transfers() const = 0;  // Under way.
};

}  // namespace tollgate::base
