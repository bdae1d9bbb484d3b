// How it works. Everything happens on the replica's thread, inside Step and Idle: transfers move on, answers that ended are judged, tokens
// that came are given out. A step that has nothing to give waits a moment for the network. A parked sequence is simply not asked for; what
// its answer brings meanwhile is bounded by the tokens it was allowed.
//
// An answer asks for as many tokens as may stand (the allowance, max_tokens, the context), so that an upstream never computes what nobody
// reserved. When more is allowed later, the next request continues from the prompt and what stands; the same after a rewind. The token that
// would end a sequence is held until its answer is over, a second at most: closing the slot then keeps the connection, and the upstream's
// own count has come to be compared.
//
// Tested by tests/inference/upstream_engine_test.cpp, tests/inference/upstream_faults_test.cpp.
#include "inference/engines/upstream_engine.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "base/http_client.h"
#include "inference/engines/upstream_endpoints.h"
#include "inference/engines/upstream_health.h"
#include "inference/engines/upstream_request.h"

namespace tollgate::inference {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr milliseconds kWait{2};     // A slice of waiting in a step: how late a new sequence or a clock that tests move may be seen.
constexpr milliseconds kTail{1000};  // For the end of an answer whose tokens have all come.
constexpr std::size_t kAffinityTokens = 256;
constexpr std::size_t kEndpointsMax = 64;
constexpr std::size_t kNone = SIZE_MAX;

struct Slot {
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> output;  // What was given out and stands.
  SamplingParams sampling;
  std::vector<LogitBias> logit_bias;
  std::vector<std::int32_t> banned;  // For the next token.
  std::string salt;
  std::uint64_t affinity = 0;
  int band = 0;
  std::int64_t prompt_left = 0;
  ReportedUsage reported;

  std::unique_ptr<UpstreamRequest> request;  // Under way, or over and not used up.
  std::int64_t transfer = 0;
  std::size_t endpoint = kNone;  // Of the request, until its outcome is known.
  bool trying = false;           // The request tries an endpoint whose circuit is open.
  std::vector<std::size_t> tried;
  base::MonoTime progress_at;  // When its last token came, or it began.
  std::int64_t seen = 0;       // Tokens that had come by then.
};

std::uint64_t Affinity(std::string_view salt, std::span<const std::int32_t> prompt) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a.
  for (const char c : salt) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  for (const std::int32_t token : prompt.first(std::min(prompt.size(), kAffinityTokens)))
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x100000001B3ULL;
  return hash;
}

absl::Status CheckOptions(const UpstreamOptions& upstream) {
  if (upstream.endpoints.empty() || upstream.endpoints.size() > kEndpointsMax)
    return base::InvalidArgument(
        fmt::format("upstream.endpoints has {} entries; 1 to {} are needed", upstream.endpoints.size(), kEndpointsMax));
  for (const std::string& url : upstream.endpoints) {
    if ((!url.starts_with("http://") && !url.starts_with("https://")) || url.find_first_of("@?# \t\r\n") != std::string::npos)
      return base::InvalidArgument("each of upstream.endpoints is http://HOST:PORT or https://HOST:PORT, with no name or password in it");
  }
  if (upstream.model.empty()) return base::InvalidArgument("upstream.model is empty; write what the endpoints call the model");
  if (upstream.certificate_file.empty() != upstream.key_file.empty())
    return base::InvalidArgument("upstream.certificate_file and upstream.key_file go together; set both or none");
  if (upstream.bearer.find_first_of("\r\n") != std::string::npos) return base::InvalidArgument("the bearer secret has more than one line");
  return absl::OkStatus();
}

std::string_view Name(UpstreamKind kind) {
  switch (kind) {
    case UpstreamKind::kVllm: return "vllm";
    case UpstreamKind::kSglang: return "sglang";
    case UpstreamKind::kTensorRtLlm: return "tensorrt_llm";
    case UpstreamKind::kLlamaServer: return "llama_server";
  }
  return "unknown";
}

