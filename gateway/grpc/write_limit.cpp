// The library tells when all of a message is gone, and nothing before: what it may take goes by its size.
//
// A write in flight ends as any does when its call is cancelled. An expiry may have been queued when its write ended, so each knows its
// own by a number; and it may come when gRPC is done with the call, so the context is touched under a lock alone, and never after Done.
//
// Tested by tests/gateway/grpc/write_limit_test.cpp.
#include "gateway/grpc/write_limit.h"

#include <grpcpp/server_context.h>

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <utility>

#include "base/mutex.h"

namespace tollgate::grpc_front {
namespace {

constexpr std::size_t kPieceBytes = 256 * 1024;

}  // namespace

struct WriteLimit::State {
  State(::grpc::CallbackServerContext* call, boost::asio::any_io_executor timers) : rpc(call), timer(std::move(timers)) {}

  void CutNow() REQUIRES(mu) {
    cut = true;
    if (!done) rpc->TryCancel();
  }

  ::grpc::CallbackServerContext* const rpc;
  base::Mutex mu;
  boost::asio::steady_timer timer GUARDED_BY(mu);
  std::int64_t turn GUARDED_BY(mu) = 0;  // Counts at each write's start and end.
  bool cut GUARDED_BY(mu) = false;
  bool done GUARDED_BY(mu) = false;
};

WriteLimit::WriteLimit(::grpc::CallbackServerContext* rpc, boost::asio::any_io_executor timers, std::chrono::milliseconds limit)
    : limit_(limit), state_(std::make_shared<State>(rpc, std::move(timers))) {}

void WriteLimit::Begin(std::size_t bytes) {
  const std::size_t pieces = bytes == 0 ? 1 : (bytes - 1) / kPieceBytes + 1;
  const base::Lock lock(state_->mu);
  state_->timer.expires_after(limit_ * static_cast<std::int64_t>(pieces));
  state_->timer.async_wait([weak = std::weak_ptr(state_), turn = ++state_->turn](boost::system::error_code error) {
    const std::shared_ptr<State> state = weak.lock();
    if (error || !state) return;
    const base::Lock lock_of_expiry(state->mu);
    if (state->turn == turn) state->CutNow();
  });
}

void WriteLimit::End() {
  const base::Lock lock(state_->mu);
  ++state_->turn;
  state_->timer.cancel();
}

void WriteLimit::Done() {
  const base::Lock lock(state_->mu);
  state_->done = true;
  state_->timer.cancel();
}

void WriteLimit::Cut() {
  const base::Lock lock(state_->mu);
  state_->CutNow();
}

bool WriteLimit::cut() const {
  const base::Lock lock(state_->mu);
  return state_->cut;
}

}  // namespace tollgate::grpc_front
