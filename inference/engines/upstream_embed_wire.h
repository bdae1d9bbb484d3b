// What is said to a server that embeds or reranks, and what it answers, as text. Pure.
//
// Embeddings are OpenAI's /v1/embeddings with token ids as the inputs; ranks are /v1/rerank of vLLM and llama-server, which takes text
// alone. What is this project's own to say (salt, priority) is as in upstream_wire.h. Nothing that a server answers is believed: counts,
// places and numbers are checked, and no message repeats its words.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/upstream.h"

namespace tollgate::inference {

struct UpstreamEmbedAsk {
  std::span<const std::span<const std::int32_t>> inputs;  // Where it embeds;
  std::string_view query;                                 // where it reranks, these.
  std::span<const std::string> documents;
  std::string cache_salt;
  int priority = 0;
};

std::string UpstreamEmbedBody(const UpstreamOptions& options, const UpstreamEmbedAsk& ask);
std::string UpstreamRerankBody(const UpstreamOptions& options, const UpstreamEmbedAsk& ask);

// More bytes than an answer may have that is what it should be.
std::size_t UpstreamVectorsBytesMax(std::size_t inputs, std::int64_t dimensions);
std::size_t UpstreamRanksBytesMax(const UpstreamEmbedAsk& ask);

struct UpstreamNumbers {
  std::vector<float> numbers;                // In the order of what was asked.
  std::optional<std::int64_t> input_tokens;  // Usage, where the answer has it.
};

// Vectors as numbers or as base64, each of length 1 afterwards. UNAVAILABLE: it is no answer to `inputs` inputs, each once, with
// `dimensions` finite numbers that point somewhere.
absl::StatusOr<UpstreamNumbers> ReadUpstreamVectors(std::string_view body, std::size_t inputs, std::int64_t dimensions);

// A score for each document, 0 to 1. `logits`: the server gives what the classifier gave. UNAVAILABLE: not one finite score for each of
// them, or a score that is no share where it should be one.
absl::StatusOr<UpstreamNumbers> ReadUpstreamRanks(std::string_view body, std::size_t documents, bool logits);

// The text with a space in each of `names` that it spells, behind its first code point: a server that looks for control tokens in text
// finds none.
std::string BreakNames(std::string_view text, std::span<const std::string> names);

}  // namespace tollgate::inference
