// How it works. Callers put sequences into an inbox and wake the thread; everything else happens on the replica's thread, in turns: take in
// what is new, end what must end, take back what must be taken back, see which parked sequences may go on, fill free slots in the fair
// queue's order, plan a step (each decoding sequence one token, then prompts in chunks within the budget), run it, hand out what it gave.
// Nothing in a turn waits but the engine's step and, when there is no work, the waker. The clock is injected: waits are cut short so that a
// clock that tests move is seen.
//
// A sequence that ends frees its slot, and the counts that stats() shows, before its consumer is told, so that a consumer that has seen the
// end finds the room it left.
//
// What the engine throws ends the sequences it was working on, never the thread.
//
// Submit and what checks requests are in replica_submit.cpp; how sequences end, and what is published, in replica_end.cpp; how a model that
// embeds plans and steps, in replica_embed.cpp.
// Tested by tests/inference/pool_test.cpp.
#include "inference/replica.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "inference/no_throw.h"

namespace tollgate::inference {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr microseconds kPoll = milliseconds(10);         // How late a deadline in the queue or of a parked sequence may be seen.
constexpr microseconds kPublishEvery = milliseconds(1);  // Of real time, while there is work.
constexpr microseconds kIdle = std::chrono::seconds(1);
constexpr std::int64_t kOutputsAtFirst = 64;  // Room for so many tokens is made at once.
constexpr std::int64_t kPromptAnswers = 8;    // So many answers a prompt weighs that waits beside its own tenant's.

// Its tenant's only prompt in work is told to the queue, with what was done for the one of the others that got least.
void TellPrompt(FairQueue& queue, const std::vector<std::unique_ptr<Sequence>>& slots, const Sequence& sequence) {
  std::optional<double> least;
  for (const auto& other : slots) {
    if (other == nullptr || other.get() == &sequence || other->to_work() == 0) continue;
    if (other->account == sequence.account) return;
    least = std::min(least.value_or(other->account->worked), other->account->worked);
  }
  if (sequence.input_ends.empty()) {
    queue.BringsPrompt(*sequence.account, least);
  } else {
    queue.BringsJob(*sequence.account, least);
  }
}

}  // namespace

void Replica::Run() {
  while (!stopping_.load(std::memory_order_acquire)) {
    now_ = clock_.Mono();
    woken_ = waker_->Poll() || woken_;
    if (woken_) Collect();
    Sweep();
    if (std::exchange(woken_, false)) Resume();
    CloseEnded();
    Admit();
    Plan();
    if (work_.empty()) {
      CloseEnded();
      Publish();
      Wait();
      continue;
    }
    const base::MonoTime began = now_;
    if (by_inputs_) {
      StepInputs();
    } else {
      Step();
    }
    CloseEnded();
    stats_.busy_micros += std::chrono::duration_cast<microseconds>(clock_.Mono() - began).count();
    if (std::chrono::steady_clock::now() - published_at_ >= kPublishEvery) Publish();
  }
  EndAll();
}

void Replica::Collect() {
  std::vector<std::unique_ptr<Sequence>> arrived;
  std::vector<std::packaged_task<absl::Status()>> jobs;
  {
    base::Lock lock(mu_);
    arrived.swap(inbox_);
    jobs.swap(jobs_);
  }
  for (auto& sequence : arrived) queue_.Push(std::move(sequence), now_);
  for (auto& job : jobs) job();
}

void Replica::Sweep() {
  for (auto& sequence : Seated()) {
    if (sequence == nullptr || sequence->closing) continue;
    if (const auto reason = Due(*sequence)) {
      End(*sequence, *reason, StatusOf(*reason, sequence->decoded));
      sequence->keeps = *reason == EndReason::kCancelled && sequence->stream->cancelled_to_go_on();
    } else if (const absl::Status status = engine_->SlotStatus(sequence->slot); !status.ok()) {
      End(*sequence, EndReason::kEngineFailed, status);
    }
  }
  if (queue_.size() > 0 && (woken_ || now_ - swept_at_ >= kPoll)) SweepQueue();
}

void Replica::Resume() {
  for (auto& sequence : Seated()) {
    if (sequence == nullptr || sequence->closing) continue;
    if (const auto order = sequence->stream->TakeRewind()) {
      Rewind(*sequence, *order);
    } else if (sequence->parked) {
      ParkOrEnd(*sequence);
    }
  }
}

