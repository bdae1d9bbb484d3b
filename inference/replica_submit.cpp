// How it works. What callers of a replica do: start it, check and queue a request, stop it. A request is checked wholly here, on the
// caller's thread, so that the engine sees nothing out of range. The bound on the queue (door.h) counts everything inside beyond the slots,
// so that a burst that the slots can take is not refused because the replica's thread has not looked yet.
//
// Tested by tests/inference/pool_test.cpp, tests/inference/pool_limits_test.cpp.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <future>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/encoding.h"
#include "base/error_detail.h"
#include "inference/grammar.h"
#include "inference/replica.h"
#include "inference/sampler.h"

namespace tollgate::inference {
namespace {

constexpr std::size_t kStopsMax = 16;
constexpr std::size_t kStopBytesMax = 256;
constexpr std::size_t kGroupMax = 16;
constexpr int kLogprobsMax = 20;
constexpr std::size_t kBiasesMax = 1024;

// Niceness is a thread's own on Linux; the threads an engine starts inherit it.
void LowerPriority(int nice) {
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  if (nice > 0 && setpriority(PRIO_PROCESS, thread, std::min(getpriority(PRIO_PROCESS, thread) + nice, 19)) != 0) {
    base::Warn("inference", "the replica's thread keeps its priority: setpriority failed");
  }
}

absl::Status CheckStops(const std::vector<std::string>& stops) {
  if (stops.size() > kStopsMax)
    return base::InvalidArgument(fmt::format("stop has {} strings; at most {} are allowed", stops.size(), kStopsMax));
  for (const std::string& stop : stops) {
    if (stop.empty() || stop.size() > kStopBytesMax) {
      return base::InvalidArgument(fmt::format("a stop string has {} bytes; 1 to {} are allowed", stop.size(), kStopBytesMax));
    }
    if (!base::IsValidUtf8(stop)) return base::InvalidArgument("a stop string is not UTF-8");
  }
  return absl::OkStatus();
}

absl::Status CheckLogits(const SequenceRequest& request, std::int64_t vocab_tokens) {
  if (request.logprobs < -1 || request.logprobs > kLogprobsMax)
    return base::InvalidArgument(fmt::format("logprobs asks for {} alternatives; 0 to {} are allowed", request.logprobs, kLogprobsMax));
  if (request.logit_bias.size() > kBiasesMax)
    return base::InvalidArgument(fmt::format("logit_bias has {} tokens; at most {} are allowed", request.logit_bias.size(), kBiasesMax));
  for (const LogitBias& bias : request.logit_bias) {
    if (bias.token < 0 || bias.token >= vocab_tokens)
      return base::InvalidArgument(fmt::format("logit_bias names token {}, which is not one of the model's {}", bias.token, vocab_tokens));
    if (!(bias.bias >= -100 && bias.bias <= 100))
      return base::InvalidArgument(fmt::format("logit_bias is {} for token {}; it must be between -100 and 100", bias.bias, bias.token));
  }
  return absl::OkStatus();
}

absl::Status Refuse(absl::StatusCode code, std::string_view message, std::string reason, std::string param) {
  base::ErrorDetail detail;
  detail.reason = std::move(reason);
  detail.param = std::move(param);
  detail.may_retry = false;
  return base::WithDetail(base::MakeStatus(code, message), detail);
}

// Jobs keep none beyond a step, and models on servers keep theirs there.
bool KeepsContext(const ModelOptions& model) { return model.pooling == Pooling::kNone && model.engine != EngineKind::kOpenAi; }

// `own`: what the tenant has inside.
absl::Status NoRoom(const ModelOptions& model, Door::Answer answer, std::int64_t own, std::int64_t retry_after_ms) {
  base::ErrorDetail detail;
  detail.reason = "QUEUE_FULL";
  detail.retry_after_ms = retry_after_ms;
  const std::string message = answer == Door::Answer::kFull
                                  ? fmt::format("model {} has {} sequences running and {} waiting, all it may hold; try again in {} ms",
                                                model.name, model.slots, model.queue_sequences_max, retry_after_ms)
                                  : fmt::format(
                                        "model {} has {} sequences of this team inside, as many as a team may have of {} slots and {} "
                                        "places to wait in while so few "
                                        "are free: the rest is for other teams; wait for some to end, or try again in {} ms",
                                        model.name, own, model.slots, model.queue_sequences_max, retry_after_ms);
  return base::WithDetail(base::ResourceExhausted(message), detail);
}

}  // namespace

Replica::Replica(const ModelOptions& model, const base::Clock& clock)
    : model_(model),
      clock_(clock),
      door_(model.slots, model.queue_sequences_max),
      budget_(model.step_tokens_max, model.step_target),
      turns_(model.step_target),
      slots_(static_cast<std::size_t>(model.slots)) {
  stats_.model = model.strict ? model.name + " (strict)" : model.name;
  stats_.slots = model.slots;
  stats_.queue_max = static_cast<int>(model.queue_sequences_max);
  if (KeepsContext(model)) stats_.kv_tokens_total = model.kv_tokens > 0 ? model.kv_tokens : model.slots * model.context_tokens;
  published_ = stats_;
}

absl::StatusOr<std::unique_ptr<Replica>> Replica::Start(const ModelOptions& model, const base::Clock& clock, int nice,
                                                        const Factory& factory) {
  std::unique_ptr<Replica> replica(new Replica(model, clock));
  std::promise<absl::Status> ready;
  auto started = ready.get_future();
  replica->thread_ = std::thread([self = replica.get(), nice, &factory, &ready] {
    pthread_setname_np(pthread_self(), "replica");
    LowerPriority(nice);
    const auto make = [&]() -> absl::StatusOr<std::unique_ptr<Engine>> {
      try {
        return factory();
      } catch (const std::exception& e) {
        return base::Unavailable(fmt::format("the engine could not be started: {}", e.what()));
      }
    };
    auto engine = make();
    if (!engine.ok()) {
      ready.set_value(engine.status());
      return;
    }
    self->engine_ = *std::move(engine);
    self->embeds_ = self->engine_->Info().pooling != Pooling::kNone;
    self->by_inputs_ = self->embeds_ && !self->engine_->EmbedsInSlots();
    if (self->model_.kv_tokens > 0) {
      const auto fail = [self](Sequence& one, const absl::Status& status) { self->End(one, EndReason::kEngineFailed, status); };
      self->cells_ = std::make_unique<CellPool>(self->model_, *self->engine_, self->slots_, self->stats_, fail);
    }
    self->budget_ = StepBudget(self->engine_->step_tokens_max(), self->model_.step_target, self->engine_->Info().device_memory_bytes > 0);
    ready.set_value(absl::OkStatus());
    self->Run();
  });
  if (absl::Status status = started.get(); !status.ok()) {
    replica->thread_.join();
    return status;
  }
  return replica;
}

Replica::~Replica() { Stop(); }

absl::Status Replica::Check(const SequenceRequest& request) const {
  const ModelInfo& info = engine_->Info();
  if (embeds_) return base::FailedPrecondition(fmt::format("model {} does not chat: it makes vectors or ranks", model_.name));
  const auto input = static_cast<std::int64_t>(request.prompt_tokens.size());
  if (input == 0) return base::InvalidArgument("the prompt has no tokens");
  for (const std::int32_t token : request.prompt_tokens) {
    if (token < 0 || token >= info.vocab_tokens)
      return base::InvalidArgument(fmt::format("prompt token {} is not one of the model's {}", token, info.vocab_tokens));
  }
  const std::int64_t output = std::max<std::int64_t>(request.max_tokens, 1);
  if (request.max_tokens < 0)
    return Refuse(absl::StatusCode::kInvalidArgument, "max_tokens must not be negative", "INVALID_VALUE", "max_tokens");
  if (input > info.context_tokens || output > info.context_tokens - input) {
    const std::string message = fmt::format(
        "the prompt has {} tokens and max_tokens asks for {}; together model {} has a context of {}: shorten the prompt or lower "
        "max_tokens",
        input, output, model_.name, info.context_tokens);
    return Refuse(absl::StatusCode::kInvalidArgument, message, "CONTEXT_LENGTH_EXCEEDED", "messages");
  }
  if (request.allowance < 1) return base::InvalidArgument("the allowance must be at least 1 token");
  if (request.band < 0 || request.band >= kBands)
    return base::InvalidArgument(fmt::format("band is {}; it must be between 0 and {}", request.band, kBands - 1));
  if (!(request.weight >= 0.01 && request.weight <= 100))
    return base::InvalidArgument(fmt::format("weight is {}; it must be between 0.01 and 100", request.weight));
  TG_RETURN_IF_ERROR(CheckSampling(request.sampling));
  TG_RETURN_IF_ERROR(CheckLogits(request, info.vocab_tokens));
  if (request.logprobs >= 0 && !info.logprobs) return base::Unimplemented("this model's engine gives no log-probabilities");
  TG_RETURN_IF_ERROR(CheckForm(request));
  return CheckStops(request.stop);
}

absl::Status Replica::CheckForm(const SequenceRequest& request) const {
  if (request.json && !request.grammar.empty()) return base::InvalidArgument("ask for JSON or for a grammar of your own, not for both");
  return request.grammar.empty() || request.grammar_is_ours ? absl::OkStatus() : CheckGrammar(request.grammar);
}

std::unique_ptr<Sequence> Replica::MakeSequence(const SequenceRequest& request, const AdaptersHeld& adapters, std::uint64_t seed) const {
  auto sequence = std::make_unique<Sequence>(request);
  sequence->adapters = adapters;
  for (const auto& adapter : adapters) sequence->adapter_set.push_back(adapter->handle);
  const SequenceRequest& kept = sequence->request;
  const auto input = static_cast<std::int64_t>(kept.prompt_tokens.size());
  sequence->request.sampling.seed = seed;
  if (model_.strict) sequence->request.band = kBands - 1;
  sequence->output_limit = kept.max_tokens == 0 ? engine_->Info().context_tokens - input : kept.max_tokens;
  sequence->end.input_tokens = input;
  sequence->end.submitted_at = clock_.Mono();
  const bool goes_on =
      kept.goes_on && kept.deadline.has_value();  // Of what was said already: no slot for a while is no reason to break off.
  sequence->queue_deadline = goes_on ? base::MonoTime::max() : sequence->end.submitted_at + model_.queue_timeout;
  sequence->control = {kept.allowance, kept.allowance_final, true};
  sequence->stream = std::make_shared<StreamState>(waker_, model_.stream_buffer_bytes, kept.allowance, kept.allowance_final);
  return sequence;
}

absl::StatusOr<std::shared_ptr<TokenStream>> Replica::Submit(SequenceRequest request, AdaptersHeld adapters) {
  const std::uint64_t seed = request.sampling.seed;
  TG_ASSIGN(auto streams, SubmitGroup(request, adapters, std::span(&seed, 1)));
  return std::move(streams.front());
}

absl::StatusOr<std::vector<std::shared_ptr<TokenStream>>> Replica::SubmitGroup(const SequenceRequest& request, const AdaptersHeld& adapters,
                                                                               std::span<const std::uint64_t> seeds) {
  TG_RETURN_IF_ERROR(engine_->Ready());
  TG_RETURN_IF_ERROR(Check(request));
  if (seeds.empty() || seeds.size() > kGroupMax)
    return base::InvalidArgument(fmt::format("{} answers are asked for; 1 to {} are allowed", seeds.size(), kGroupMax));
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (const std::uint64_t seed : seeds) {
    Sequence& made = *sequences.emplace_back(MakeSequence(request, adapters, seed));
    const std::shared_ptr<CheckedGrammar>& read = sequences.front()->grammar_read;
    if (sequences.size() > 1 && read != nullptr) made.grammar_read = read->Again();
    if (sequences.size() == 1 && !made.Grammar().empty()) {  // Read here, because that may take long: the replica's thread serves everyone.
      TG_ASSIGN(made.grammar_read, engine_->CheckGrammar(made.Grammar()));
    }
    streams.push_back(std::make_shared<TokenStream>(sequences.back()->stream));
  }
  TG_RETURN_IF_ERROR(Enter(std::move(sequences)));
  return streams;
}

// All of them into the inbox, as one group, or none.
absl::Status Replica::Enter(std::vector<std::unique_ptr<Sequence>> sequences) {
  const base::TeamId tenant = sequences.front()->request.tenant;
  const bool goes_on = sequences.front()->request.goes_on;
  const auto count = static_cast<std::int64_t>(sequences.size());
  {
    base::Lock lock(mu_);
    const bool stays = goes_on && door_.kept(tenant) >= count && !stopping_.load(std::memory_order_relaxed);
    if (closed_ && !stays) return StatusOf(EndReason::kShutdown, 0);
    const Door::Answer answer = goes_on ? door_.AskToGoOn(tenant, count) : door_.Ask(tenant, count);
    if (answer != Door::Answer::kIn) {
      ++published_.refused;
      const std::int64_t waiting = std::max<std::int64_t>(door_.inside() - model_.slots, 0);
      return NoRoom(model_, answer, door_.inside(tenant), RetryAfterMs(waiting));
    }
    goes_on ? door_.GoOn(tenant, count) : door_.Enter(tenant, count);
    const std::int64_t group = count > 1 ? ++groups_ : 0;
    for (auto& sequence : sequences) {
      sequence->group = group;
      inbox_.push_back(std::move(sequence));
    }
  }
  waker_->Wake();
  return absl::OkStatus();
}

bool Replica::Takes(const base::TeamId& tenant, int sequences) const {
  base::Lock lock(mu_);
  return engine_->Ready().ok() && door_.Ask(tenant, sequences) == Door::Answer::kIn;
}

bool Replica::Keeps(const base::TeamId& tenant) const {
  base::Lock lock(mu_);
  return door_.kept(tenant) > 0;
}

// When about half of what waits will have been served.
std::int64_t Replica::RetryAfterMs(std::int64_t waiting) const {
  const std::int64_t half = service_ms_.load(std::memory_order_relaxed) * (waiting / 2 + 1) / model_.slots;
  return std::clamp<std::int64_t>(half, 100, 60'000);
}

absl::Status Replica::StatusOf(EndReason reason, std::int64_t decoded) const {
  base::ErrorDetail detail;
  switch (reason) {
    case EndReason::kCancelled: return base::Cancelled("the request was cancelled");
    case EndReason::kDeadline:
      if (embeds_) return base::DeadlinePassed("the deadline passed before all inputs were worked through; allow more time or send fewer");
      return base::DeadlinePassed(
          fmt::format("the deadline passed after {} output tokens; allow more time or ask for fewer tokens", decoded));
    case EndReason::kQueueTimeout:
      detail.reason = "QUEUE_TIMEOUT";
      detail.retry_after_ms = RetryAfterMs(model_.queue_sequences_max);
      return base::WithDetail(base::Unavailable(fmt::format("model {} had no free slot for {} ms; try again in {} ms", model_.name,
                                                            model_.queue_timeout.count(), *detail.retry_after_ms)),
                              detail);
    case EndReason::kShutdown:
      detail.reason = "SHUTTING_DOWN";
      detail.retry_after_ms = 1000;
      return base::WithDetail(base::Unavailable("the server is shutting down; try again in 1000 ms"), detail);
    default: return absl::OkStatus();
  }
}

ReplicaStats Replica::stats() const {
  base::Lock lock(mu_);
  ReplicaStats stats = published_;
  const bool reachable = stats.upstream.endpoints == 0 || stats.upstream.usable > 0;
  stats.ready = engine_->Ready().ok() && reachable;
  stats.engine_restarts = engine_->restarts();
  stats.full = door_.full();
  stats.waiting = std::max(stats.waiting, static_cast<int>(door_.inside() - door_.kept()) - stats.running);
  return stats;
}

void Replica::StopAdmission() {
  base::Lock lock(mu_);
  closed_ = true;
}

bool Replica::WaitIdle(std::chrono::milliseconds limit) {
  base::Lock lock(mu_);
  return idle_cv_.wait_for(lock.native(), limit, [this]() REQUIRES(mu_) { return door_.inside() == 0; });
}

void Replica::Stop() {
  StopAdmission();
  std::call_once(stopped_, [this] {
    {
      base::Lock lock(mu_);  // Whatever came in before is in the inbox.
      stopping_.store(true, std::memory_order_release);
    }
    if (!thread_.joinable()) return;
    if (engine_ != nullptr) engine_->Interrupt();
    waker_->Wake();
    thread_.join();
  });
}

}  // namespace tollgate::inference
