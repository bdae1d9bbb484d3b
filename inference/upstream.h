// Upstream: a fleet of servers that runs a model for the pool: vLLM, SGLang, TensorRT-LLM or llama-server, over HTTP. Plain values.
//
// Prompts are counted and laid out here, by the model's own vocabulary, and sent as token ids: what was counted, put on record and reserved
// is what the upstream runs, and what callers write cannot become a control token there either. Nothing that a client sent is passed on but
// its sampling parameters; the cache salt and the priority are the pool's own.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace tollgate::inference {

enum class UpstreamKind { kVllm, kSglang, kTensorRtLlm, kLlamaServer };

struct UpstreamOptions {
  UpstreamKind kind = UpstreamKind::kVllm;
  std::vector<std::string> endpoints;  // Base URLs, http:// or https://, 1 to 64: servers that run the same weights.
  std::string model;                   // What the endpoints call it.
  std::string bearer;                  // Secret that goes with each request; empty = none.
  std::string ca_file;                 // PEM; empty = the system's authorities.
  std::string certificate_file;        // PEM, ours, where the endpoints ask for one; with its key.
  std::string key_file;
  std::string salt_key;   // Secret that each tenant's cache salt is made with. Empty: a new one for each process.
  bool priority = false;  // The endpoints order requests by priority: the pool's band is sent.
  std::chrono::milliseconds connect_timeout{2000};
  std::chrono::milliseconds first_token_timeout{60'000};  // Then another endpoint is tried; for the whole of an answer that has no tokens.
  std::chrono::milliseconds stall_timeout{30'000};        // Between tokens; then the sequence ends.
  std::chrono::milliseconds health_interval{2000};        // Each endpoint is asked for /health so often; 0 = never.
  int retries_max = 2;                                    // Other attempts, before the first token alone.
};

// Of a fleet, for measurements. Counts are since the start.
struct UpstreamStats {
  int endpoints = 0;  // 0: the engine has none.
  int usable = 0;     // Healthy, and their circuit is not open.
  long long retries = 0;
  long long failures = 0;                 // Requests that an endpoint failed on, those that were tried again included.
  long long usage_differences = 0;        // Sequences whose tokens an endpoint counted otherwise than we did;
  long long input_tokens_differing = 0;   // and by how much in sum, whichever way,
  long long output_tokens_differing = 0;  // for requests that reported it.
  long long usage_missing = 0;            // Answers that came whole without a count.
};

// What an upstream says that a sequence cost, beside our own count of the same answers. What is billed is the stream's own count.
struct ReportedUsage {
  long long input_tokens = -1;  // Of all its answers that have such a count; -1: none has.
  long long output_tokens = -1;
  long long sent_tokens = 0;  // Our own count of those answers' prompts,
  long long came_tokens = 0;  // and of what came.
  int answers = 0;            // That came whole;
  int silent = 0;             // of those, without a count.
  bool differs = false;       // One of them: from what we sent and counted, or it gave more than it was asked for.
  bool worked = true;         // Whether the prompt was worked through, as far as can be known: a token came. If not, it is not billed.
};

}  // namespace tollgate::inference
