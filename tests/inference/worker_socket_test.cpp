// The socket to a model's process: whole messages, bounded, with deadlines.
#include <catch2/catch_test_macros.hpp>

#include <sys/socket.h>

#include <string>
#include <thread>

#include "inference/worker/socket.h"
#include "tollgate/v1/worker.pb.h"

namespace tollgate::inference {
namespace {

using std::chrono::milliseconds;

base::MonoTime In(milliseconds time) { return base::SystemClock().Mono() + time; }
base::MonoTime Late() { return In(std::chrono::minutes(1)); }

std::pair<WorkerSocket, WorkerSocket> Pair() {
  auto ends = WorkerSocket::Pair();
  REQUIRE(ends.ok());
  return *std::move(ends);
}

v1::WorkerCall Call(std::size_t bytes) {
  v1::WorkerCall call;
  call.mutable_open()->set_grammar(std::string(bytes, 'x'));
  return call;
}

TEST_CASE("Messages of any size come as they were sent, in order, also many at once") {
  auto [ours, theirs] = Pair();
  const std::vector<std::size_t> sizes = {0, 1, 100, 70'000, 5, 3 << 20, 0, 64 << 10, 12};
  std::jthread sender([&] {
    for (const std::size_t size : sizes) TG_CHECK(ours.Send(Call(size), Late()).ok(), "a message was not sent");
  });
  for (const std::size_t size : sizes) {
    v1::WorkerCall call;
    REQUIRE(theirs.Receive(call, Late()).ok());
    CHECK(call.open().grammar().size() == size);
  }
}

TEST_CASE("What is no message is refused, and a peer that is gone is told") {
  struct Row {
    std::string bytes;
    absl::StatusCode code;
  };
  const Row rows[] = {
      {std::string("\xFF\xFF\xFF\xFF", 4), absl::StatusCode::kDataLoss}, {std::string("\x01\0\0\x04", 4), absl::StatusCode::kDataLoss},
      {std::string("\3\0\0\0abc", 7), absl::StatusCode::kDataLoss},      {std::string("\x09\0\0\0ab", 6), absl::StatusCode::kUnavailable},
      {std::string("\x09\0", 2), absl::StatusCode::kUnavailable},        {std::string(), absl::StatusCode::kUnavailable}};
  for (const Row& row : rows) {
    auto [ours, theirs] = Pair();
    REQUIRE(::send(theirs.descriptor(), row.bytes.data(), row.bytes.size(), 0) == std::ssize(row.bytes));
    CHECK_FALSE(ours.IsClosed(In(milliseconds(0))));
    theirs = WorkerSocket();
    v1::WorkerReply reply;
    CHECK(ours.Receive(reply, Late()).code() == row.code);
  }
}

TEST_CASE("A wait ends at its deadline, whether for an answer, for the rest of one, or for room to send") {
  auto [ours, theirs] = Pair();
  v1::WorkerCall call;
  CHECK(ours.Receive(call, In(milliseconds(20))).code() == absl::StatusCode::kDeadlineExceeded);
  REQUIRE(::send(theirs.descriptor(), "\x09\0\0", 3, 0) == 3);
  CHECK(ours.Receive(call, In(milliseconds(20))).code() == absl::StatusCode::kDeadlineExceeded);
  CHECK(ours.Send(Call(16 << 20), In(milliseconds(20))).code() == absl::StatusCode::kDeadlineExceeded);
}

TEST_CASE("A message that is too large is refused with the numbers, and the socket is good for others") {
  auto [ours, theirs] = Pair();
  const absl::Status refused = ours.Send(Call(kWorkerMessageBytesMax), Late());
  CHECK(refused.code() == absl::StatusCode::kInvalidArgument);
  CHECK(base::Message(refused).find("67108864") != std::string::npos);
  CHECK(ours.Send(Call(1), Late()).ok());
  v1::WorkerCall call;
  CHECK(theirs.Receive(call, Late()).ok());
}

TEST_CASE("The end of a peer is seen without reading") {
  auto [ours, theirs] = Pair();
  std::jthread closing([end = std::move(theirs)]() mutable { const WorkerSocket closed = std::move(end); });
  CHECK(ours.IsClosed(Late()));
}

}  // namespace
}  // namespace tollgate::inference
