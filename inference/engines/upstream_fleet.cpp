// How it works. Endpoints are chosen by UpstreamEndpoints, probed by UpstreamHealth and spoken to by one HttpClient, which keeps their
// connections and replaces the ones that died unused. This puts the three together for whatever is asked.
//
// Tested by tests/inference/upstream_faults_test.cpp, tests/inference/upstream_embed_test.cpp.
#include "inference/engines/upstream_fleet.h"

#include <algorithm>
#include <cstdlib>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/diagnostics.h"
#include "base/error_detail.h"
#include "inference/engines/upstream_wire.h"

namespace tollgate::inference {

using std::chrono::milliseconds;

namespace {

constexpr std::size_t kAffinityTokens = 256;
constexpr std::size_t kEndpointsMax = 64;

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

}  // namespace

absl::StatusOr<std::unique_ptr<UpstreamFleet>> UpstreamFleet::Create(const ModelOptions& model, const base::Clock& clock) {
  TG_RETURN_IF_ERROR(CheckOptions(model.upstream));
  TG_ASSIGN(auto http, base::HttpClient::Create({.ca_file = model.upstream.ca_file,
                                                 .certificate_file = model.upstream.certificate_file,
                                                 .key_file = model.upstream.key_file,
                                                 .connect_timeout = model.upstream.connect_timeout}));
  return std::unique_ptr<UpstreamFleet>(new UpstreamFleet(model, std::move(http), clock));
}

UpstreamFleet::UpstreamFleet(const ModelOptions& model, std::unique_ptr<base::HttpClient> http, const base::Clock& clock)
    : options_(model.upstream),
      model_(model.name),
      clock_(clock),
      endpoints_(options_.endpoints.size()),
      health_(model.name, options_.endpoints.size(), options_.health_interval),
      http_(std::move(http)) {
  if (options_.salt_key.empty()) options_.salt_key = base::RandomBytes(32);
  for (std::string& url : options_.endpoints) {
    while (url.ends_with('/')) url.pop_back();
  }
  headers_ = {"content-type: application/json"};
  if (!options_.bearer.empty()) headers_.push_back("authorization: Bearer " + options_.bearer);
}

std::string UpstreamFleet::Build() const { return fmt::format("openai 1, {} {}", Name(options_.kind), options_.model); }

std::string UpstreamFleet::SaltOf(const base::TeamId& tenant) const {
  const auto& raw = tenant.value.raw();
  return CacheSalt(options_.salt_key, std::string_view(reinterpret_cast<const char*>(raw.data()), raw.size()));
}

std::uint64_t UpstreamFleet::Affinity(std::string_view salt, std::span<const std::int32_t> prompt) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a.
  for (const char c : salt) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  for (const std::int32_t token : prompt.first(std::min(prompt.size(), kAffinityTokens)))
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x100000001B3ULL;
  return hash;
}

absl::Status UpstreamFleet::Send(UpstreamCall& call, std::uint64_t affinity, std::string_view path, std::string body,
                                 base::HttpSink& sink) {
  const base::MonoTime now = clock_.Mono();
  const auto endpoint = endpoints_.Choose(affinity, now, call.tried, call.form);
  if (!endpoint) {
    base::ErrorDetail detail;
    detail.reason = "UPSTREAM_UNAVAILABLE";
    detail.retry_after_ms = endpoints_.RetryIn(now).count();
    return base::WithDetail(base::Unavailable(fmt::format("none of the {} servers of model {} can take the request{}; try again in {} ms",
                                                          options_.endpoints.size(), model_,
                                                          problem_.empty() ? "" : fmt::format(" ({})", problem_), *detail.retry_after_ms)),
                            detail);
  }
  base::HttpRequest http;
  http.url = options_.endpoints[*endpoint];
  http.url += path;
  http.headers = headers_;
  http.post = true;
  http.body = std::move(body);
  call.transfer = http_->Start(std::move(http), sink);
  call.endpoint = *endpoint;
  call.tried.push_back(*endpoint);
  call.begun = endpoints_.Began(*endpoint, now, call.form);
  call.answered = false;
  return absl::OkStatus();
}

