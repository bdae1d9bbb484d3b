// A chat request checked, and turned into what policy and the pool take. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/pool.h"
#include "inference/schema_part.h"
#include "policy/verdict.h"
#include "tollgate/v1/inference.pb.h"

namespace tollgate::pipeline {

struct PromptLimits {
  std::int64_t messages_max = 1024;
  std::int64_t prompt_bytes_max = 2 << 20;  // All texts and names together.
  std::int64_t logprobs_max = 100'000;      // Of a reply that is kept whole: its tokens and the alternatives beside them.
  std::int32_t choices_max = 8;             // Replies of one request.
};

// INVALID_ARGUMENT that says what is wrong with a field of the call.
absl::Status BadField(std::string_view param, std::string_view what, std::string_view reason = "INVALID_REQUEST");

// As BadField, naming the value and its bound; or OK. The id that a caller gives a request may come beside the call, where nothing has read
// it: a gRPC client's metadata may hold any bytes.
absl::Status CheckClientRequestId(std::string_view id, std::string_view param = "client_request_id");
absl::Status Validate(const tollgate::v1::ChatRequest& request, const PromptLimits& limits);
absl::Status Validate(const tollgate::v1::CountTokensRequest& request, const PromptLimits& limits);

// INVALID_ARGUMENT (MODEL_DOES_NOT_CHAT) of one that embeds or reranks.
absl::Status MustChat(const inference::ModelInfo& model);

// What depends on the model: INVALID_ARGUMENT as above, for tokens that it does not have and forms that it cannot be held to. Cheap: of
// schemas and grammars themselves tool_prompt.h's GrammarAsked says whether they can be.
absl::Status ValidateFor(const tollgate::v1::ChatRequest& request, const inference::ModelInfo& model);

// The most tokens of output: those that the request asks for, or all of `room`. Where a reply is kept whole, as many as logprobs_max
// allows: INVALID_ARGUMENT as above if the caller asks for more. `named`: they do, and max_tokens is not merely a default or a cap.
absl::StatusOr<std::int64_t> MaxOutputTokens(const tollgate::v1::ChatRequest& request, bool named, std::int64_t room, bool stream,
                                             const PromptLimits& limits);

// Bytes of text in all parts.
std::int64_t BytesOf(const google::protobuf::RepeatedPtrField<tollgate::v1::ChatMessage>& messages);

std::vector<policy::Message> ToPolicy(const google::protobuf::RepeatedPtrField<tollgate::v1::ChatMessage>& messages);
std::vector<inference::Turn> ToTurns(std::span<const policy::Message> messages);
void ToProto(std::span<const policy::Message> messages, google::protobuf::RepeatedPtrField<tollgate::v1::ChatMessage>* out);

// With every default filled in; `seed` is used where the request names none.
inference::SamplingParams ToSampling(const tollgate::v1::Sampling& sampling, std::uint64_t seed);

// Bias, log-probabilities and form of a request that ValidateFor let pass; `grammar`: tool_prompt.h's OutputGrammar.
void FillOutput(const tollgate::v1::ChatRequest& request, const inference::SchemaGrammar& grammar, inference::SequenceRequest& sequence);

}  // namespace tollgate::pipeline
