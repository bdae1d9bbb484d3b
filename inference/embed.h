// What a model that embeds or reranks is asked (ModelInfo::pooling). Its inputs run through the same queue, in the same fairness, as the
// sequences of one that chats, on a thread, in a context and in steps of its own: a job holds a slot, a step works on whole inputs of one
// tenant, as many as fit into the model's step_target, and the tenant whose inputs had the fewest tokens worked through comes next. No
// vector depends on another tenant's inputs, which never share a step with its own.
//
//   EmbedTokens  the exact tokens of an input, with those that the model was trained to see around it. INVALID_ARGUMENT: no UTF-8. The
//                tokens of a query, which all documents share, come from Pool::Tokenize: once, however many the documents.
//   TextOf       the text that tokens hold, without the tokens around it. INVALID_ARGUMENT: a number that is no token, a control token
//                within the text, or bytes that are no UTF-8.
//   Embed        queues a job. INVALID_ARGUMENT: an input is empty or does not fit the context (the message has the numbers), or there are
//                too many, or too many tokens in sum; RESOURCE_EXHAUSTED, UNAVAILABLE as Submit. The stream gives kEnd alone: with kStop,
//                its StreamEnd::vectors are those of all inputs, one after the other, each ModelInfo::dimensions long and of length 1;
//                where the model reranks, one number an input, 0 to 1.
// All three: NOT_FOUND: no such model. FAILED_PRECONDITION: it chats.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/uuid.h"
#include "inference/types.h"

namespace tollgate::inference {

// A text to embed; where the model reranks, a document with the tokens of the query that it is judged by.
struct EmbedText {
  std::string_view text;
  std::span<const std::int32_t> query;
};

constexpr std::int64_t kEmbedJobInputsMax = 2048;
constexpr std::int64_t kEmbedJobTokensMax = 2 << 20;   // Of all inputs of a job; of a query, with each document again.
constexpr std::int64_t kEmbedJobNumbersMax = 4 << 20;  // Of all vectors of a job.

struct EmbedJob {
  std::string model;
  std::string fingerprint;                        // As SequenceRequest's.
  std::vector<std::vector<std::int32_t>> inputs;  // From EmbedTokens of the same model; each token is checked again.
  std::vector<std::string> texts;  // Of a model of engine openai that reranks, whose servers take text: the query and the documents.
  base::TeamId tenant;             // The unit of fairness and isolation.
  base::KeyId key;
  std::optional<base::MonoTime> deadline;  // Of the pool's clock.
  int band = kBandDefault;                 // As SequenceRequest's,
  double weight = 1;                       // as this.
};

}  // namespace tollgate::inference
