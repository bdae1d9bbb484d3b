// How it works. A sequence that ends is marked, then closed after the step, so that the engine is never told to close a slot that it works
// on; its slot is free, and the counts that stats() shows are right, before its consumer hears of the end. What stats() shows is a copy
// that turns leave behind a short lock: each that ends a sequence or has no work, others once a millisecond.
//
// Tested by tests/inference/pool_test.cpp, tests/inference/signals_test.cpp.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/diagnostics.h"
#include "inference/replica.h"

namespace tollgate::inference {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kKept{100};  // A slot and a place, for the sequence that goes on for the one that left them.

}  // namespace

std::optional<EndReason> Replica::Due(const Sequence& sequence) const {
  if (sequence.stream->cancelled()) return sequence.stream->cancel_reason();
  if (sequence.request.deadline && now_ >= *sequence.request.deadline) return EndReason::kDeadline;
  return std::nullopt;
}

void Replica::SweepQueue() {
  swept_at_ = now_;
  // While another reply to the same request runs, waiting is no failure: the request has a deadline of its own.
  const auto served = [this](const Sequence& sequence) {
    return sequence.group != 0 &&
           std::any_of(slots_.begin(), slots_.end(), [&](const auto& s) { return s != nullptr && s->group == sequence.group; });
  };
  const auto late = [&](const Sequence& sequence) {
    return Due(sequence).has_value() || (now_ >= sequence.queue_deadline && !served(sequence));
  };
  queue_.Remove(late, [this](std::unique_ptr<Sequence> sequence) {
    const EndReason reason = Due(*sequence).value_or(EndReason::kQueueTimeout);
    EndWaiting(std::move(sequence), reason);
  });
}

void Replica::Fail(const EngineWork& work, const absl::Status& status) {
  base::Warn("inference", "model {}: a step failed: {}", model_.name, base::Message(status));
  End(*slots_[work.slot], EndReason::kEngineFailed, status);
}

void Replica::End(Sequence& sequence, EndReason reason, const absl::Status& status) {
  if (sequence.closing) return;
  sequence.closing = true;
  ++closing_;
  if (reason != EndReason::kCancelled) {
    text_.clear();
    sequence.text.Finish(text_);
    sequence.stream->Push(sequence.News(text_, true));
  }
  sequence.end.stop_index = sequence.text.stop_index();
  sequence.end.reason = reason;
  sequence.end.status = status;
  sequence.end.tokens_decoded = sequence.decoded;
  sequence.end.tokens_taken_back = sequence.decoded - static_cast<std::int64_t>(sequence.output.size());
  sequence.end.tokens_delivered = sequence.text.delivered();
  sequence.end.ended_at = now_;
  if (reason == EndReason::kEngineFailed) ++stats_.failed;
}

void Replica::CloseEnded() {
  if (closing_ == 0) return;
  for (auto& sequence : Seated()) {
    if (sequence == nullptr || !sequence->closing) continue;
    sequence->end.reported = engine_->Reported(sequence->slot);
    if (!sequence->end.reported.worked) sequence->end.input_tokens_evaluated = 0;
    engine_->Close(sequence->slot);
    if (cells_ != nullptr) cells_->Leave(*sequence);
    FairQueue::Release(*sequence);
    if (sequence->keeps) queue_.Keep(sequence->request.tenant, now_ + kKept, sequence->adapters);
    --running_;
    ++stats_.sequences;
    const auto held = std::chrono::duration_cast<milliseconds>(sequence->end.ended_at - *sequence->end.started_at).count();
    service_ms_.store((service_ms_.load(std::memory_order_relaxed) * 7 + held) / 8, std::memory_order_relaxed);
    ended_.push_back(std::move(sequence));
  }
  closing_ = 0;
  while (seated_ > 0 && slots_[seated_ - 1] == nullptr) --seated_;
  Publish();
  Leave(ended_);
  for (auto& sequence : ended_) sequence->stream->Finish(std::move(sequence->end));
  ended_.clear();
}

void Replica::EndWaiting(std::unique_ptr<Sequence> sequence, EndReason reason) {
  sequence->end.reason = reason;
  sequence->end.status = StatusOf(reason, 0);
  sequence->end.ended_at = now_;
  ++stats_.sequences;
  Publish();
  Leave(std::span(&sequence, 1));
  sequence->stream->Finish(std::move(sequence->end));
}

void Replica::EndAll() {
  now_ = clock_.Mono();
  Collect();
  for (auto& sequence : slots_) {
    if (sequence != nullptr) End(*sequence, EndReason::kShutdown, StatusOf(EndReason::kShutdown, sequence->decoded));
  }
  CloseEnded();
  queue_.Remove([](const Sequence&) { return true; },
                [this](std::unique_ptr<Sequence> sequence) { EndWaiting(std::move(sequence), EndReason::kShutdown); });
  Publish();
}

void Replica::Publish() {
  published_at_ = std::chrono::steady_clock::now();
  stats_.running = running_;
  stats_.waiting = queue_.size();
  stats_.prefix_cache_bytes = engine_->cache_bytes();
  stats_.device_sampled = engine_->device_sampled();
  stats_.upstream = engine_->upstream_stats();
  throughput_.Look(now_, {stats_.prompt_tokens, stats_.output_tokens, stats_.busy_micros, stats_.step_micros});
  stats_.prompt_tokens_per_second = throughput_.prompt_tokens_per_second();
  stats_.output_tokens_per_second = throughput_.output_tokens_per_second();
  stats_.efficiency = throughput_.efficiency();
  stats_.parked = 0;
  stats_.kv_tokens_used = 0;
  for (const auto& sequence : Seated()) {
    if (sequence == nullptr) continue;
    stats_.parked += sequence->parked ? 1 : 0;
    if (stats_.kv_tokens_total == 0) continue;
    stats_.kv_tokens_used += sequence->end.input_tokens_evaluated + sequence->published;
    stats_.kv_tokens_used += static_cast<std::int64_t>(sequence->output.size());
  }
  if (cells_ != nullptr) stats_.kv_tokens_used = cells_->used();
  if (queue_.size() == 0 || stats_.steps % 16 == 0) {
    stats_.fairness_gap_tokens = std::llround(queue_.GapTokens());
    stats_.fairness_bound_tokens = std::llround(queue_.GapBoundTokens());
  }
  base::Lock lock(mu_);
  stats_.refused = published_.refused;
  published_ = stats_;
}

void Replica::Leave(std::span<const std::unique_ptr<Sequence>> sequences) {
  base::Lock lock(mu_);
  for (const auto& sequence : sequences) {
    sequence->keeps ? door_.Keep(sequence->request.tenant) : door_.Leave(sequence->request.tenant);
  }
  if (door_.inside() == 0) idle_cv_.notify_all();
}

}  // namespace tollgate::inference