void Replica::Rewind(Sequence& sequence, const RewindOrder& order) {
  const absl::Status status = NoThrow([&] { return engine_->Rewind(sequence.slot, order.output_tokens, order.banned); });
  if (!status.ok()) {
    End(sequence, EndReason::kEngineFailed, status);
    return;
  }
  sequence.redo_left = std::max<std::int64_t>(sequence.redo_left - (std::ssize(sequence.output) - order.output_tokens), 0);
  sequence.output.resize(static_cast<std::size_t>(order.output_tokens));
  sequence.text = OutputText(sequence.request.stop);
  sequence.told = 0;
  text_.clear();
  for (OutputToken& token : sequence.output) {
    sequence.text.Append(token.bytes, text_);
    token.text_end = sequence.text.token_end();
  }
  sequence.stream->Rewound(sequence.News(text_, false));
  ParkOrEnd(sequence);
}

void Replica::Admit() {
  if (const auto lapsed = queue_.Lapse(now_); !lapsed.empty()) {
    base::Lock lock(mu_);
    for (const base::TeamId& tenant : lapsed) door_.Lapse(tenant);
    if (door_.inside() == 0) idle_cv_.notify_all();
  }
  // What a slot is kept for, if it is here. Where there are no cells for it the slot is kept no more, and it waits as others do.
  const auto rest = [this]() -> std::unique_ptr<Sequence> {
    for (auto head = queue_.PeekKept(); head.sequence != nullptr; head = queue_.PeekKept()) {
      if (cells_ == nullptr || cells_->Admits(head, now_)) return queue_.PopKept(now_);
      queue_.DropKept();
    }
    return nullptr;
  };
  for (;;) {
    const bool ready = engine_->Ready().ok();
    if (auto sequence = ready ? rest() : nullptr) {
      Open(std::move(sequence));
      continue;
    }
    const int taken = running_ + queue_.kept();
    const bool may = taken < model_.slots && queue_.size() > 0 && ready;
    const bool last_slot = KeepsSlot(model_.slots) && taken == model_.slots - 1;
    if (cells_ != nullptr && !cells_->Admits(may ? queue_.Peek(last_slot, now_) : FairQueue::Head{}, now_)) return;
    if (!may) return;
    std::unique_ptr<Sequence> sequence = queue_.Pop(last_slot, now_);
    if (sequence == nullptr) return;
    Open(std::move(sequence));
  }
}

void Replica::Open(std::unique_ptr<Sequence> sequence) {
  const auto free = std::find(slots_.begin(), slots_.end(), nullptr);
  TG_CHECK(free != slots_.end(), "a sequence was let in without a free slot");
  sequence->slot = static_cast<int>(free - slots_.begin());
  seated_ = std::max(seated_, static_cast<std::size_t>(sequence->slot) + 1);
  sequence->end.started_at = now_;
  ++stats_.opened;
  stats_.queue_wait.Add(now_ - sequence->end.submitted_at);
  const SequenceRequest& request = sequence->request;
  const EngineSequence asked{.prompt_tokens = request.prompt_tokens,
                             .sampling = request.sampling,
                             .tenant = request.tenant,
                             .published_tokens = request.published_tokens,
                             .published_by = request.published_by,
                             .logit_bias = request.logit_bias,
                             .grammar = sequence->Grammar(),
                             .read = std::move(sequence->grammar_read),
                             .banned_first = request.banned_first,
                             .logprobs = request.logprobs,
                             .band = request.band,
                             .input_ends = sequence->input_ends,
                             .texts = sequence->input_texts,
                             .adapters = sequence->adapter_set};
  const auto opened = NoThrow([&] { return engine_->Open(sequence->slot, asked); });
  *free = std::move(sequence);
  Sequence& seated = **free;
  seated.input_texts.clear();
  seated.output.reserve(static_cast<std::size_t>(std::min(seated.output_limit, kOutputsAtFirst)));
  ++running_;
  if (!opened.ok()) {
    queue_.ChargePrompt(seated, 0);
    End(seated, EndReason::kEngineFailed, opened.status());
    return;
  }
  const bool shares = seated.group != 0 && std::any_of(slots_.begin(), slots_.end(), [&seated](const auto& other) {
                        return other != nullptr && other.get() != &seated && other->group == seated.group;
                      });
  const auto cached = static_cast<double>(shares ? seated.end.input_tokens : opened->cached_tokens);
  queue_.ChargePrompt(seated, static_cast<double>(seated.end.input_tokens) - cached * (1 - model_.cached_token_share));
  stats_.cached_tokens += opened->cached_tokens;
  stats_.prefix_hits += opened->cached_tokens > 0 ? 1 : 0;
  seated.end.cached_input_tokens = opened->cached_tokens;
  seated.end.input_tokens_evaluated = opened->cached_tokens;
  seated.stream->Cached(opened->cached_tokens);
  seated.published = opened->published_tokens;
  seated.prompt_left = seated.end.input_tokens - opened->cached_tokens - opened->published_tokens;
  TellPrompt(queue_, slots_, seated);
  if (cells_ != nullptr) CellPool::Guard(seated);
}

