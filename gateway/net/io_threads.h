// The I/O threads: one Asio context that all front ends and request coroutines share. Nothing that runs here may block.
#pragma once

#include <memory>

namespace boost::asio {
class io_context;
}

namespace tollgate::net {

class IoThreads {
 public:
  // Starts `threads` (at least 1) threads named tg-io-N.
  explicit IoThreads(int threads);
  // Stop()s.
  ~IoThreads();
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  // Valid until this object dies. Coroutines run on strands of its executor. Include <boost/asio/io_context.hpp> to use it.
  boost::asio::io_context& context();

  // Lets no more handlers run and joins the threads; what still waits is destroyed with the context. Call it after the front ends stopped
  // and while what their coroutines use still lives. Twice is fine. Not from an I/O thread.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::net
