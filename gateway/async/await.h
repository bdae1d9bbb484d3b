// The bridge from callbacks to coroutines: the four rooms call back, the gateway awaits.
#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace tollgate::async {

template <typename T>
using Awaitable = boost::asio::awaitable<T>;

namespace internal {

// One value on its way from whoever calls back to the coroutine that wants it. Either side may come first.
template <typename T>
class Answer {
 public:
  explicit Answer(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}

  // Any thread, once.
  void Give(T value) {
    value_.emplace(std::move(value));
    if (stage_.exchange(Stage::kGiven, std::memory_order_acq_rel) == Stage::kWaiting) resume_();
  }

  bool given() const { return stage_.load(std::memory_order_acquire) == Stage::kGiven; }

  template <typename Handler>
  void Wait(Handler handler) {
    resume_ = [this, shared = std::make_shared<Handler>(std::move(handler))] { boost::asio::post(executor_, [shared] { (*shared)(); }); };
    if (stage_.exchange(Stage::kWaiting, std::memory_order_acq_rel) == Stage::kGiven) resume_();
  }

  T Take() { return std::move(*value_); }

 private:
  enum class Stage { kNothing, kWaiting, kGiven };

  const boost::asio::any_io_executor executor_;
  std::atomic<Stage> stage_{Stage::kNothing};
  std::optional<T> value_;
  std::function<void()> resume_;
};

}  // namespace internal

// Runs `start(done)` and suspends until `done(value)` is called, once, from any thread; resumes on the coroutine's own executor, or does
// not suspend at all if `done` was called before `start` returned.
// `done` is copyable, so that it fits std::function. It must be called: rooms promise that, each with a deadline of its own.
//   auto position = co_await async::Callback<absl::StatusOr<audit::Position>>([&](auto done) { journal.Append(entry, deadline, done); });
template <typename T, typename Start>
Awaitable<T> Callback(Start start) {
  const auto executor = co_await boost::asio::this_coro::executor;
  auto answer = std::make_shared<internal::Answer<T>>(executor);
  start([answer](T value) { answer->Give(std::move(value)); });
  if (!answer->given()) {
    auto wait = [&answer](auto handler) { answer->Wait(std::move(handler)); };
    co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void()>(wait, boost::asio::use_awaitable);
  }
  co_return answer->Take();
}

}  // namespace tollgate::async