void Replica::Plan() {
  work_.clear();
  if (running_ == 0) return;
  if (by_inputs_) return PlanInputs();
  prompts_.clear();
  if (cells_ != nullptr) cells_->Spare(now_);
  ChooseTurn();
  for (auto& sequence : Seated()) {
    if (sequence == nullptr || !sequence->Runs() || !IsTurnOf(*sequence)) continue;
    if (sequence->to_work() > 0 && !embeds_) {
      if (sequence->group != 0 && Shares(*sequence)) continue;
      prompts_.push_back(sequence.get());
      continue;
    }
    work_.push_back({sequence->slot, 0, sequence->OutputMax()});
  }
  if (prompts_.empty()) return;
  queue_.OrderPrompts(prompts_);
  std::int64_t left =
      model_.strict ? engine_->step_tokens_max() : budget_.PromptTokens(static_cast<std::int64_t>(work_.size()), PromptsThatCount());
  for (Sequence* sequence : prompts_) {
    if (left == 0) return;
    const std::int64_t chunk = std::min(left, sequence->to_work());
    work_.push_back({sequence->slot, chunk, sequence->OutputMax()});
    left -= chunk;
  }
}

// Among a tenant's own sequences each prompt beyond the first counts as much as some answers: the sooner all of them decode together, the
// less a token costs. Beside another tenant's, all of a tenant's prompts count as one, so that nobody slows another's answers down by
// sending more.
std::int64_t Replica::PromptsThatCount() const {
  const auto account = prompts_.front()->account;
  const bool alone = std::all_of(slots_.begin(), slots_.end(), [&](const auto& s) { return s == nullptr || s->account == account; });
  if (alone) return 1 + kPromptAnswers * (std::ssize(prompts_) - 1);
  std::set<const TenantAccount*> tenants;
  for (const Sequence* s : prompts_) tenants.insert(s->account);
  return static_cast<std::int64_t>(tenants.size());
}

// A sequence that has done no work yet takes over the prompt from one of its group that has done all of it. True: one of them is at it, so
// that this one waits.
bool Replica::Shares(Sequence& sequence) {
  if (sequence.end.input_tokens_evaluated > sequence.end.cached_input_tokens) return false;
  const Sequence* at_it = nullptr;
  for (const auto& other : slots_) {
    if (other == nullptr || other.get() == &sequence || other->group != sequence.group || other->closing) continue;
    if (other->prompt_left == 0) {
      const std::int64_t known = engine_->Share(other->slot, sequence.slot);
      if (known <= sequence.end.cached_input_tokens + sequence.published || known >= sequence.end.input_tokens) return false;
      stats_.cached_tokens += known - sequence.end.cached_input_tokens;
      sequence.end.cached_input_tokens = sequence.end.input_tokens_evaluated = known;
      sequence.stream->Cached(known);
      sequence.published = 0;
      sequence.prompt_left = sequence.end.input_tokens - known;
      return false;
    }
    if (!other->parked && !other->suspended && (at_it == nullptr || other->prompt_left < at_it->prompt_left)) at_it = other.get();
  }
  if (at_it == nullptr) return false;
  return std::pair(at_it->prompt_left, at_it->slot) < std::pair(sequence.prompt_left, sequence.slot);
}

