// StreamState: what the pool and one TokenStream share, and Waker, by which a consumer wakes the replica. Internal to the room.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "inference/token_stream.h"

namespace tollgate::inference {

// Wakes a replica's thread. Shared, so that a stream may outlive its replica.
class Waker {
 public:
  void Wake();
  // Waits until woken, at most `limit` of real time. True if woken.
  bool Wait(std::chrono::microseconds limit);
  // True if woken since the last Wait or Poll.
  bool Poll() { return woken_.load(std::memory_order_relaxed) && woken_.exchange(false, std::memory_order_acq_rel); }

 private:
  base::Mutex mu_;
  std::condition_variable cv_;
  std::atomic<bool> woken_{false};
};

// What the consumer lets the sequence do.
struct StreamControl {
  std::int64_t allowance = 0;
  bool allowance_final = false;
  bool has_room = true;
  bool goes_on = false;  // Behind a final allowance, in another sequence.
  bool rewind = false;   // TakeRewind has an order; what was pushed after it was given is dropped.
};

// What one step gave.
struct StreamNews {
  std::string_view text;
  std::span<const OutputToken> tokens;  // Delivered with the text, where they are wanted.
  std::int64_t decoded = 0;             // In all.
  std::int64_t standing = 0;            // Of those, not taken back.
  std::int64_t delivered = 0;
  bool ends = false;  // The sequence ends with this: no rewind is accepted any more, unless one was before.
};

struct RewindOrder {
  std::int64_t output_tokens = 0;
  std::vector<std::int32_t> banned;
};

class StreamState {
 public:
  StreamState(std::shared_ptr<Waker> waker, std::int64_t buffer_bytes, std::int64_t allowance, bool allowance_final)
      : waker_(std::move(waker)), buffer_bytes_(buffer_bytes), allowance_(allowance), allowance_final_(allowance_final) {}

  // The consumer's side: as TokenStream says.
  Taken Take(Piece& piece);
  void NotifyOnce(std::function<void()> callback, bool patient);
  void Allow(std::int64_t total, bool final, bool goes_on);
  bool Rewind(std::int64_t output_tokens, std::vector<std::int32_t> banned);
  void Cancel(EndReason reason, bool goes_on);
  void Forget();  // The consumer is gone: cancel, drop the callback.
  std::int64_t tokens_decoded() const { return decoded_now_.load(std::memory_order_relaxed); }
  std::int64_t input_tokens_begun() const { return begun_.load(std::memory_order_acquire); }
  std::int64_t cached_input_tokens() const { return cached_.load(std::memory_order_acquire); }
  const StreamEnd& end() const;

  // The replica's side.
  // Adds what one step gave (text may be empty) and says what the sequence may do next.
  StreamControl Push(const StreamNews& news);
  // The sequence cannot go on until Allow (`allowance_met`) or Take: the consumer will wake the replica. Returns the control read under the
  // same lock: if it lets the sequence go on after all, nothing was parked.
  StreamControl Park(std::int64_t decoded);
  // The order that waits, if any. It is carried out by Rewound, which says what stands now: all the text and tokens that are out.
  std::optional<RewindOrder> TakeRewind();
  void Rewound(const StreamNews& whole);
  void Finish(StreamEnd end);
  void BeginInputs(std::int64_t tokens) {
    begun_.store(tokens, std::memory_order_release);
  }  // Of a job that embeds: with those done before.
  // How much of the prompt came from the cache; before the first token is pushed.
  void Cached(std::int64_t tokens) { cached_.store(tokens, std::memory_order_release); }
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  EndReason cancel_reason() const { return cancel_reason_.load(std::memory_order_acquire); }
  bool cancelled_to_go_on() const { return cancelled_to_go_on_.load(std::memory_order_acquire); }

 private:
  // What the callback waits for is there.
  bool Due() const REQUIRES(mu_) {
    const bool text = patient_ ? static_cast<std::int64_t>(text_.size()) * 2 >= buffer_bytes_ : !text_.empty() || !tokens_.empty();
    return text || ended_ || parked_news_;
  }
  StreamControl Control() const REQUIRES(mu_) {
    return {allowance_, allowance_final_, static_cast<std::int64_t>(text_.size()) < buffer_bytes_, goes_on_, rewind_.has_value()};
  }

  const std::shared_ptr<Waker> waker_;
  const std::int64_t buffer_bytes_;
  std::atomic<bool> cancelled_{false}, cancelled_to_go_on_{false};
  std::atomic<EndReason> cancel_reason_{EndReason::kCancelled};
  std::atomic<std::int64_t> decoded_now_{0};
  std::atomic<std::int64_t> begun_{0};
  std::atomic<std::int64_t> cached_{0};

  mutable base::Mutex mu_;
  std::string text_ GUARDED_BY(mu_);                 // Not yet taken.
  std::int64_t text_at_ GUARDED_BY(mu_) = 0;         // Bytes of the output before text_: those that were taken and stand.
  std::vector<OutputToken> tokens_ GUARDED_BY(mu_);  // Not yet taken.
  std::int64_t tokens_taken_ GUARDED_BY(mu_) = 0;    // And stand.
  std::int64_t decoded_ GUARDED_BY(mu_) = 0;         // As of the last push.
  std::int64_t standing_ GUARDED_BY(mu_) = 0;
  std::int64_t delivered_ GUARDED_BY(mu_) = 0;
  std::int64_t allowance_ GUARDED_BY(mu_);
  bool allowance_final_ GUARDED_BY(mu_);
  bool goes_on_ GUARDED_BY(mu_) = false;
  bool parked_ GUARDED_BY(mu_) = false;       // The replica waits to be woken for this sequence.
  bool parked_news_ GUARDED_BY(mu_) = false;  // kParked has not been given yet.
  std::optional<RewindOrder> rewind_ GUARDED_BY(mu_);
  int rewinds_left_ GUARDED_BY(mu_) = TokenStream::kRewindsMax;
  bool ending_ GUARDED_BY(mu_) = false;
  bool ended_ GUARDED_BY(mu_) = false;
  StreamEnd end_ GUARDED_BY(mu_);
  std::function<void()> callback_ GUARDED_BY(mu_);
  bool patient_ GUARDED_BY(mu_) = false;  // The callback is.
};

}  // namespace tollgate::inference
