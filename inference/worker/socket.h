// WorkerSocket: one end of the socket between a model's process and the pool: whole messages, bounded in size, each with a deadline.
// Internal to the room.
//
// Each message stands behind its length: four bytes, the lowest first. One thread at a time may send and one receive.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

#include <google/protobuf/message_lite.h>

#include "base/clock.h"
#include "base/status.h"

namespace tollgate::inference {

constexpr std::size_t kWorkerMessageBytesMax = 64 << 20;  // A prompt of 16 million tokens.

class WorkerSocket {
 public:
  WorkerSocket() = default;
  explicit WorkerSocket(int descriptor) : descriptor_(descriptor) {}  // Owned.
  ~WorkerSocket();
  WorkerSocket(WorkerSocket&& other) noexcept { *this = std::move(other); }
  WorkerSocket& operator=(WorkerSocket&& other) noexcept;

  // A connected pair; both close on exec.
  static absl::StatusOr<std::pair<WorkerSocket, WorkerSocket>> Pair();

  // UNAVAILABLE: the other end is gone. DEADLINE_EXCEEDED: not by `until`. After either the socket is of no more use. INVALID_ARGUMENT: the
  // message is larger than kWorkerMessageBytesMax; nothing was sent.
  absl::Status Send(const google::protobuf::MessageLite& message, base::MonoTime until);

  // As Send; and DATA_LOSS: what came is no message. For so long as `eager` it looks again and again instead of sleeping: to be woken takes
  // some tens of microseconds.
  absl::Status Receive(google::protobuf::MessageLite& message, base::MonoTime until, std::chrono::microseconds eager = {});

  // Whether the other end closed, waiting for that until then.
  bool IsClosed(base::MonoTime until) const;

  int descriptor() const { return descriptor_; }

 private:
  absl::Status Await(short events, base::MonoTime until) const;
  absl::Status Fill(std::size_t bytes, base::MonoTime until, base::MonoTime eager_until);

  int descriptor_ = -1;
  std::string out_;  // Scratch.
  std::string in_;   // What came, from taken_ on not given yet.
  std::size_t taken_ = 0;
  std::size_t filled_ = 0;  // Bytes of in_ that came.
};

}  // namespace tollgate::inference
