// Work that would hold up an I/O thread, done on another executor.
#pragma once

#include <functional>

#include "gateway/async/await.h"

namespace tollgate::async {

// Runs `work` on `executor` and resumes here with its result.
template <typename Work>
Awaitable<std::invoke_result_t<Work>> RunOn(boost::asio::any_io_executor executor, Work work) {
  using Result = std::invoke_result_t<Work>;
  auto start = [&](auto done) {
    boost::asio::post(executor, [work = std::move(work), done = std::move(done)]() mutable { done(work()); });
  };
  co_return co_await Callback<Result>(start);
}

// Runs `work` here if it is small, else as RunOn does.
template <typename Work>
Awaitable<std::invoke_result_t<Work>> RunOnIf(bool large, boost::asio::any_io_executor executor, Work work) {
  if (!large) co_return work();
  co_return co_await RunOn(std::move(executor), std::move(work));
}

}  // namespace tollgate::async