class UpstreamEngine final : public Engine {
 public:
  UpstreamEngine(const ModelOptions& model, std::unique_ptr<Tokenizer> tokenizer, std::unique_ptr<base::HttpClient> http,
                 const base::Clock& clock)
      : options_(model.upstream),
        clock_(clock),
        tokenizer_(std::move(tokenizer)),
        endpoints_(options_.endpoints.size()),
        slots_(static_cast<std::size_t>(model.slots)),
        health_(model.name, options_.endpoints.size(), options_.health_interval),
        http_(std::move(http)) {
    if (options_.salt_key.empty()) options_.salt_key = base::RandomBytes(32);
    for (std::string& url : options_.endpoints) {
      while (url.ends_with('/')) url.pop_back();
    }
    while (end_token_ + 1 < tokenizer_->tokens() && !tokenizer_->EndsTurn(end_token_)) ++end_token_;
    headers_ = {"content-type: application/json"};
    if (!options_.bearer.empty()) headers_.push_back("authorization: Bearer " + options_.bearer);
    Describe(model);
  }

  ~UpstreamEngine() override {
    for (std::size_t i = 0; i < slots_.size(); ++i) Close(static_cast<int>(i));
  }

  const ModelInfo& Info() const override { return info_; }
  std::int64_t step_tokens_max() const override { return 1 << 20; }
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const Turn> turns) const override { return tokenizer_->Render(turns); }
  absl::StatusOr<std::vector<std::int32_t>> Tokenize(std::string_view text) const override { return tokenizer_->Tokenize(text); }
  absl::StatusOr<std::vector<std::int32_t>> RenderParts(std::span<const PromptPart> parts) const override {
    return tokenizer_->RenderParts(parts);
  }

  absl::StatusOr<EngineOpened> Open(int index, const EngineSequence& sequence) override {
    const auto prompt = sequence.prompt_tokens;
    const auto& tenant = sequence.tenant.value.raw();
    Slot& slot = slots_[index].emplace();
    slot.prompt.assign(prompt.begin(), prompt.end());
    slot.sampling = sequence.sampling;
    slot.logit_bias.assign(sequence.logit_bias.begin(), sequence.logit_bias.end());
    slot.salt = CacheSalt(options_.salt_key, std::string_view(reinterpret_cast<const char*>(tenant.data()), tenant.size()));
    slot.affinity = Affinity(slot.salt, prompt);
    slot.band = sequence.band;
    slot.reported.worked = false;
    slot.prompt_left = static_cast<std::int64_t>(prompt.size());
    return EngineOpened{};
  }

  absl::Status Step(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs) override {
    given_.clear();
    bool progress = false;
    for (const EngineWork& item : work) {
      slots_[item.slot]->prompt_left -= item.prompt_tokens;
      progress = progress || item.prompt_tokens > 0;
    }
    Turn(work, outputs, milliseconds(0));
    if (outputs.empty() && !progress) Turn(work, outputs, kWait);
    return interrupted_.load(std::memory_order_acquire) ? base::Unavailable("the engine is shutting down") : absl::OkStatus();
  }

  absl::Status Rewind(int index, std::int64_t output_tokens, std::span<const std::int32_t> banned) override {
    Slot& slot = *slots_[index];
    Drop(slot);
    slot.output.resize(static_cast<std::size_t>(output_tokens));
    slot.banned.assign(banned.begin(), banned.end());
    return absl::OkStatus();
  }

  void Close(int index) override {
    if (slots_[index]) Drop(*slots_[index]);
    slots_[index].reset();
  }

  microseconds Idle() override {
    Move(milliseconds(0));
    if (http_->transfers() > 0) return milliseconds(10);
    return std::chrono::seconds(1);
  }

  UpstreamStats upstream_stats() const override {
    UpstreamStats stats = stats_;
    stats.endpoints = static_cast<int>(options_.endpoints.size());
    stats.usable = endpoints_.usable(clock_.Mono());
    return stats;
  }

  ReportedUsage Reported(int index) const override { return slots_[index] ? slots_[index]->reported : ReportedUsage(); }

  void Interrupt() override {
    interrupted_.store(true, std::memory_order_release);
    http_->Wake();
  }

 private:
  void Describe(const ModelOptions& model) {
    info_.name = model.name;
    info_.engine = "openai";
    info_.resumes = false;
    info_.licence = model.licence;
    info_.context_tokens = model.context_tokens;
    info_.slots = model.slots;
    info_.sha256 = tokenizer_->digest();
    info_.architecture = tokenizer_->architecture();
    info_.chat_template = tokenizer_->format();
    tokenizer_->Describe(info_);
    info_.vocab_tokens = tokenizer_->tokens();
    info_.engine_build = fmt::format("openai 1, {} {}", Name(options_.kind), options_.model);
  }

  void Turn(std::span<const EngineWork> work, std::vector<EngineOutput>& outputs, milliseconds wait) {
    for (const EngineWork& item : work) {
      Slot& slot = *slots_[item.slot];
      if (slot.prompt_left == 0 && slot.request == nullptr) Begin(item, slot, outputs);
    }
    Move(outputs.empty() ? wait : milliseconds(0));
    for (auto& slot : slots_) {
      if (slot) Watch(*slot);
    }
    for (const EngineWork& item : work) Give(item, *slots_[item.slot], outputs);
  }

  void Move(milliseconds wait) {
    health_.Tend(*http_, options_.endpoints, headers_, clock_.Mono());
    http_->Run(wait);
    health_.Hear(options_.endpoints, endpoints_);
  }

  // Sends the slot's request to an endpoint that was not tried for it; where there is none, the slot fails.
  void Begin(const EngineWork& item, Slot& slot, std::vector<EngineOutput>& outputs) {
    const base::MonoTime now = clock_.Mono();
    const auto endpoint = endpoints_.Choose(slot.affinity, now, slot.tried);
    if (!endpoint) {
      base::ErrorDetail detail;
      detail.reason = "UPSTREAM_UNAVAILABLE";
      detail.retry_after_ms = endpoints_.RetryIn(now).count();
      Fail(item.slot, outputs,
           base::WithDetail(base::Unavailable(fmt::format("none of the {} servers of model {} can take the request; try again in {} ms",
                                                          options_.endpoints.size(), info_.name, *detail.retry_after_ms)),
                            detail));
      return;
    }
    const auto standing = static_cast<std::int64_t>(slot.output.size());
    if (standing >= item.output_max) return;
    const std::int64_t wanted = slot.banned.empty() ? item.output_max - standing : 1;
    Send(slot, *endpoint, wanted);
  }

  void Send(Slot& slot, std::size_t endpoint, std::int64_t max_tokens) {
    std::vector<std::int32_t> prompt = slot.prompt;
    prompt.insert(prompt.end(), slot.output.begin(), slot.output.end());
    const UpstreamAsk ask{.prompt = prompt,
                          .max_tokens = max_tokens,
                          .sampling = slot.sampling,
                          .logit_bias = slot.logit_bias,
                          .banned = slot.banned,
                          .cache_salt = slot.salt,
                          .priority = slot.band};
    slot.request = std::make_unique<UpstreamRequest>(*tokenizer_, static_cast<std::int64_t>(prompt.size()), max_tokens, end_token_);
    base::HttpRequest http;
    http.url = options_.endpoints[endpoint] + "/v1/completions";
    http.headers = headers_;
    http.post = true;
    http.body = UpstreamBody(options_, ask);
    slot.transfer = http_->Start(std::move(http), *slot.request);
    slot.endpoint = endpoint;
    slot.tried.push_back(endpoint);
    slot.progress_at = clock_.Mono();
    slot.seen = 0;
    slot.trying = endpoints_.Began(endpoint, slot.progress_at);
  }

  // Notes progress, gives up what stalls, and tells the endpoints how a request ended.
  void Watch(Slot& slot) {
    if (slot.request == nullptr || slot.endpoint == kNone) return;
    const base::MonoTime now = clock_.Mono();
    if (slot.request->given() > std::exchange(slot.seen, slot.request->given())) {
      slot.progress_at = now;
      slot.reported.worked = true;
    }
    if (!slot.request->over()) {
      const bool begun = slot.request->given() > 0;
      if (now - slot.progress_at < (begun ? options_.stall_timeout : options_.first_token_timeout)) return;
      http_->Cancel(slot.transfer);
      slot.request->Fail(
          base::Unavailable(begun ? "the upstream stopped in the middle of its answer" : "the upstream did not begin its answer"));
    }
    Judge(slot, now);
  }

  void Judge(Slot& slot, base::MonoTime now) {
    const UpstreamRequest& request = *slot.request;
    using Outcome = UpstreamEndpoints::Outcome;
    const Outcome outcome = request.endpoint_failed() ? Outcome::kFailed : request.status().ok() ? Outcome::kGood : Outcome::kNeither;
    const std::size_t endpoint = std::exchange(slot.endpoint, kNone);
    endpoints_.Ended(endpoint, outcome, now, slot.trying);
    if (!request.status().ok()) {
      ++stats_.failures;
      base::Warn("inference", "model {}: {}: {}", info_.name, options_.endpoints[endpoint], base::Message(request.status()));
    }
    if (request.reported_input()) slot.reported.input_tokens = *request.reported_input();
    if (request.reported_output()) slot.reported.output_tokens = std::max(slot.reported.output_tokens, 0LL) + *request.reported_output();
    if (!request.usage_differs()) return;
    if (!std::exchange(slot.reported.differs, true)) ++stats_.usage_differences;
    if (const auto input = request.reported_input()) stats_.input_tokens_differing += std::abs(*input - request.prompt_tokens());
    if (const auto output = request.reported_output()) stats_.output_tokens_differing += std::abs(*output - request.given());
    base::Warn("inference", "model {}: {} reports {} input and {} output tokens; {} and {} were sent and came", info_.name,
               options_.endpoints[endpoint], request.reported_input().value_or(-1), request.reported_output().value_or(-1),
               request.prompt_tokens(), request.given());
  }

  void Give(const EngineWork& item, Slot& slot, std::vector<EngineOutput>& outputs) {
    if (slot.request == nullptr) return;
    UpstreamRequest& request = *slot.request;
    auto& tokens = request.tokens();
    while (!tokens.empty() && static_cast<std::int64_t>(slot.output.size()) < item.output_max) {
      const bool last = tokens.front().ends || (tokens.size() == 1 && request.all_given());
      if (last && !request.over() && clock_.Mono() - slot.progress_at < kTail) return;
      UpstreamToken token = std::move(tokens.front());
      tokens.pop_front();
      slot.output.push_back(token.id);
      slot.banned.clear();
      EngineOutput& output = outputs.emplace_back();
      output.slot = item.slot;
      output.token = token.id;
      output.bytes = given_.emplace_back(std::move(token.bytes));
      output.ends = token.ends;
    }
    if (request.over() && tokens.empty()) Conclude(item, slot, outputs);
  }

  // The answer is over and its tokens are given out: go on, try again, or fail.
  void Conclude(const EngineWork& item, Slot& slot, std::vector<EngineOutput>& outputs) {
    const std::unique_ptr<UpstreamRequest> request = std::move(slot.request);
    if (request->status().ok()) {
      slot.tried.clear();
      if (request->stopped()) {
        outputs.emplace_back().slot = item.slot;
        outputs.back().ends = true;
      } else if (request->given() == 0) {
        Fail(item.slot, outputs, base::Unavailable("the upstream ended its answer without a token"));
      }
      return;  // Otherwise the next step goes on, if more is allowed.
    }
    const bool may_retry = request->given() == 0 && request->may_retry() && static_cast<int>(slot.tried.size()) <= options_.retries_max &&
                           endpoints_.Choose(slot.affinity, clock_.Mono(), slot.tried).has_value();
    if (may_retry) {
      ++stats_.retries;
      return;  // The next step begins again, elsewhere.
    }
    Fail(item.slot, outputs, request->status());
  }

  void Fail(int slot, std::vector<EngineOutput>& outputs, const absl::Status& status) {
    EngineOutput& output = outputs.emplace_back();
    output.slot = slot;
    output.status = status;
  }

  // Forgets the slot's request; its connection is closed, by which upstreams know that nobody waits.
  void Drop(Slot& slot) {
    if (slot.request != nullptr) http_->Cancel(slot.transfer);
    if (slot.endpoint != kNone)
      endpoints_.Ended(std::exchange(slot.endpoint, kNone), UpstreamEndpoints::Outcome::kNeither, clock_.Mono(), slot.trying);
    slot.request.reset();
    slot.tried.clear();
  }

  UpstreamOptions options_;
  std::vector<std::string> headers_;
  const base::Clock& clock_;
  ModelInfo info_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::int32_t end_token_ = 0;
  std::atomic<bool> interrupted_{false};

  // Replica's thread only.
  UpstreamEndpoints endpoints_;
  std::vector<std::optional<Slot>> slots_;
  UpstreamHealth health_;
  UpstreamStats stats_;
  std::deque<std::string> given_;  // Of this step's outputs.
  std::unique_ptr<base::HttpClient> http_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> MakeUpstreamEngine(const ModelOptions& model, std::unique_ptr<Tokenizer> tokenizer,
                                                           const base::Clock& clock) {
  TG_RETURN_IF_ERROR(CheckOptions(model.upstream));
  TG_ASSIGN(auto http, base::HttpClient::Create({.ca_file = model.upstream.ca_file,
                                                 .certificate_file = model.upstream.certificate_file,
                                                 .key_file = model.upstream.key_file,
                                                 .connect_timeout = model.upstream.connect_timeout}));
  return std::make_unique<UpstreamEngine>(model, std::move(tokenizer), std::move(http), clock);
}

}  // namespace tollgate::inference
