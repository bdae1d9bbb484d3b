// One loop, one coroutine: take what the pool decoded, filter it, and whenever a cut is due put what is clear on record and then release it
// (promises P7, then P2). Between takes it asks whether it must stop: the client has gone, the key was revoked, the deadline passed.
// Tested by tests/gateway/pipeline/request_test.cpp, tests/gateway/pipeline/faults_test.cpp.
#include "gateway/pipeline/relay.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "gateway/async/run_on.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/append.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

// Alternatives of a piece that are judged where the relay runs: some tens of microseconds each under many rules. More go to `cpu`.
constexpr std::size_t kAlternativesHere = 4;

// How soon a block is seen in a reply that nobody waits for piece by piece: models take about as long for a token.
constexpr std::chrono::milliseconds kLook{20};

}  // namespace

Relay::Relay(const RelayContext& context, Sequences sequences, const OutputPlan& plan, metering::Reservation& reservation)
    : context_(context),
      sequences_(std::move(sequences)),
      plan_(plan),
      reservation_(reservation),
      watch_(context.with, context.principal, context.model, context.cancellation, context.shutting_down, context.deadline,
             context.more_time) {
  const auto count = static_cast<std::int64_t>(sequences_.streams.size());
  for (auto& stream : sequences_.streams) {
    auto choice = std::make_unique<Choice>();
    choice->tokens = std::move(stream);
    choice->index = static_cast<int>(choices_.size());
    choice->output = std::make_unique<ChoiceOutput>(choice->index, plan_);
    choice->paid = context.output_held / count;
    choice->allowed = sequences_.request.allowance;
    choices_.push_back(std::move(choice));
  }
  context.guards.GiveSpare(context.output_held % count);
  limited_by_ = context.limited_by;
}

async::Awaitable<Ending> Relay::Run() {
  const auto notify = context_.event.Notifier();
  if (context_.writer != nullptr) {
    const boost::asio::any_io_executor here = co_await boost::asio::this_coro::executor;
    write_watch_.emplace(here, *context_.writer, context_.with.options.authority_check, [this] {
      broken_off_ = watch_.MustStop();
      return broken_off_.has_value();
    });
    if (const auto silence = context_.writer->silence_max(); silence.count() > 0) begin_by_ = steady_clock::now() + silence;
  }
  for (;;) {
    BeginJudging();
    std::optional<Ending> stop = watch_.MustStop();
    bool idle = true;
    for (std::size_t i = 0; i < choices_.size() && !stop; ++i) {
      if (!choices_[i]->ended) stop = co_await TakeFrom(*choices_[i], idle);
    }
    if (!stop) stop = Consult();
    if (!stop && !context_.guards.idle()) co_await context_.guards.Turn();
    if (!stop && AllOver()) stop = Together();
    if (!stop && CutDue()) stop = co_await Release();
    if (!stop && IsSilent() && steady_clock::now() >= begin_by_) stop = co_await BeginAlone();
    if (stop) {
      for (const auto& choice : choices_) co_await StopDecoding(*choice);
      co_return std::move(*stop);
    }
    if (idle) {
      for (const auto& choice : choices_) {
        if (!choice->ended) choice->tokens->NotifyOnce(notify, Patient(*choice));
      }
      const auto wake = NextWake();
      co_await context_.event.WaitUntil(wake);
    }
  }
}

async::Awaitable<std::optional<Ending>> Relay::TakeFrom(Choice& choice, bool& idle) {
  inference::Piece piece;
  const inference::Taken taken = choice.tokens->Take(piece);
  idle = idle && taken == inference::Taken::kEmpty;
  if (taken == inference::Taken::kPiece && choice.over()) {
    choice.output->Drop(piece);
  } else if (taken == inference::Taken::kPiece) {
    const std::size_t had = choice.written.tokens.size();
    const absl::Status filtered = co_await Push(choice, piece);
    if (!filtered.ok()) co_return Unjudged(filtered);
    if (Retries()) {
      absl::StatusOr<bool> again = co_await Retry(choice, had);
      if (!again.ok()) co_return Broken("POOL_REFUSED", again.status());
      if (*again) co_return std::nullopt;
    }
    if (choice.output->blocked()) {
      choice.ending = Blocked(choice);
      choice.tokens->Cancel();
    }
  } else if (taken == inference::Taken::kParked && !choice.over()) {
    co_return co_await Extend(choice);
  } else if (taken == inference::Taken::kEnd) {
    co_return co_await TakeEnd(choice);
  }
  co_return std::nullopt;
}

