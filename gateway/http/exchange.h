// One HTTP request and its answer, as handlers see it; Beast stays behind it.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/http/error_reply.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/service.h"

namespace tollgate::http_front {

// Valid while the handler runs, on its connection's strand. A handler answers once: Respond, or BeginStream … EndStream.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual std::string_view method() const = 0;
  virtual std::string_view target() const = 0;                                      // As sent: path and query.
  virtual std::optional<std::string_view> Header(std::string_view name) const = 0;  // Nothing when absent or sent more than once.
  virtual std::size_t HeaderCount(std::string_view name) const = 0;                 // How often it was sent.
  virtual bool has_body() const = 0;                                                // Whether one was announced.
  virtual const std::string& body() const = 0;                                      // Empty before a doorkeeper, and once dropped.
  virtual void DropBody() = 0;                                                      // It was read: its memory goes.
  virtual const std::string& source() const = 0;                                    // The client's address without port.
  virtual std::chrono::steady_clock::time_point received() const = 0;  // When the request was whole; its head, for a doorkeeper.
  virtual const std::shared_ptr<pipeline::Cancellation>& cancellation() const = 0;  // Cancelled when the client goes away.

  // The whole answer. `content_type` empty: none.
  virtual async::Awaitable<void> Respond(int status, std::string_view content_type, const Headers& headers, std::string body) = 0;

  // An answer piece by piece. False: the client has gone, and cancellation() is set. While a stream is quiet, keep-alive comments go out:
  // after so long each.
  virtual std::chrono::milliseconds comment_every() const = 0;
  virtual async::Awaitable<bool> BeginStream(const Headers& headers, std::string first) = 0;
  virtual async::Awaitable<bool> Send(std::string data) = 0;
  // `close`: the connection ends with the answer.
  virtual async::Awaitable<void> EndStream(std::string last, bool close) = 0;
  virtual void Abort() = 0;  // Any thread: the connection is cut, and what waits to be sent with it.
};

// Answers `exchange`. Must not throw.
using Handler = std::function<async::Awaitable<void>(Exchange& exchange)>;

// Looks at a request's head, before its body is read. Whose it is: let it in, and count its body as that tenant's. Nothing: it was
// answered, and the connection ends. Null lets all in.
using Doorkeeper = std::function<async::Awaitable<std::optional<pipeline::Tenant>>(Exchange& exchange)>;

}  // namespace tollgate::http_front
