// A notification is posted to the coroutine's executor, sets a flag there and cancels the timer that the coroutine waits on: no lock, since
// flag and timer are touched on that executor alone.
// Tested by tests/gateway/pipeline/pipeline_test.cpp.
#include "gateway/async/event.h"

#include <boost/asio/redirect_error.hpp>

namespace tollgate::async {

struct Event::State {
  explicit State(boost::asio::any_io_executor e) : executor(std::move(e)), timer(executor) {}
  boost::asio::any_io_executor executor;
  boost::asio::steady_timer timer;
  bool notified = false;
};

Event::Event(boost::asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

std::function<void()> Event::Notifier() const {
  return [weak = std::weak_ptr<State>(state_)] {
    auto state = weak.lock();
    if (!state) return;
    auto executor = state->executor;
    boost::asio::post(executor, [state = std::move(state)] {
      state->notified = true;
      state->timer.cancel();
    });
  };
}

Awaitable<bool> Event::WaitUntil(std::chrono::steady_clock::time_point deadline) {
  auto state = state_;
  if (!state->notified) {
    state->timer.expires_at(deadline);
    boost::system::error_code ignored;
    co_await state->timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
  co_return std::exchange(state->notified, false);
}

}  // namespace tollgate::async
