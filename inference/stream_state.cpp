// How it works. One short lock guards the text that waits, the allowance and the end; the replica takes it once a token. A sequence that
// cannot go on is parked under that lock, and whoever then makes room, raises the allowance or cancels wakes the replica: no wake can be
// lost, because Park reads the control it parks by under the lock that Allow and Take change it under. Callbacks run without the lock.
//
// Tested by tests/inference/token_stream_test.cpp.
#include "inference/stream_state.h"

#include <algorithm>
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
    if (!text_.empty() || !tokens_.empty()) {
      piece.text = std::move(text_);
      text_.clear();
      piece.text_at = text_at_;
      text_at_ += static_cast<std::int64_t>(piece.text.size());
      piece.tokens = std::move(tokens_);
      tokens_.clear();
      tokens_taken_ += static_cast<std::int64_t>(piece.tokens.size());
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

void StreamState::NotifyOnce(std::function<void()> callback, bool patient) {
  {
    base::Lock lock(mu_);
    patient_ = patient;
    if (!Due()) {
      callback_.swap(callback);  // The one replaced is destroyed outside the lock.
      return;
    }
  }
  callback();
}

void StreamState::Allow(std::int64_t total, bool final, bool goes_on) {
  bool wake = false;
  {
    base::Lock lock(mu_);
    if (total > allowance_) {
      allowance_ = total;
      if (decoded_ < allowance_) parked_news_ = false;
    }
    if (final) allowance_final_ = true;
    goes_on_ = goes_on_ || (final && goes_on);
    wake = parked_ && (decoded_ < allowance_ || allowance_final_);
    if (wake) parked_ = false;
  }
  if (wake) waker_->Wake();
}

bool StreamState::Rewind(std::int64_t output_tokens, std::vector<std::int32_t> banned) {
  {
    base::Lock lock(mu_);
    if (ending_ || ended_ || rewinds_left_ == 0 || output_tokens < 0 || output_tokens > standing_) return false;
    --rewinds_left_;
    rewind_ = RewindOrder{output_tokens, std::move(banned)};
    standing_ = output_tokens;
    text_.clear();
    tokens_.clear();
    parked_ = false;
    parked_news_ = false;
  }
  waker_->Wake();
  return true;
}

std::optional<RewindOrder> StreamState::TakeRewind() {
  base::Lock lock(mu_);
  return std::exchange(rewind_, std::nullopt);
}

void StreamState::Rewound(const StreamNews& whole) {
  std::function<void()> callback;
  {
    base::Lock lock(mu_);
    if (rewind_) return;  // Another one came meanwhile, for as much or less.
    standing_ = whole.standing;
    delivered_ = whole.delivered;
    text_at_ = std::min(text_at_, static_cast<std::int64_t>(whole.text.size()));
    text_ = whole.text.substr(static_cast<std::size_t>(text_at_));
    tokens_taken_ = std::min(tokens_taken_, static_cast<std::int64_t>(whole.tokens.size()));
    tokens_.assign(whole.tokens.begin() + tokens_taken_, whole.tokens.end());
    if (callback_ && Due()) callback.swap(callback_);
  }
  if (callback) callback();
}

void StreamState::Cancel(EndReason reason, bool goes_on) {
  bool expected = false;
  if (goes_on) cancelled_to_go_on_.store(true, std::memory_order_release);
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
  if (!ended) Cancel(EndReason::kCancelled, false);
}

const StreamEnd& StreamState::end() const {
  base::Lock lock(mu_);
  return end_;  // Written once, before ended_.
}

StreamControl StreamState::Push(const StreamNews& news) {
  std::function<void()> callback;
  StreamControl control;
  decoded_now_.store(news.decoded, std::memory_order_relaxed);
  {
    base::Lock lock(mu_);
    decoded_ = news.decoded;
    if (!rewind_) {
      text_.append(news.text);
      tokens_.insert(tokens_.end(), news.tokens.begin(), news.tokens.end());
      standing_ = news.standing;
      delivered_ = news.delivered;
      ending_ = ending_ || news.ends;
    }
    if (callback_ && Due()) callback.swap(callback_);
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
    if (control.rewind) return control;
    const bool met = decoded >= control.allowance;
    if (met && control.allowance_final) {
      ending_ = true;
      return control;
    }
    if (!met && control.has_room) return control;
    if (met && !parked_) parked_news_ = true;
    parked_ = true;
    if (callback_ && Due()) callback.swap(callback_);
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
    rewind_.reset();
    parked_news_ = false;
    callback.swap(callback_);
  }
  if (callback) callback();
}

TokenStream::TokenStream(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}
TokenStream::~TokenStream() { state_->Forget(); }
Taken TokenStream::Take(Piece& piece) { return state_->Take(piece); }
void TokenStream::NotifyOnce(std::function<void()> callback, bool patient) { state_->NotifyOnce(std::move(callback), patient); }
void TokenStream::Allow(std::int64_t total_output_tokens, bool final, bool goes_on) { state_->Allow(total_output_tokens, final, goes_on); }
void TokenStream::Cancel(EndReason reason, bool goes_on) { state_->Cancel(reason, goes_on); }
bool TokenStream::Rewind(std::int64_t output_tokens, std::vector<std::int32_t> banned) {
  return state_->Rewind(output_tokens, std::move(banned));
}
std::int64_t TokenStream::tokens_decoded() const { return state_->tokens_decoded(); }
std::int64_t TokenStream::input_tokens_begun() const { return state_->input_tokens_begun(); }
std::int64_t TokenStream::cached_input_tokens() const { return state_->cached_input_tokens(); }
const StreamEnd& TokenStream::end() const { return state_->end(); }

}  // namespace tollgate::inference
