// A notification is posted to the coroutine's executor and resumes the coroutine that waits there; all but the flag that keeps a second one
// from being posted is touched on that executor alone, so there is no lock. The timer is armed for the earliest deadline that any wait had
// and left alone by notifications: waits are far more frequent than deadlines that pass. When it fires early it is set anew.
// Tested by tests/gateway/pipeline/pipeline_test.cpp.
#include "gateway/async/event.h"

#include <atomic>

namespace tollgate::async {

using std::chrono::steady_clock;

struct Event::State : std::enable_shared_from_this<Event::State> {
  explicit State(boost::asio::any_io_executor e) : executor(std::move(e)), timer(executor) {}

  void Resume(bool by_notification) {
    resumed_by_notification = by_notification;
    std::exchange(resume, nullptr)();
  }

  void Arm(steady_clock::time_point at) {
    armed_for = at;
    timer.expires_at(at);
    timer.async_wait([weak = weak_from_this()](boost::system::error_code error) {
      const auto state = weak.lock();
      if (!error && state) state->Fired();
    });
  }

  void Fired() {
    armed_for = steady_clock::time_point::max();
    if (!resume) return;
    if (deadline <= steady_clock::now()) return Resume(false);
    Arm(deadline);
  }

  const boost::asio::any_io_executor executor;
  std::atomic<bool> posted{false};
  // The executor only:
  boost::asio::steady_timer timer;
  steady_clock::time_point armed_for = steady_clock::time_point::max();
  steady_clock::time_point deadline{};
  std::function<void()> resume;  // Set while the coroutine waits.
  bool notified = false;
  bool resumed_by_notification = false;
};

Event::Event(boost::asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

std::function<void()> Event::Notifier() const {
  return [weak = std::weak_ptr<State>(state_)] {
    auto state = weak.lock();
    if (!state || state->posted.exchange(true, std::memory_order_acq_rel)) return;
    const auto executor = state->executor;
    boost::asio::post(executor, [state = std::move(state)] {
      state->posted.exchange(false, std::memory_order_acq_rel);  // And sees what came before each notification that it stands for.
      if (state->resume) return state->Resume(true);
      state->notified = true;
    });
  };
}

Awaitable<bool> Event::WaitUntil(steady_clock::time_point deadline) {
  auto state = state_;
  if (std::exchange(state->notified, false)) co_return true;
  state->deadline = deadline;
  if (deadline < state->armed_for) state->Arm(deadline);
  auto wait = [&state](auto handler) {
    state->resume = [shared = std::make_shared<decltype(handler)>(std::move(handler))] { (*shared)(); };
  };
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void()>(wait, boost::asio::use_awaitable);
  co_return state->resumed_by_notification;
}

}  // namespace tollgate::async
