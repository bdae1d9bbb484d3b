// UpstreamFleet: the servers that run a model, and requests to them: which endpoint takes one, whether another may, what operators are
// told, and what is counted. Knows nothing of what is asked and answered. One thread, but for Wake.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/http_client.h"
#include "base/uuid.h"
#include "inference/engines/upstream_endpoints.h"
#include "inference/engines/upstream_health.h"
#include "inference/pool.h"

namespace tollgate::inference {

// A request on its way, and where it was tried before.
struct UpstreamCall {
  static constexpr std::size_t kNone = SIZE_MAX;
  std::int64_t transfer = 0;
  std::size_t endpoint = kNone;    // Until its end was told.
  UpstreamEndpoints::Begun begun;  // As the endpoints gave it.
  bool answered = false;           // Its answer has begun.
  bool form = false;               // It is held to one.
  std::vector<std::size_t> tried;  // Endpoints, the last one too.
  bool under_way() const { return endpoint != kNone; }
};

// What an endpoint says that a request cost, and what was sent and came.
struct UpstreamUsage {
  std::optional<std::int64_t> reported_input, reported_output;
  std::int64_t sent = 0;
  std::int64_t given = 0;
  bool whole = true;     // The answer came to its end.
  bool differs = false;  // Whatever the counts are: they are none, or more came than was asked for.
};

class UpstreamFleet {
 public:
  // INVALID_ARGUMENT or FAILED_PRECONDITION: what is wrong with model.upstream. Nobody is asked for anything yet.
  static absl::StatusOr<std::unique_ptr<UpstreamFleet>> Create(const ModelOptions& model, const base::Clock& clock);

  const UpstreamOptions& options() const { return options_; }
  std::string Build() const;                                                                   // "openai 1, vllm NAME".
  std::string SaltOf(const base::TeamId& tenant) const;                                        // As CacheSalt.
  static std::uint64_t Affinity(std::string_view salt, std::span<const std::int32_t> prompt);  // As of UpstreamEndpoints::Choose.

  // Posts `body` to an endpoint that the call was not tried on. UNAVAILABLE, with UPSTREAM_UNAVAILABLE and a hint: there is none. `sink`
  // lives until its OnEnd, Cancel or Drop.
  absl::Status Send(UpstreamCall& call, std::uint64_t affinity, std::string_view path, std::string body, base::HttpSink& sink);
  void Cancel(const UpstreamCall& call) { http_->Cancel(call.transfer); }  // Its sink hears no more; Ended is to follow.

  void Answers(UpstreamCall& call);                                                         // Something of its answer has come.
  void GotOn(const UpstreamCall& call) { endpoints_.GotOn(call.endpoint, clock_.Mono()); }  // More of it has.
  // Whether its endpoint got on with others since: then it is not what is broken.
  bool OthersGotOn(const UpstreamCall& call, base::MonoTime since) const { return endpoints_.GotOnSince(call.endpoint, since); }
  // Tells how a call that is under way ended, and how long its endpoint asks to be left alone; `failure`: whether it was the endpoint's.
  // Which endpoint it was at.
  enum class Failure { kNone, kEndpoints, kSilence };
  std::size_t Ended(UpstreamCall& call, const absl::Status& status, Failure failure, std::chrono::milliseconds rest);
  // After Ended: whether there is an endpoint for another attempt; it is counted, and Send may follow.
  bool TryAgain(const UpstreamCall& call, std::uint64_t affinity);
  // Ends a call, wherever it is: its connection is closed, by which servers know that nobody waits. If it was answered, its endpoint works.
  void Drop(UpstreamCall& call);

  // Adds what an answer reports to `reported`, and flags a difference there, in the counts and by a line of diagnostics.
  void Compare(std::size_t endpoint, const UpstreamUsage& usage, ReportedUsage& reported);

  void Move(std::chrono::milliseconds wait);  // Transfers and probes, as far as they go.
  int transfers() const { return http_->transfers(); }
  void Wake() { http_->Wake(); }  // Any thread: ends a wait.
  UpstreamStats stats() const;

 private:
  UpstreamFleet(const ModelOptions& model, std::unique_ptr<base::HttpClient> http, const base::Clock& clock);

  UpstreamOptions options_;
  const std::string model_;
  std::vector<std::string> headers_;
  const base::Clock& clock_;
  UpstreamEndpoints endpoints_;
  UpstreamHealth health_;
  UpstreamStats stats_;
  std::string problem_;  // What failed last; empty once something worked.
  std::unique_ptr<base::HttpClient> http_;
};

}  // namespace tollgate::inference
