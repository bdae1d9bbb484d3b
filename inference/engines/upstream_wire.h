// What is said to an upstream and what it answers, as text: the body of a completion request, and the events of its answer. Pure.
//
// The interface is OpenAI's /v1/completions with token ids as the prompt. Beside it, by kind: vLLM takes `cache_salt`, `priority` and
// `return_token_ids`, SGLang the first two; grammars have a name of their own with each; llama-server has no salt, so its cache is off;
// TensorRT-LLM refuses what it does not know.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/types.h"
#include "inference/upstream.h"

namespace tollgate::inference {

struct UpstreamAsk {
  std::span<const std::int32_t> prompt;  // With the output so far, when an answer is continued.
  std::int64_t max_tokens = 0;
  SamplingParams sampling;
  std::span<const LogitBias> logit_bias;
  std::span<const std::int32_t> banned;  // Tokens that must not come.
  std::string_view grammar;              // GBNF. REQUIRES: empty, or TakesGrammars.
  std::span<const std::string> shown;    // Control tokens whose text shall come, by ShowsControls.
  std::string cache_salt;
  int priority = 0;
};

// By its documentation; whether a version does shows in its answers alone: some ignore what they do not know.
constexpr bool TakesGrammars(UpstreamKind kind) { return kind != UpstreamKind::kTensorRtLlm; }

// Whether control tokens that an answer is read by can be seen in it: by their ids, or because the text of those that are named comes.
constexpr bool ShowsControls(UpstreamKind kind) { return kind == UpstreamKind::kVllm || kind == UpstreamKind::kLlamaServer; }

// An event of an answer to a prompt of so many tokens may have so many bytes: vLLM, asked for the ids of what it says, repeats the prompt's
// in its first.
std::size_t UpstreamEventBytesMax(UpstreamKind kind, std::size_t prompt_tokens);

// Parts of a body: "1,2,3"; and the salt and priority, with a comma before, for those that take them.
void AppendUpstreamTokens(std::span<const std::int32_t> tokens, std::string& body);
void AppendUpstreamSalt(const UpstreamOptions& options, std::string_view salt, int priority, std::string& body);

std::string UpstreamBody(const UpstreamOptions& options, const UpstreamAsk& ask);

constexpr std::int64_t kUpstreamCountMax = 1LL << 40;  // More tokens are nonsense, and sums of less do not overflow.

// One event of an answer.
struct UpstreamEvent {
  bool done = false;  // "[DONE]": nothing comes after it.
  std::string text;
  std::vector<std::int32_t> tokens;          // Of the text, where the upstream names them.
  std::string finish;                        // "stop", "length"; empty: there is more.
  std::optional<std::int64_t> input_tokens;  // Usage, where the event has it.
  std::optional<std::int64_t> output_tokens;
  std::optional<int> error;   // There will be no more: why, as of RefusalWithin.
  bool absurd_usage = false;  // It has counts that cannot be; they are given as the nearest that can, 0 or kUpstreamCountMax.
};

// UNAVAILABLE: the event is an error that does not say what kind of, or not what an upstream says; the message has nothing of its content.
absl::StatusOr<UpstreamEvent> ReadUpstreamEvent(std::string_view data);

// The tenant's cache salt: 43 characters that tell neither the tenant nor anything to who has no key.
std::string CacheSalt(std::string_view key, std::string_view tenant);

}  // namespace tollgate::inference