void Replica::Step() {
  outputs_.clear();
  const base::MonoTime before = clock_.Mono();
  const absl::Status status = NoThrow([this] { return engine_->Step(work_, outputs_); });
  const base::MonoTime after = clock_.Mono();
  const auto took = std::chrono::duration_cast<microseconds>(after - now_);
  if (!status.ok()) {
    if (stopping_.load(std::memory_order_acquire)) return;
    for (const EngineWork& work : work_) Fail(work, status);
    return;
  }
  std::int64_t prompt_tokens = 0;
  std::int64_t redone = 0;
  std::int64_t decoding = 0;
  for (const EngineWork& work : work_) {
    Sequence& sequence = *slots_[work.slot];
    FairQueue::WorkedPrompt(sequence, work.prompt_tokens);
    prompt_tokens += work.prompt_tokens;
    decoding += work.prompt_tokens == 0 ? 1 : 0;
    if (sequence.redo_left > 0) {
      sequence.redo_left -= work.prompt_tokens;
      redone += work.prompt_tokens;
      continue;
    }
    sequence.prompt_left -= work.prompt_tokens;
    sequence.end.input_tokens_evaluated += work.prompt_tokens;
    if (sequence.prompt_left == 0) sequence.end.input_tokens_evaluated += std::exchange(sequence.published, 0);
  }
  const bool usual = turn_ == nullptr || !turns_.changed();  // The step after a change of adapters says nothing about others.
  if (usual) budget_.Ran(prompt_tokens, decoding, took);
  ++stats_.steps;
  stats_.step_micros += std::chrono::duration_cast<microseconds>(after - before).count();
  stats_.step.Add(after - before);
  stats_.prompt_tokens += prompt_tokens - redone;
  stats_.recomputed_tokens += redone;
  now_ = after;
  for (const EngineOutput& output : outputs_) {
    Sequence* sequence = slots_[output.slot].get();
    if (sequence != nullptr && !sequence->closing) Take(*sequence, output);
  }
}

void Replica::Take(Sequence& sequence, const EngineOutput& output) {
  if (!output.status.ok()) {
    End(sequence, EndReason::kEngineFailed, output.status);
    return;
  }
  if (embeds_) return TakeVectors(sequence, output.vectors);
  if (output.token < 0) return End(sequence, EndReason::kStop, absl::OkStatus());
  ++sequence.decoded;
  sequence.guard = std::max<std::int64_t>(sequence.guard - 1, 0);
  ++stats_.output_tokens;
  if (!sequence.end.first_token_at) {
    sequence.end.first_token_at = now_;
    stats_.first_token.Add(now_ - sequence.end.submitted_at);
  }
  if (sequence.last_token_at) stats_.inter_token.Add(now_ - *sequence.last_token_at);
  sequence.last_token_at = now_;
  FairQueue::ChargeOutput(sequence, 1);
  text_.clear();
  OutputToken& token = sequence.output.emplace_back(OutputToken{output.token, std::string(output.bytes), output.logprob, {}, 0});
  for (const EngineAlternative& other : output.top) token.top.push_back({other.token, std::string(other.bytes), other.logprob});
  const bool stops = sequence.text.Append(output.bytes, text_) || output.ends;
  token.text_end = sequence.text.token_end();
  const bool full = static_cast<std::int64_t>(sequence.output.size()) >= sequence.output_limit;
  sequence.control = sequence.stream->Push(sequence.News(text_, stops || full));
  if (sequence.control.rewind) {
    woken_ = true;
  } else if (stops) {
    End(sequence, EndReason::kStop, absl::OkStatus());
  } else if (full) {
    End(sequence, EndReason::kLength, absl::OkStatus());
  } else if (sequence.decoded >= sequence.control.allowance || !sequence.control.has_room) {
    ParkOrEnd(sequence);
  }
}

void Replica::ParkOrEnd(Sequence& sequence) {
  sequence.control = sequence.stream->Park(sequence.decoded);
  woken_ = woken_ || sequence.control.rewind;
  if (sequence.control.rewind) return;
  const bool met = sequence.decoded >= sequence.control.allowance;
  if (!std::exchange(sequence.parked, met || !sequence.control.has_room)) sequence.parked_at = now_;
  if (sequence.parked) {
    sequence.last_token_at.reset();
    sequence.guard = 0;
  }
  if (!met || !sequence.control.allowance_final) return;
  End(sequence, EndReason::kAllowance, absl::OkStatus());
  sequence.keeps = sequence.control.goes_on;
}

void Replica::Wait() {
  const bool soon = running_ > 0 || queue_.size() > 0 || queue_.kept() > 0;
  const microseconds limit = std::min(engine_->Idle(), soon ? kPoll : kIdle);
  woken_ = waker_->Wait(limit) || woken_;
}

}  // namespace tollgate::inference