// What was held is decided; a rule may yet want some of it written anew.
async::Awaitable<std::optional<Ending>> Relay::TakeEnd(Choice& choice) {
  choice.ended = true;
  choice.decoded = choice.before_tokens + choice.tokens->end().tokens_decoded;
  if (!choice.ending && Retries() && EndOf(choice).status.ok()) {
    const std::size_t had = choice.written.tokens.size();
    BeginJudging();
    absl::Status rest = choice.output->Finish();
    if (!rest.ok()) co_return Unjudged(std::move(rest));
    absl::StatusOr<bool> again = co_await Retry(choice, had);
    if (!again.ok()) co_return Broken("POOL_REFUSED", again.status());
    if (*again) co_return std::nullopt;
  }
  context_.guards.GiveSpare(std::max<std::int64_t>(0, choice.paid - choice.decoded));
  if (!choice.over()) co_return Finish(choice, EndOf(choice));
  co_return std::nullopt;
}

steady_clock::time_point Relay::BeginJudging() { return context_.patience.Begin(context_.with.options.judge_max); }

async::Awaitable<absl::Status> Relay::Push(Choice& choice, inference::Piece& piece) {
  choice.decoded = choice.before_tokens + piece.tokens_decoded;
  choice.output->Count(choice.decoded);
  piece.tokens_delivered += choice.before_delivered;
  if (sequences_.thought_tokens_max > 0 || sequences_.request.strict) {
    for (const inference::OutputToken& token : piece.tokens) {
      if (token.id != inference::kUnknownToken) choice.ids.push_back(token.id);
    }
  }
  for (inference::OutputToken& token : piece.tokens) token.text_end += choice.before_bytes;
  if (Retries()) {
    if (piece.text_at + choice.before_bytes != static_cast<std::int64_t>(choice.written.text.size()))
      co_return base::Internal("the output did not go on where it was taken back to");
    choice.written.Append(piece);
  }
  const bool large =
      choice.output->AlternativesToJudge(piece) > kAlternativesHere || context_.slow.Has(context_.policies, steady_clock::now());
  auto work = [this, &choice, &piece] {
    const auto began = BeginJudging();
    absl::Status pushed = choice.output->Push(piece);
    const auto now = steady_clock::now();
    context_.slow.Took(context_.policies, now - began, now);
    return pushed;
  };
  co_return co_await async::RunOnIf(large, context_.with.cpu, work);
}

// Its thought is bounded, and is not over.
bool Relay::HoldsThought(const Choice& choice) const { return sequences_.thought_tokens_max > 0 && choice.output->may_think(); }

// As far as it is paid for; a thought no further than its bound. Until it is known whether the output is one, a token at a time.
void Relay::AllowNext(Choice& choice) {
  const std::int64_t bound = std::max(sequences_.thought_tokens_max, choice.decoded + 1);
  choice.allowed = HoldsThought(choice) ? std::min(choice.paid, bound) : choice.paid;
  const bool last = allowance_final_ && choice.allowed == choice.paid && context_.guards.spare() == 0;
  choice.tokens->Allow(choice.allowed - choice.before_tokens, last);
}

// A step's tokens, or all there are: first those that guards, and replies that ended, left over.
async::Awaitable<absl::StatusOr<std::int64_t>> Relay::More() {
  const std::int64_t spare = context_.guards.TakeSpare(context_.step), want = context_.step - spare;
  if (want == 0 || allowance_final_) co_return spare;
  TG_CO_ASSIGN(const metering::Extension more, co_await ExtendBy(context_.with, reservation_, want));
  if (more.granted < want) {
    allowance_final_ = true;
    limited_by_ = more.limited_by;
  }
  co_return spare + more.granted;
}

// The sequence stands at its allowance: get more, or let it end there. Of its last tokens the text may be held, and no piece has told of
// them.
async::Awaitable<std::optional<Ending>> Relay::Extend(Choice& choice) {
  choice.decoded = choice.before_tokens + choice.tokens->tokens_decoded();
  if (HoldsThought(choice) && choice.output->in_thought() && choice.decoded >= sequences_.thought_tokens_max) {
    co_return co_await CloseThought(choice);
  }
  if (choice.allowed == choice.paid) {
    const absl::StatusOr<std::int64_t> more = co_await More();
    if (!more.ok()) co_return Broken("QUOTA_UNAVAILABLE", more.status());
    choice.paid += *more;
  }
  AllowNext(choice);
  co_return std::nullopt;
}

// The pool reads its form anew.
async::Awaitable<absl::StatusOr<std::shared_ptr<inference::TokenStream>>> Relay::GoOn(inference::SequenceRequest rest) {
  auto submit = [this, &rest] { return context_.with.pool->Submit(std::move(rest)); };
  co_return co_await async::RunOnIf(IsLongForm(rest, context_.with.options), context_.with.cpu, submit);
}

