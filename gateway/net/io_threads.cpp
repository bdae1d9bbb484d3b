// One io_context, a work guard so that run() stays, N threads in run(). Handlers must not throw: an exception that gets this far is a
// broken invariant and ends the program with its text.
//
// Tested by tests/gateway/net/listener_test.cpp.
#include "gateway/net/io_threads.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/status.h"

namespace tollgate::net {

struct IoThreads::Impl {
  explicit Impl(int threads) : context(threads), guard(context.get_executor()) {}

  void Run(int number) {
    pthread_setname_np(pthread_self(), fmt::format("tg-io-{}", number).c_str());
    try {
      context.run();
    } catch (const std::exception& e) {
      base::Die(__FILE__, __LINE__, fmt::format("an I/O handler threw: {}", e.what()));
    }
  }

  boost::asio::io_context context;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard;
  std::vector<std::thread> threads;
};

IoThreads::IoThreads(int threads) : impl_(std::make_unique<Impl>(threads)) {
  TG_CHECK(threads >= 1, "IoThreads needs at least one thread");
  for (int i = 0; i < threads; ++i) impl_->threads.emplace_back([this, i] { impl_->Run(i); });
}

IoThreads::~IoThreads() { Stop(); }

boost::asio::io_context& IoThreads::context() { return impl_->context; }

void IoThreads::Stop() {
  impl_->guard.reset();
  impl_->context.stop();
  for (std::thread& thread : impl_->threads) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace tollgate::net
