// The load generator: chat requests over gRPC or HTTP, in a closed loop of so many clients, or at a steady rate (open loop: a request's
// latency counts from when it was due, so that a slow server cannot hide its queue).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tollgate::bench {

struct Traffic {
  bool grpc = false;
  bool stream = false;
  int port = 0;
  std::string key;
  std::string model = "scripted";
  std::vector<std::string> prompts;  // Taken in turn.
  std::int64_t max_tokens = 0;
  bool greedy = false;  // gRPC only.
};

struct Plan {
  int clients = 64;  // Closed loop: requests under way. Open loop: at most so many.
  double seconds = 1;
  double rate_per_s = 0;          // 0: closed loop.
  std::int64_t requests_max = 0;  // 0: until the time is up.
};

struct Outcome {
  double per_s = 0;              // Requests answered well.
  std::vector<double> ms;        // Each one's latency, sorted.
  std::vector<double> first_ms;  // Streams: to the first text, sorted.
  std::int64_t requests = 0;
  std::int64_t messages = 0;  // Replies, or pieces of streams.
  // Where the answer says so (gRPC): output tokens, prompt tokens, and those of them that were found cached.
  std::int64_t tokens = 0, prompt_tokens = 0, cached_tokens = 0;
  std::int64_t failed = 0;
  std::string first_error;
};

// Returns when every request has its answer.
Outcome RunLoad(const Traffic& traffic, const Plan& plan);

namespace detail {
Outcome RunGrpc(const Traffic& traffic, const Plan& plan);
Outcome RunHttp(const Traffic& traffic, const Plan& plan);
void Finish(Outcome& outcome, double seconds);  // Sorts, counts, rates.
}  // namespace detail

}  // namespace tollgate::bench