// The thought has used up its tokens: the sequence ends here, and another goes on behind its end, from what was thought so far.
async::Awaitable<std::optional<Ending>> Relay::CloseThought(Choice& choice) {
  if (const absl::Status taken = co_await EndAtAllowance(choice); !taken.ok()) co_return Unjudged(taken);
  if (!choice.ended) co_return Broken("ENGINE_FAILED", base::Unavailable("the engine did not stop; send the request again"));
  if (!choice.first_end) choice.first_end = choice.tokens->end();
  if (Ending failed = EndOf(choice); !failed.status.ok()) co_return Finish(choice, std::move(failed));
  BeginJudging();
  const bool open = choice.output->in_thought();  // What the engine held may have been its end.
  inference::Piece closing;
  closing.text = kThoughtEnd;
  closing.tokens_delivered = choice.decoded;
  if (const absl::Status pushed = open ? choice.output->Push(closing) : absl::OkStatus(); !pushed.ok()) co_return Unjudged(pushed);
  if (choice.output->blocked()) {
    choice.ending = Blocked(choice);
    context_.guards.GiveSpare(std::max<std::int64_t>(0, choice.paid - choice.decoded));
    co_return std::nullopt;
  }
  inference::SequenceRequest rest = sequences_.request;
  rest.sampling.seed += static_cast<std::uint64_t>(choice.output->index());
  rest.prompt_tokens.insert(rest.prompt_tokens.end(), choice.ids.begin(), choice.ids.end());
  if (open) rest.prompt_tokens.insert(rest.prompt_tokens.end(), sequences_.thought_end.begin(), sequences_.thought_end.end());
  const std::int64_t room = sequences_.context_tokens - static_cast<std::int64_t>(rest.prompt_tokens.size());
  rest.max_tokens = std::min(rest.max_tokens - choice.decoded, room);
  if (rest.max_tokens < 1) {
    Ending full{.finish = v1::FINISH_REASON_LENGTH, .reason = "LENGTH"};
    co_return Finish(choice, std::move(full));
  }
  if (choice.paid == choice.decoded) {
    const absl::StatusOr<std::int64_t> more = co_await More();
    if (!more.ok()) co_return Broken("QUOTA_UNAVAILABLE", more.status());
    choice.paid += *more;
    if (*more == 0) {
      Ending spent{.finish = v1::FINISH_REASON_LENGTH, .reason = "QUOTA", .quota_reached = limited_by_};
      co_return Finish(choice, std::move(spent));
    }
  }
  choice.allowed = choice.paid;
  rest.allowance = choice.paid - choice.decoded;
  rest.goes_on = true;
  auto stream = co_await GoOn(std::move(rest));
  if (!stream.ok()) co_return Broken("POOL_REFUSED", stream.status());
  AddServerUsage(choice.tokens->end().reported, replaced_);
  choice.tokens = *std::move(stream);
  choice.ended = false;  // Not before: until here all that was decoded is the old sequence's.
  choice.before_tokens = choice.before_delivered = choice.decoded;
  choice.before_bytes = choice.output->raw_bytes();
  co_return std::nullopt;
}

bool Relay::Pending() const {
  return std::any_of(choices_.begin(), choices_.end(), [](const auto& choice) { return !choice->output->empty(); });
}

bool Relay::CutDue() const { return context_.writer != nullptr && Pending() && (segment_ == 0 || steady_clock::now() >= next_cut_); }

// Nobody waits for its pieces: it is enough to look at them now and then, for a block that stops the decoding. Where a piece may end the
// reply, have it written anew, or others asked about it, each is looked at.
bool Relay::Patient(const Choice& choice) const {
  return context_.writer == nullptr && !Retries() && plan_.stops.empty() && !choice.output->asks();
}

steady_clock::time_point Relay::NextWake() const {
  auto wake = std::min(watch_.NextLook(), context_.guards.NextWake());
  if (context_.writer == nullptr) wake = std::min(wake, steady_clock::now() + kLook);
  if (context_.writer != nullptr && Pending()) wake = std::min(wake, next_cut_);
  if (IsSilent()) wake = std::min(wake, begin_by_);
  return wake;
}

