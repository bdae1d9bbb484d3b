// A client-side deadline for calls into libpq, which waits for ever when the server's process is stopped or its host is gone:
// statement_timeout is the server's own clock and does not run there. Internal to base/postgres*.
#pragma once

#include <chrono>
#include <cstdint>

namespace tollgate::base {

// While it lives, the socket is shut down once `limit` has passed, which makes the blocked call return with a broken connection.
// Any thread. The socket must not be closed before this ends.
class SocketDeadline {
 public:
  SocketDeadline(int socket, std::chrono::milliseconds limit);
  ~SocketDeadline();
  SocketDeadline(const SocketDeadline&) = delete;
  SocketDeadline& operator=(const SocketDeadline&) = delete;

 private:
  std::uint64_t id_;
  std::chrono::steady_clock::time_point at_;
};

}  // namespace tollgate::base
