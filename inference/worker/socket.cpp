// How it works. A message and its length go out in one send where the socket takes them; what comes is read into a buffer that stays, as
// much as there is, so that a small message costs one wait and one read. A peer that is gone raises no signal. Times are the machine's own:
// the other end is a process.
//
// Tested by tests/inference/worker_socket_test.cpp.
#include "inference/worker/socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>

#include <fmt/format.h>

namespace tollgate::inference {
namespace {

constexpr std::size_t kHead = 4;
constexpr std::size_t kRoom = 64 << 10;  // Read ahead, at least.
constexpr std::size_t kKeep = 1 << 20;   // A buffer that grew beyond this is given back.

absl::Status Gone() { return base::Unavailable("the other process is gone"); }

// For poll; -1: for ever.
int MillisUntil(base::MonoTime until) {
  if (until == base::MonoTime::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - base::SystemClock().Mono()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

}  // namespace

WorkerSocket::~WorkerSocket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

WorkerSocket& WorkerSocket::operator=(WorkerSocket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(out_, other.out_);
  std::swap(in_, other.in_);
  std::swap(taken_, other.taken_);
  std::swap(filled_, other.filled_);
  return *this;
}

absl::StatusOr<std::pair<WorkerSocket, WorkerSocket>> WorkerSocket::Pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return base::Unavailable(fmt::format("no socket for a model's process: {}", std::strerror(errno)));
  return std::pair(WorkerSocket(ends[0]), WorkerSocket(ends[1]));
}

absl::Status WorkerSocket::Await(short events, base::MonoTime until) const {
  pollfd socket{descriptor_, events, 0};
  for (;;) {
    const int ready = ::poll(&socket, 1, MillisUntil(until));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return Gone();
    if (base::SystemClock().Mono() >= until) return base::DeadlineExceeded("the other process did not answer in time");
  }
}

bool WorkerSocket::IsClosed(base::MonoTime until) const { return Await(0, until).ok(); }

absl::Status WorkerSocket::Send(const google::protobuf::MessageLite& message, base::MonoTime until) {
  const std::size_t size = message.ByteSizeLong();
  if (size > kWorkerMessageBytesMax) {
    return base::InvalidArgument(fmt::format(
        "the request takes {} bytes on its way to the model's process; at most {} are allowed: shorten it", size, kWorkerMessageBytesMax));
  }
  out_.resize(kHead + size);
  for (std::size_t i = 0; i < kHead; ++i) out_[i] = static_cast<char>(size >> (8 * i) & 0xFF);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(out_.data() + kHead));
  for (std::size_t sent = 0; sent < out_.size();) {
    const ssize_t some = ::send(descriptor_, out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (some >= 0) {
      sent += static_cast<std::size_t>(some);
    } else if (errno == EAGAIN) {
      TG_RETURN_IF_ERROR(Await(POLLOUT, until));
    } else if (errno != EINTR) {
      return Gone();
    }
  }
  if (out_.capacity() > kKeep) std::string().swap(out_);
  return absl::OkStatus();
}

// Until so many bytes are there that were not taken.
absl::Status WorkerSocket::Fill(std::size_t bytes, base::MonoTime until, base::MonoTime eager_until) {
  if (taken_ == filled_) taken_ = filled_ = 0;
  if (taken_ > 0 && taken_ + bytes > in_.size()) {
    std::memmove(in_.data(), in_.data() + taken_, filled_ - taken_);
    filled_ -= std::exchange(taken_, 0);
  }
  if (taken_ + std::max(bytes, kRoom) > in_.size()) in_.resize(taken_ + std::max(bytes, kRoom));
  while (filled_ - taken_ < bytes) {
    const ssize_t got = ::recv(descriptor_, in_.data() + filled_, in_.size() - filled_, MSG_DONTWAIT);
    if (got > 0) {
      filled_ += static_cast<std::size_t>(got);
    } else if (got < 0 && errno == EAGAIN) {
      if (base::SystemClock().Mono() < eager_until) continue;
      TG_RETURN_IF_ERROR(Await(POLLIN, until));
    } else if (got == 0 || errno != EINTR) {
      return Gone();
    }
  }
  return absl::OkStatus();
}

absl::Status WorkerSocket::Receive(google::protobuf::MessageLite& message, base::MonoTime until, std::chrono::microseconds eager) {
  const base::MonoTime eager_until = eager.count() > 0 ? base::SystemClock().Mono() + eager : base::MonoTime();
  TG_RETURN_IF_ERROR(Fill(kHead, until, eager_until));
  std::size_t size = 0;
  for (std::size_t i = 0; i < kHead; ++i) size |= static_cast<std::size_t>(static_cast<unsigned char>(in_[taken_ + i])) << (8 * i);
  if (size > kWorkerMessageBytesMax) return base::DataLoss(fmt::format("a message of {} bytes was announced", size));
  taken_ += kHead;
  TG_RETURN_IF_ERROR(Fill(size, until, {}));
  const bool parsed = message.ParseFromArray(in_.data() + taken_, static_cast<int>(size));
  taken_ += size;
  if (taken_ == filled_ && in_.size() > kKeep) {
    std::string().swap(in_);
    taken_ = filled_ = 0;
  }
  return parsed ? absl::OkStatus() : base::DataLoss("what came is no message");
}

}  // namespace tollgate::inference
