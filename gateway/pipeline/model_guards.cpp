// Every call is greedy, bounded in tokens and time, and decoded under the tenant's own salt. An answer is given once: when it is read, when
// it is late, or when something keeps the call from running; the tokens are counted when the pool has ended it, which may be later.
//
// The breaker counts models that fail, or are late by the guard's own deadline. What a text brings about is that text's alone, what a
// caller does by a short deadline or by going away is that caller's, and a queue that others fill says nothing of the model.
// Tested by tests/gateway/pipeline/model_guards_test.cpp.
#include "gateway/pipeline/model_guards.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/encoding.h"
#include "gateway/async/run_on.h"
#include "gateway/directory/aliases.h"
#include "gateway/directory/directory.h"
#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/defaults.h"
#include "gateway/pipeline/shared.h"
#include "gateway/pipeline/watch.h"
#include "inference/fingerprint.h"
#include "inference/pool.h"
#include "metering/books.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using std::chrono::steady_clock;

namespace {

constexpr int kLikeliest = 20;  // Alternatives among which the words of a verdict are looked for.

// Its end, from a whole code point on.
std::string LastBytes(const std::string& text, std::size_t bytes) {
  std::size_t at = text.size() > bytes ? text.size() - bytes : 0;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return text.substr(at);
}

// What a sequence's end says of its model: it answered, or failed to; or nothing.
std::optional<bool> AnsweredBy(inference::EndReason reason, bool own_deadline) {
  using inference::EndReason;
  switch (reason) {
    case EndReason::kStop:
    case EndReason::kLength:
    case EndReason::kAllowance: return true;
    case EndReason::kEngineFailed: return false;
    case EndReason::kDeadline: return own_deadline ? std::optional(false) : std::nullopt;
    case EndReason::kCancelled:
    case EndReason::kQueueTimeout:
    case EndReason::kShutdown: return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

ModelGuards::ModelGuards(Shared& shared, const identity::Principal& principal, const base::RequestId& request, async::Event& event,
                         metering::Reservation& reservation, const std::vector<policy::Message>& prompt)
    : shared_(shared),
      with_(shared.with),
      principal_(principal),
      request_(request),
      event_(event),
      reservation_(reservation),
      prompt_(prompt) {}

void ModelGuards::Ask(QuestionAsk ask, std::function<void(QuestionAnswer)> done) {
  auto call = std::make_unique<Call>();
  call->done = std::move(done);
  call->ask = std::move(ask);
  const policy::Question& question = call->question();
  if (question.guard != nullptr || question.topic != nullptr) {
    const std::chrono::milliseconds its(question.guard != nullptr ? question.guard->deadline_ms : question.topic->deadline_ms);
    const auto patience = steady_clock::now() + its;
    call->own_deadline = patience <= call->ask.deadline;
    call->deadline = std::min(call->ask.deadline, patience);
    waiting_.push_back(std::move(call));
  } else if (with_.answerers != nullptr) {
    with_.answerers->Ask(std::move(call->ask), std::move(call->done));
  } else {
    Fail(*call, fmt::format("no detector '{}' is configured; name it under detectors in tollgate.yaml", call->ask.question.name));
  }
}

async::Awaitable<void> ModelGuards::Turn() {
  while (!waiting_.empty()) {
    std::unique_ptr<Call> call = std::move(waiting_.front());
    waiting_.pop_front();
    absl::Status begun = co_await Begin(*call);
    if (begun.ok()) {
      running_.push_back(std::move(call));
    } else {
      Fail(*call, fmt::format("{} '{}': {}", call->kind(), call->question().name, base::Message(begun)));
    }
  }
  for (const auto& call : running_) Take(*call);
  std::erase_if(running_, [](const auto& call) { return call->ended; });
}

steady_clock::time_point ModelGuards::NextWake() const {
  auto wake = steady_clock::time_point::max();
  for (const auto& call : running_) {
    if (call->done) wake = std::min(wake, call->deadline);
  }
  return wake;
}

async::Awaitable<void> ModelGuards::Stop() {
  for (const auto& call : std::exchange(waiting_, {})) Fail(*call, "the request ended before it was asked");
  for (const auto& call : running_) {
    call->stream->Cancel();
    Tell(*call, std::nullopt);
    Fail(*call, "the request ended before it had answered");
  }
  const auto patience = steady_clock::now() + kStopPatience;
  while (!running_.empty() && steady_clock::now() < patience) {
    for (const auto& call : running_) Take(*call);
    std::erase_if(running_, [](const auto& call) { return call->ended; });
    if (!running_.empty()) co_await event_.WaitUntil(patience);
  }
  for (const auto& call : running_) Count(*call, true);
  running_.clear();
}

std::vector<v1::GuardUsage> ModelGuards::usage() const {
  std::vector<v1::GuardUsage> out;
  for (const Line& line : lines_) {
    v1::GuardUsage usage = line.usage;
    const auto amount = metering::AmountOf(usage.price(), usage.tokens());
    TG_CHECK(amount.ok(), "a guard's tokens do not make a bill");
    usage.set_amount_nanos(amount->nanos);
    if (usage.asked() > 0) out.push_back(std::move(usage));
  }
  return out;
}

// The model, or the one that an alias leads to: the request's share of it, else the first that is there.
absl::StatusOr<inference::ModelInfo> ModelGuards::Find(const std::string& name) const {
  TG_ASSIGN(const auto now, with_.directory->InForce());
  std::vector<std::string> names = {name};
  if (const directory::Alias* alias = now->FindAlias(name)) {
    names = {directory::Choose(alias->targets, request_).model};
    names.insert(names.end(), alias->fallbacks.begin(), alias->fallbacks.end());
  }
  absl::Status why = base::NotFound("no such model is loaded; load one of that name, or name another in the policy");
  for (const std::string& its : names) {
    const auto found = with_.pool->Find(its);
    if (!found.ok() || IsOlder(*now, *found) || !Offers(with_, *now, its)) continue;
    if (!now->OrgMayUse(principal_.place, its)) {
      why = base::PermissionDenied("the org may not use it; ask an operator to grant it to the org");
      continue;
    }
    const absl::Status may = now->MayRun(principal_.place, its, with_.clock->Wall());
    if (may.ok()) return *found;
    why = may;
  }
  return why;
}

// Name and price are pinned when a model is asked first; whether it may run is asked each time.
absl::StatusOr<std::size_t> ModelGuards::LineOf(const std::string& name) {
  TG_ASSIGN(const inference::ModelInfo model, Find(name));
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    if (lines_[i].model.name == model.name && FingerprintOf(lines_[i].model) == FingerprintOf(model)) return i;
  }
  TG_ASSIGN(const v1::PinnedPrice price, principal_.snapshot->PriceOf(model.name, with_.clock->Wall()));
  Line& line = lines_.emplace_back(Line{model, {}});
  line.usage.set_model(model.name);
  line.usage.set_model_sha256(std::string(base::View(model.sha256)));
  *line.usage.mutable_price() = price;
  line.usage.mutable_tokens();
  return lines_.size() - 1;
}

// What the guard is shown.
std::vector<policy::Message> ModelGuards::MessagesOf(const QuestionAsk& ask) const {
  if (!ask.output) return *ask.messages;
  std::vector<policy::Message> out;
  const auto last =
      std::find_if(prompt_.rbegin(), prompt_.rend(), [](const policy::Message& m) { return m.role == policy::Role::kUser && !m.aside; });
  if (last != prompt_.rend()) out.push_back({policy::Role::kUser, "", {LastBytes(TextOf(*last), kContextBytesMax)}});
  for (const policy::Message& message : *ask.messages) {
    const std::string text = TextOf(message);
    out.push_back({policy::Role::kAssistant, "", {message.name.empty() ? text : fmt::format("{}({})", message.name, text)}});
  }
  return out;
}

// Whether what is to be judged is worked on by `cpu`.
bool ModelGuards::Large(const std::vector<policy::Message>& messages) const {
  std::size_t bytes = 0;
  for (const policy::Message& message : messages) bytes += TextOf(message).size();
  return static_cast<std::int64_t>(bytes) >= with_.options.inspect_here_bytes;
}

async::Awaitable<absl::Status> ModelGuards::Begin(Call& call) {
  const bool topic = call.question().topic != nullptr;
  TG_CO_ASSIGN(call.line, LineOf(call.question().name));
  std::vector<std::int32_t> prompt;
  if (topic) {
    TG_CO_RETURN_IF_ERROR(co_await CutForTopic(call));
    if (call.ended) co_return absl::OkStatus();
  } else {
    TG_CO_RETURN_IF_ERROR(co_await Render(call, prompt));
  }
  TG_CO_RETURN_IF_ERROR(co_await Hold(call));
  absl::Status begun = absl::OkStatus();
  if (!shared_.breakers.May(BreakerOf(call), steady_clock::now())) {
    begun = base::Unavailable(fmt::format("it failed {} times in a row and is left alone for a while", shared_.breakers.failures_max()));
  } else {
    call.owes_end = true;
    auto submitted = topic ? SubmitTopic(call) : Submit(call, std::move(prompt));
    if (submitted.ok()) {
      call.stream = *std::move(submitted);
    } else {
      Tell(call, std::nullopt);  // The pool refused it, and no model was asked.
      begun = submitted.status();
    }
  }
  if (!begun.ok()) {
    spare_ += std::exchange(call.held, 0);
    co_return begun;
  }
  v1::GuardUsage& usage = lines_[call.line].usage;
  usage.set_asked(usage.asked() + 1);
  co_return absl::OkStatus();
}

// The guard's prompt, as its tokens.
async::Awaitable<absl::Status> ModelGuards::Render(Call& call, std::vector<std::int32_t>& prompt) {
  const policy::GuardModel& guard = *call.question().guard;
  const inference::ModelInfo& model = lines_[call.line].model;
  if (guard.force && !model.grammars) co_return base::FailedPrecondition("it cannot be held to the words of its answer; leave 'force' out");
  if (guard.least_score_percent > 0 && !model.logprobs)
    co_return base::FailedPrecondition("it tells no probabilities, and 'least_score' needs them; leave it out");
  const std::vector<policy::Message> messages = MessagesOf(call.ask);
  auto render = [&]() -> absl::Status {
    std::vector<inference::PromptPart> parts;
    for (policy::GuardPart& part : policy::GuardPrompt(guard, messages, call.ask.output))
      parts.push_back({std::move(part.text), part.trusted});
    if (policy::InChatFormat(guard)) {
      inference::Turn turn;
      turn.role = "user";
      for (const inference::PromptPart& part : parts) turn.text += part.text;
      TG_ASSIGN(prompt, with_.pool->Render(model.name, {&turn, 1}));
    } else {
      TG_ASSIGN(prompt, with_.pool->RenderParts(model.name, parts));
    }
    return absl::OkStatus();
  };
  TG_CO_RETURN_IF_ERROR(co_await async::RunOnIf(Large(messages), with_.cpu, render));
  call.prompt_tokens = static_cast<std::int64_t>(prompt.size());
  if (call.prompt_tokens + guard.answer_tokens > model.context_tokens) {
    co_return base::InvalidArgument(fmt::format("the text makes a prompt of {} tokens, and with its answer of {} it takes {} in all",
                                                call.prompt_tokens, guard.answer_tokens, model.context_tokens));
  }
  co_return absl::OkStatus();
}

// Its tokens are the caller's quota's before it runs (P8). What falls short is left to the reply.
async::Awaitable<absl::Status> ModelGuards::Hold(Call& call) {
  const std::int64_t need = call.prompt_tokens + call.answer_tokens();
  if (spare_ < need) {
    absl::StatusOr<metering::Extension> more = co_await ExtendBy(with_, reservation_, need - spare_);
    if (!more.ok()) co_return more.status();
    spare_ += more->granted;
    if (spare_ < need)
      co_return base::ResourceExhausted(
          fmt::format("the quota of {} leaves {} of the {} tokens that it needs", more->limited_by, spare_, need));
  }
  spare_ -= need;
  call.held = need;
  co_return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<inference::TokenStream>> ModelGuards::Submit(Call& call, std::vector<std::int32_t> prompt) {
  const Line& line = lines_[call.line];
  inference::SequenceRequest request;
  request.model = line.model.name;
  request.fingerprint = FingerprintOf(line.model);
  request.prompt_tokens = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = request.allowance = call.answer_tokens();
  request.allowance_final = true;
  SetOwner(principal_.place, StandingOf(principal_.snapshot->DefaultsOf(principal_.place)), request);
  request.deadline = call.deadline;
  request.logprobs = line.model.logprobs ? kLikeliest : -1;
  request.grammar = policy::GuardGrammar(*call.question().guard);
  request.grammar_is_ours = true;
  return with_.pool->Submit(std::move(request));
}

void ModelGuards::Take(Call& call) {
  while (!call.ended) {
    inference::Piece piece;
    const inference::Taken taken = call.stream->Take(piece);
    if (taken == inference::Taken::kPiece) {
      call.reply.text += piece.text;
      for (inference::OutputToken& token : piece.tokens) {
        policy::GuardToken& out = call.reply.tokens.emplace_back(policy::GuardToken{std::move(token.bytes), {}});
        for (inference::OutputToken::Alternative& other : token.top) out.likeliest.push_back({std::move(other.bytes), other.logprob});
      }
    } else if (taken == inference::Taken::kEnd) {
      call.ended = true;
      Count(call, false);
      Tell(call, AnsweredBy(call.stream->end().reason, call.own_deadline));
      if (call.done) Answer(call, AnswerOf(call));
    } else if (taken == inference::Taken::kEmpty) {
      call.stream->NotifyOnce(event_.Notifier());
      break;
    }
  }
  if (call.ended || !call.done || steady_clock::now() < call.deadline) return;
  call.stream->Cancel(inference::EndReason::kDeadline);
  Tell(call, AnsweredBy(inference::EndReason::kDeadline, call.own_deadline));
  Fail(call, fmt::format("{} '{}': it did not answer in time", call.kind(), call.question().name));
}

// Whether the model answered, or failed to; nullopt says nothing of it. Once a call.
void ModelGuards::Tell(Call& call, std::optional<bool> answered) {
  if (!std::exchange(call.owes_end, false)) return;
  const std::string breaker = BreakerOf(call);
  if (!answered) {
    shared_.breakers.Abandoned(breaker);
  } else if (*answered) {
    shared_.breakers.Succeeded(breaker);
  } else {
    shared_.breakers.Failed(breaker, steady_clock::now());
  }
}

// No tenant's trouble with a model is another's.
std::string ModelGuards::BreakerOf(const Call& call) const {
  return principal_.place.team->id.value.Bytes() + lines_[call.line].model.name;
}

// What the call used. `hung`: the pool never ended it, and this is the most that it can have been.
void ModelGuards::Count(Call& call, bool hung) {
  v1::TokenCounts& tokens = *lines_[call.line].usage.mutable_tokens();
  std::int64_t input = call.prompt_tokens, cached = 0, output = call.stream->tokens_decoded();
  if (!hung) {
    const inference::StreamEnd& end = call.stream->end();
    input = end.input_tokens_evaluated, output = end.tokens_decoded;
    cached = std::min(end.cached_input_tokens, input);
    CountServer(lines_[call.line], end);
  }
  tokens.set_input(tokens.input() + input);
  tokens.set_cached_input(tokens.cached_input() + cached);
  tokens.set_output(tokens.output() + output);
  spare_ += std::max<std::int64_t>(0, std::exchange(call.held, 0) - input - output);
}

QuestionAnswer ModelGuards::AnswerOf(const Call& call) const {
  using inference::EndReason;
  const policy::Question& question = call.ask.question;
  const inference::StreamEnd& end = call.stream->end();
  const bool answered = AnsweredBy(end.reason, call.own_deadline).value_or(false);
  QuestionAnswer out;
  out.answer.id = question.id;
  const auto failed = [&](std::string_view why) {
    out.answer.failure = fmt::format("{} '{}': {}", call.kind(), question.name, why);
    return out;
  };
  if (question.topic != nullptr && answered) out = TopicAnswerOf(call);
  const std::string& said = question.topic != nullptr ? out.said : call.reply.text;
  out.said = said.size() <= kSaidBytesMax ? said : said.substr(0, base::Utf8PrefixLength(said.substr(0, kSaidBytesMax)));
  out.input_tokens = end.input_tokens_evaluated;
  out.output_tokens = end.tokens_decoded;
  if (!answered) return failed(end.reason == EndReason::kDeadline ? "it did not answer in time" : base::Message(end.status));
  if (question.topic != nullptr) return out;
  policy::GuardReply reply = call.reply;
  reply.whole = end.reason == EndReason::kStop;
  const auto reading = policy::ReadGuardReply(*question.guard, reply);
  if (!reading.ok()) return failed(base::Message(reading.status()));
  const bool by_score = question.guard->least_score_percent > 0;
  if (by_score && !reading->score_millionths) return failed("its answer gives no score");
  out.answer.hit = by_score || reading->hit;  // Policy compares the score.
  out.answer.score_millionths = reading->score_millionths.value_or(reading->hit ? 1'000'000 : 0);
  out.category = reading->category;
  return out;
}

void ModelGuards::Answer(Call& call, QuestionAnswer answer) {
  const auto done = std::exchange(call.done, nullptr);
  if (done) done(std::move(answer));
}

void ModelGuards::Fail(Call& call, std::string why) {
  QuestionAnswer answer;
  answer.answer.id = call.ask.question.id;
  answer.answer.failure = std::move(why);
  Answer(call, std::move(answer));
}

}  // namespace tollgate::pipeline