void UpstreamFleet::Answers(UpstreamCall& call) {
  if (std::exchange(call.answered, true) || !std::exchange(call.begun.trying, false)) return;
  endpoints_.Answers(call.endpoint);
  problem_.clear();
}

std::size_t UpstreamFleet::Ended(UpstreamCall& call, const absl::Status& status, Failure failure, milliseconds rest) {
  using Outcome = UpstreamEndpoints::Outcome;
  Outcome outcome = status.ok() ? Outcome::kGood : Outcome::kNeither;
  if (failure == Failure::kEndpoints) outcome = Outcome::kFailed;
  if (failure == Failure::kSilence) outcome = Outcome::kSilent;
  if (outcome == Outcome::kGood) GotOn(call);
  const std::size_t endpoint = std::exchange(call.endpoint, UpstreamCall::kNone);
  endpoints_.Ended(endpoint, outcome, clock_.Mono(), call.begun);
  if (status.ok()) problem_.clear();
  if (!status.ok()) {
    if (rest.count() > 0) endpoints_.Rest(endpoint, rest, clock_.Mono());
    problem_ = base::Message(status);
    ++stats_.failures;
    base::Warn("inference", "model {}: {}: {}", model_, options_.endpoints[endpoint], base::Message(status));
  }
  return endpoint;
}

bool UpstreamFleet::TryAgain(const UpstreamCall& call, std::uint64_t affinity) {
  if (static_cast<int>(call.tried.size()) > options_.retries_max) return false;
  if (!endpoints_.Choose(affinity, clock_.Mono(), call.tried, call.form)) return false;
  ++stats_.retries;
  return true;
}

void UpstreamFleet::Drop(UpstreamCall& call) {
  http_->Cancel(call.transfer);
  if (call.under_way()) {
    using Outcome = UpstreamEndpoints::Outcome;
    endpoints_.Ended(std::exchange(call.endpoint, UpstreamCall::kNone), call.answered ? Outcome::kGood : Outcome::kNeither, clock_.Mono(),
                     call.begun);
  }
  call.tried.clear();
}

void UpstreamFleet::Compare(std::size_t endpoint, const UpstreamUsage& usage, ReportedUsage& reported) {
  const bool silent = !usage.reported_input && !usage.reported_output;
  if (usage.whole) ++reported.answers;
  if (usage.whole && silent) ++reported.silent, ++stats_.usage_missing;
  bool differs = usage.differs;
  const auto add = [&differs](const std::optional<std::int64_t>& theirs, std::int64_t ours, long long& sum, long long& our_sum,
                              long long& apart) {
    if (!theirs) return;
    sum = std::max(sum, 0LL) + *theirs;
    our_sum += ours;
    apart += std::abs(*theirs - ours);
    differs = differs || *theirs != ours;
  };
  add(usage.reported_input, usage.sent, reported.input_tokens, reported.sent_tokens, stats_.input_tokens_differing);
  add(usage.reported_output, usage.given, reported.output_tokens, reported.came_tokens, stats_.output_tokens_differing);
  if (!differs) return;
  if (!std::exchange(reported.differs, true)) ++stats_.usage_differences;
  base::Warn("inference", "model {}: {} reports {} input and {} output tokens; {} and {} were sent and came", model_,
             options_.endpoints[endpoint], usage.reported_input.value_or(-1), usage.reported_output.value_or(-1), usage.sent, usage.given);
}

void UpstreamFleet::Move(milliseconds wait) {
  health_.Tend(*http_, options_.endpoints, headers_, clock_.Mono());
  http_->Run(wait);
  health_.Hear(options_.endpoints, endpoints_, problem_);
}

UpstreamStats UpstreamFleet::stats() const {
  UpstreamStats stats = stats_;
  stats.endpoints = static_cast<int>(options_.endpoints.size());
  stats.usable = endpoints_.usable(clock_.Mono());
  return stats;
}

}  // namespace tollgate::inference
