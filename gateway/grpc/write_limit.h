// Cancels a call whose client takes too long to read what it was sent. One that grants no window but answers pings would else have its
// call, and its answer, kept in memory for ever: the library has no limit for that. Thread-safe.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstddef>
#include <memory>

namespace grpc {
class CallbackServerContext;
}

namespace tollgate::grpc_front {

class WriteLimit {
 public:
  // Of one call: so long for each 256 KiB, as over HTTP. Its timer runs on `timers`.
  WriteLimit(::grpc::CallbackServerContext* rpc, boost::asio::any_io_executor timers, std::chrono::milliseconds limit);

  void Begin(std::size_t bytes = 0);  // Before what is sent; a Finish is the last, and ends with Done.
  void End();                         // It was taken.
  void Done();                        // From OnDone, with which the context goes.

  void Cut();        // Cancels the call, unless it is done. The timer does no more.
  bool cut() const;  // Whether it was.

 private:
  struct State;
  const std::chrono::milliseconds limit_;
  const std::shared_ptr<State> state_;
};

}  // namespace tollgate::grpc_front
