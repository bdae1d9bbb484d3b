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

}  // namespace tollgate::async
