// One HTTP connection: reads requests, hands them to the handler one after another, writes the answers.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "gateway/http/body_bytes.h"
#include "gateway/http/exchange.h"
#include "gateway/http/http_front.h"

namespace boost::asio {
class io_context;
}

namespace tollgate::http_front {

// What the sessions of one server share; outlives them.
struct SessionContext {
  const HttpOptions& options;
  const base::Clock& clock;
  Handler handler;
  Doorkeeper doorkeeper;
  std::shared_ptr<BodyBytes> bodies;
  std::function<void(class Session*)> on_end;  // Called once for each session, as the last thing it does.
};

// Any thread.
class Session {
 public:
  virtual ~Session() = default;
  virtual void Start() = 0;
  virtual void Tick(
      std::chrono::steady_clock::time_point now) = 0;  // Enforces the timeouts and sends keep-alive comments; called regularly.
  virtual void Drain() = 0;                            // Ends now if idle, else with the answer that is running.
  virtual void Cut() = 0;                              // Cancels what runs and closes.
};

// Takes over the connection's descriptor.
std::shared_ptr<Session> MakeSession(boost::asio::io_context& io, net::Accepted connection, const SessionContext& context);

}  // namespace tollgate::http_front