// P2: the record first, then the bytes.
async::Awaitable<std::optional<Ending>> Relay::Release() {
  audit::Entry entry;
  entry.record = NewRecord(v1::RECORD_KIND_SEGMENT, context_.who);
  entry.record.set_segment(++segment_);
  v1::SegmentBody* body = entry.record.mutable_segment_body();
  body->set_offset(released_bytes_);
  v1::SealedContent content;
  std::vector<OutputPiece> out;
  std::vector<std::int64_t> frontiers, sizes;  // By reply.
  std::int64_t decoded = 0;
  for (const auto& choice : choices_) {
    const bool empty = choice->output->empty();
    sizes.push_back(choice->output->pending_bytes());
    decoded += choice->decoded;
    frontiers.push_back(empty ? 0 : choice->output->Frontier());
    if (empty) continue;
    FillReleased(out.emplace_back(choice->output->Take()), content);
  }
  body->set_size(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
  body->set_output_tokens(decoded);
  body->set_cached_input_tokens(CachedSoFar());
  for (v1::GuardUsage& usage : context_.guards.usage()) *body->add_guard_usage() = std::move(usage);
  absl::StatusOr<audit::Position> position = co_await SealAndAppend(context_.with, context_.key, std::move(entry), content);
  if (!position.ok()) co_return Broken("JOURNAL_FAILED", position.status());
  // The record may have been long on its way.
  if (auto stop = watch_.MustStop()) co_return stop;
  write_watch_->Begins();
  absl::Status written = co_await Write(std::move(out), sizes, frontiers);
  next_cut_ = steady_clock::now() + context_.with.options.segment;
  co_return Wrote(std::move(written));
}

std::optional<Ending> Relay::Wrote(absl::Status written) {
  write_watch_->Ends();
  if (written.ok()) return std::nullopt;
  return broken_off_ ? std::move(broken_off_) : Ended("CLIENT_GONE", base::Cancelled("the client went away"));
}

// Before its first token it may yet be refused with a status, or another model go on for this one.
bool Relay::IsSilent() const {
  return context_.writer != nullptr && !begun_ &&
         std::any_of(choices_.begin(), choices_.end(), [](const auto& choice) { return choice->decoded > 0; });
}

// All that is decoded is held: a call that is not whole, a span, what others are asked about. Whoever stands between would take a stream
// that says nothing for dead. Its head says what the REQUEST record does, and nothing of the output.
async::Awaitable<std::optional<Ending>> Relay::BeginAlone() {
  begun_ = true;
  write_watch_->Begins();
  absl::Status begun = co_await context_.writer->Begin(context_.head);
  co_return Wrote(std::move(begun));
}

// Of each reply its piece, with its sizes by reply.
async::Awaitable<absl::Status> Relay::Write(std::vector<OutputPiece> out, const std::vector<std::int64_t>& sizes,
                                            const std::vector<std::int64_t>& frontiers) {
  absl::Status written;
  if (!std::exchange(begun_, true)) written = co_await context_.writer->Begin(context_.head);
  for (std::size_t i = 0; i < out.size() && written.ok(); ++i) {
    const auto choice = static_cast<std::size_t>(out[i].choice);
    written = co_await context_.writer->Write(std::move(out[i]));
    if (!written.ok()) break;
    released_bytes_ += sizes[choice];
    choices_[choice]->released_bytes += sizes[choice];
    choices_[choice]->output->Released(frontiers[choice]);
  }
  co_return written;
}

// It has met its allowance and goes no further. Its end gives what was held of its text, so that of what is billed all tokens are known.
async::Awaitable<absl::Status> Relay::EndAtAllowance(Choice& choice) {
  choice.tokens->Allow(choice.allowed - choice.before_tokens, /*final=*/true, /*goes_on=*/true);
  const auto patience = steady_clock::now() + kStopPatience;
  const auto notify = context_.event.Notifier();
  while (!choice.ended && steady_clock::now() < patience) {
    inference::Piece piece;
    const inference::Taken taken = choice.tokens->Take(piece);
    if (taken == inference::Taken::kEnd) {
      choice.ended = true;
      choice.decoded = choice.before_tokens + choice.tokens->end().tokens_decoded;
    } else if (taken == inference::Taken::kPiece) {
      TG_CO_RETURN_IF_ERROR(co_await Push(choice, piece));
    } else {
      choice.tokens->NotifyOnce(notify);
      co_await context_.event.WaitUntil(patience);
    }
  }
  co_return absl::OkStatus();
}

// Within one step of the pool; its end says what was decoded to the token. `goes_on`: another sequence is submitted at once.
async::Awaitable<void> Relay::StopDecoding(Choice& choice, bool goes_on) {
  if (choice.ended) co_return;
  choice.tokens->Cancel(inference::EndReason::kCancelled, goes_on);
  const auto patience = steady_clock::now() + kStopPatience;
  const auto notify = context_.event.Notifier();
  while (steady_clock::now() < patience) {
    inference::Piece piece;
    const inference::Taken taken = choice.tokens->Take(piece);
    if (taken == inference::Taken::kEnd) {
      choice.ended = true;
      break;
    }
    if (taken == inference::Taken::kPiece) {
      piece.tokens_delivered += choice.before_delivered;
      choice.output->Drop(piece);
      continue;
    }
    choice.tokens->NotifyOnce(notify);
    co_await context_.event.WaitUntil(patience);
  }
  choice.decoded = choice.before_tokens + (choice.ended ? choice.tokens->end().tokens_decoded : choice.tokens->tokens_decoded());
}

}  // namespace tollgate::pipeline
