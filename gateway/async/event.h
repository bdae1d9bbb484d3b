// Event: "something happened", from any thread, to one coroutine that waits with a deadline.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>

#include "gateway/async/await.h"

namespace tollgate::async {

// Belongs to one coroutine: Wait from that coroutine alone, its executor a strand. Notifications before a Wait are kept (as one).
class Event {
 public:
  explicit Event(boost::asio::any_io_executor executor);

  // A function that notifies; any thread may call it, also after the Event is gone.
  std::function<void()> Notifier() const;

  // Returns true when notified, false at the deadline.
  Awaitable<bool> WaitUntil(std::chrono::steady_clock::time_point deadline);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tollgate::async
