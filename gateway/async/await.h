// The bridge from callbacks to coroutines: the four rooms call back, the gateway awaits.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace tollgate::async {

template <typename T>
using Awaitable = boost::asio::awaitable<T>;

// Runs `start(done)` and suspends until `done(value)` is called, once, from any thread; resumes on the coroutine's own executor.
// `done` is copyable, so that it fits std::function. It must be called: rooms promise that, each with a deadline of its own.
//   auto position = co_await async::Callback<absl::StatusOr<audit::Position>>([&](auto done) { journal.Append(entry, deadline, done); });
template <typename T, typename Start>
Awaitable<T> Callback(Start start) {
  const auto executor = co_await boost::asio::this_coro::executor;
  auto initiate = [&start, executor](auto handler) {
    auto shared = std::make_shared<std::decay_t<decltype(handler)>>(std::move(handler));
    start([shared, executor](T value) {
      boost::asio::post(executor, [shared, value = std::make_shared<T>(std::move(value))]() mutable { (*shared)(std::move(*value)); });
    });
  };
  co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void(T)>(initiate, boost::asio::use_awaitable);
}

}  // namespace tollgate::async
