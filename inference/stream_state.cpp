// How it works. One short lock guards the text that waits, the allowance and the end; the replica takes it once a token. A sequence that
// cannot go on is parked under that lock, and whoever then makes room, raises the allowance or cancels wakes the replica: no wake can be
// lost, because Park reads the control it parks by under the lock that Allow and Take change it under. Callbacks run without the lock.
//
// Tested by tests/inference/token_stream_test.cpp.
#include "inference/stream_state.h"

#include <utility>

namespace tollgate::inference {

void Waker::Wake() {
  {
    base::Lock lock(mu_);
    woken_.store(true, std::memory_order_release);
  }
  cv_.notify_one();
}

bool Waker::Wait(std::chrono::microseconds limit) {
  base::Lock lock(mu_);
  cv_.wait_for(lock.native(), limit, [this] { return woken_.load(std::memory_order_acquire); });
  return woken_.exchange(false, std::memory_order_acq_rel);
}

Taken StreamState::Take(Piece& piece) {
  bool wake = false;
  Taken taken = Taken::kEmpty;
  {
    base::Lock lock(mu_);
    if (!text_.empty()) {
      piece.text = std::move(text_);
      text_.clear();
      piece.tokens_decoded = decoded_;
      piece.tokens_delivered = delivered_;
      wake = parked_ && decoded_ < allowance_;
      if (wake) parked_ = false;
      taken = Taken::kPiece;
    } else if (ended_) {
      taken = Taken::kEnd;
    } else if (parked_news_) {
      parked_news_ = false;
      taken = Taken::kParked;
    }
  }
  if (wake) waker_->Wake();
  return taken;
}

void StreamState::NotifyOnce(std::function<void()> callback) {
  {
    base::Lock lock(mu_);
    if (!Takeable()) {
      callback_.swap(callback);  // The one replaced is destroyed outside the lock.
      return;
    }
  }
  callback();
}

void StreamState::Allow(std::int64_t total, bool final) {
  bool wake = false;
  {
    base::Lock lock(mu_);
    if (total > allowance_) {
      allowance_ = total;
      if (decoded_ < allowance_) parked_news_ = false;
    }
    if (final) allowance_final_ = true;
    wake = parked_ && (decoded_ < allowance_ || allowance_final_);
    if (wake) parked_ = false;
  }
  if (wake) waker_->Wake();
}

void StreamState::Cancel(EndReason reason) {
  bool expected = false;
  cancel_reason_.store(reason == EndReason::kDeadline ? EndReason::kDeadline : EndReason::kCancelled, std::memory_order_release);
  if (cancelled_.compare_exchange_strong(expected, true, std::memory_order_acq_rel)) waker_->Wake();
}

void StreamState::Forget() {
  std::function<void()> dropped;
  bool ended = false;
  {
    base::Lock lock(mu_);
    dropped.swap(callback_);
    ended = ended_;
  }
  if (!ended) Cancel(EndReason::kCancelled);
}

const StreamEnd& StreamState::end() const {
  base::Lock lock(mu_);
  return end_;  // Written once, before ended_.
}

StreamControl StreamState::Push(std::string_view text, std::int64_t decoded, std::int64_t delivered) {
  std::function<void()> callback;
  StreamControl control;
  decoded_now_.store(decoded, std::memory_order_relaxed);
  {
    base::Lock lock(mu_);
    text_.append(text);
    decoded_ = decoded;
    delivered_ = delivered;
    if (callback_ && Takeable()) callback.swap(callback_);
    control = Control();
  }
  if (callback) callback();
  return control;
}

StreamControl StreamState::Park(std::int64_t decoded) {
  std::function<void()> callback;
  StreamControl control;
  {
    base::Lock lock(mu_);
    control = Control();
    const bool met = decoded >= control.allowance;
    if (met && control.allowance_final) return control;
    if (!met && control.has_room) return control;
    if (met && !parked_) parked_news_ = true;
    parked_ = true;
    if (callback_ && Takeable()) callback.swap(callback_);
  }
  if (callback) callback();
  return control;
}

void StreamState::Finish(StreamEnd end) {
  std::function<void()> callback;
  {
    base::Lock lock(mu_);
    end_ = std::move(end);
    ended_ = true;
    parked_news_ = false;
    callback.swap(callback_);
  }
  if (callback) callback();
}

TokenStream::TokenStream(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}
TokenStream::~TokenStream() { state_->Forget(); }
Taken TokenStream::Take(Piece& piece) { return state_->Take(piece); }
void TokenStream::NotifyOnce(std::function<void()> callback) { state_->NotifyOnce(std::move(callback)); }
void TokenStream::Allow(std::int64_t total_output_tokens, bool final) { state_->Allow(total_output_tokens, final); }
void TokenStream::Cancel(EndReason reason) { state_->Cancel(reason); }
std::int64_t TokenStream::tokens_decoded() const { return state_->tokens_decoded(); }
const StreamEnd& TokenStream::end() const { return state_->end(); }

}  // namespace tollgate::inference
