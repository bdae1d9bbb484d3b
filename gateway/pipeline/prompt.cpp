// Everything a caller can get wrong in a request's fields is refused here, by name and with the bound, before anything is counted or kept.
// Tested by tests/gateway/pipeline/prompt_test.cpp.
#include "gateway/pipeline/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/pipeline/strict.h"
#include "gateway/pipeline/tool_prompt.h"
#include "inference/grammar.h"

namespace tollgate::pipeline {
namespace {

namespace v1 = tollgate::v1;

// The pool's own bounds, and OpenAI's.
constexpr int kBiasesMax = 1024;
constexpr int kTopLogprobsMax = 20;

absl::Status CheckText(std::string_view param, std::string_view text, std::size_t bytes_max) {
  if (text.size() > bytes_max) return BadField(param, fmt::format("is {} bytes long; at most {} are allowed", text.size(), bytes_max));
  if (!base::IsValidUtf8(text)) return BadField(param, "is not valid UTF-8");
  return absl::OkStatus();
}

absl::Status CheckNumber(std::string_view param, bool present, double value, double least, double most, bool least_excluded) {
  if (!present) return absl::OkStatus();
  const bool low = least_excluded ? !(value > least) : !(value >= least);
  if (std::isnan(value) || low || !(value <= most))
    return BadField(param, fmt::format("must be {} {} and at most {}", least_excluded ? "greater than" : "at least", least, most));
  return absl::OkStatus();
}

absl::Status CheckSampling(const v1::Sampling& s) {
  TG_RETURN_IF_ERROR(CheckNumber("temperature", s.has_temperature(), s.temperature(), 0, 2, false));
  TG_RETURN_IF_ERROR(CheckNumber("top_p", s.has_top_p(), s.top_p(), 0, 1, true));
  TG_RETURN_IF_ERROR(CheckNumber("top_k", s.has_top_k(), s.top_k(), 0, 1'000'000, false));
  TG_RETURN_IF_ERROR(CheckNumber("min_p", s.has_min_p(), s.min_p(), 0, 1, false));
  TG_RETURN_IF_ERROR(CheckNumber("presence_penalty", s.has_presence_penalty(), s.presence_penalty(), -2, 2, false));
  TG_RETURN_IF_ERROR(CheckNumber("frequency_penalty", s.has_frequency_penalty(), s.frequency_penalty(), -2, 2, false));
  return CheckNumber("repeat_penalty", s.has_repeat_penalty(), s.repeat_penalty(), 0.01, 2, false);
}

absl::Status CheckOutput(const v1::ChatRequest& request) {
  if (request.logit_bias_size() > kBiasesMax)
    return BadField("logit_bias", fmt::format("holds {} tokens; at most {} are allowed", request.logit_bias_size(), kBiasesMax));
  std::set<std::int32_t> biased;
  for (const v1::LogitBias& bias : request.logit_bias()) {
    if (!(bias.bias() >= -100 && bias.bias() <= 100)) return BadField("logit_bias", "must be at least -100 and at most 100 for each token");
    if (!biased.insert(bias.token()).second) return BadField("logit_bias", fmt::format("names token {} twice", bias.token()));
  }
  if (request.top_logprobs() < 0 || request.top_logprobs() > kTopLogprobsMax)
    return BadField("top_logprobs", fmt::format("must be at least 0 and at most {}", kTopLogprobsMax));
  if (request.top_logprobs() > 0 && !request.logprobs()) return BadField("top_logprobs", "is only allowed when logprobs is true");
  return absl::OkStatus();
}

absl::Status CheckMessages(const google::protobuf::RepeatedPtrField<v1::ChatMessage>& messages, const PromptLimits& limits) {
  if (messages.empty()) return BadField("messages", "must hold at least one message");
  if (messages.size() > limits.messages_max)
    return BadField("messages", fmt::format("holds {} messages; at most {} are allowed", messages.size(), limits.messages_max));
  std::size_t bytes = 0;
  for (int i = 0; i < messages.size(); ++i) {
    const v1::ChatMessage& m = messages[i];
    const std::string at = fmt::format("messages[{}]", i);
    if (m.role() < v1::ROLE_SYSTEM || m.role() > v1::ROLE_TOOL) return BadField(at + ".role", "must be system, user, assistant or tool");
    TG_RETURN_IF_ERROR(CheckText(at + ".name", m.name(), 64));
    bytes += m.name().size();
    for (const std::string& part : m.parts()) {
      if (!base::IsValidUtf8(part)) return BadField(at + ".content", "is not valid UTF-8");
      bytes += part.size();
    }
  }
  if (bytes > static_cast<std::size_t>(limits.prompt_bytes_max))
    return BadField("messages", fmt::format("hold {} bytes of text; at most {} are allowed", bytes, limits.prompt_bytes_max));
  return absl::OkStatus();
}

absl::Status CheckBytes(const v1::ChatRequest& request, const PromptLimits& limits) {
  const std::int64_t bytes = BytesOf(request);
  if (bytes <= limits.prompt_bytes_max) return absl::OkStatus();
  return BadField("messages", fmt::format("and tools hold {} bytes of text; at most {} are allowed", bytes, limits.prompt_bytes_max));
}

absl::Status CheckModel(const std::string& model) {
  if (model.empty()) return BadField("model", "is missing; GET /v1/models (or Models.List) names those you may use");
  return CheckText("model", model, 128);
}

}  // namespace

absl::Status BadField(std::string_view param, std::string_view what, std::string_view reason) {
  return base::WithDetail(base::InvalidArgument(fmt::format("{}: {}", param, what)),
                          {.reason = std::string(reason), .param = std::string(param), .may_retry = false});
}

absl::Status Validate(const v1::ChatRequest& request, const PromptLimits& limits) {
  TG_RETURN_IF_ERROR(CheckModel(request.model()));
  TG_RETURN_IF_ERROR(CheckMessages(request.messages(), limits));
  TG_RETURN_IF_ERROR(ValidateTools(request));
  TG_RETURN_IF_ERROR(CheckBytes(request, limits));
  if (request.max_tokens() < 0) return BadField("max_tokens", "must not be negative");
  if (request.choices() < 0 || request.choices() > limits.choices_max)
    return BadField("n", fmt::format("must be at least 1 and at most {}", limits.choices_max));
  if (request.max_reasoning_tokens() < 0) return BadField("max_reasoning_tokens", "must not be negative");
  TG_RETURN_IF_ERROR(CheckSampling(request.sampling()));
  TG_RETURN_IF_ERROR(CheckOutput(request));
  if (request.stop_size() > 4) return BadField("stop", fmt::format("holds {} strings; at most 4 are allowed", request.stop_size()));
  for (const std::string& stop : request.stop()) {
    if (stop.empty()) return BadField("stop", "must not hold an empty string");
    TG_RETURN_IF_ERROR(CheckText("stop", stop, 128));
  }
  TG_RETURN_IF_ERROR(CheckText("end_user", request.end_user(), 256));
  TG_RETURN_IF_ERROR(CheckText("accept_terms", request.accept_terms(), 512));
  TG_RETURN_IF_ERROR(CheckText("justification", request.justification(), 500));
  TG_RETURN_IF_ERROR(ValidateStrict(request));
  return CheckClientRequestId(request.client_request_id());
}

absl::Status CheckClientRequestId(std::string_view id, std::string_view param) { return CheckText(param, id, 128); }

absl::Status Validate(const v1::CountTokensRequest& request, const PromptLimits& limits) {
  TG_RETURN_IF_ERROR(CheckModel(request.model()));
  TG_RETURN_IF_ERROR(CheckMessages(request.messages(), limits));
  v1::ChatRequest chat;
  *chat.mutable_messages() = request.messages();
  *chat.mutable_tools() = request.tools();
  TG_RETURN_IF_ERROR(ValidateTools(chat));
  TG_RETURN_IF_ERROR(CheckText("end_user", request.end_user(), 256));
  return CheckBytes(chat, limits);
}

absl::Status MustChat(const inference::ModelInfo& model) {
  if (model.pooling == inference::Pooling::kNone) return absl::OkStatus();
  const char* path = model.embeds() ? "POST /v1/embeddings (gRPC Embeddings.Embed)" : "POST /v1/rerank (gRPC Embeddings.Rerank)";
  return base::WithDetail(
      base::InvalidArgument(fmt::format("model: {} does not chat: ask it by {}, or use another model", model.name, path)),
      {.reason = "MODEL_DOES_NOT_CHAT", .param = "model", .may_retry = false});
}

absl::Status ValidateFor(const v1::ChatRequest& request, const inference::ModelInfo& model) {
  TG_RETURN_IF_ERROR(MustChat(model));
  TG_RETURN_IF_ERROR(ValidateStrictFor(request, model));
  for (const v1::LogitBias& bias : request.logit_bias()) {
    if (bias.token() < 0 || bias.token() >= model.vocab_tokens)
      return BadField("logit_bias",
                      fmt::format("names token {}; {} has those from 0 to {}", bias.token(), model.name, model.vocab_tokens - 1));
  }
  if (request.logprobs() && !model.logprobs)
    return BadField("logprobs", fmt::format("are not to be had from {}: leave the field out, or use another model", model.name));
  if (request.choices() > model.slots)
    return BadField("n", fmt::format("is {}; {} runs {} replies at once: ask for fewer", request.choices(), model.name, model.slots));
  TG_RETURN_IF_ERROR(ValidateToolsFor(request, model));
  const v1::OutputForm& form = request.output_form();
  if (form.has_grammar() && !model.grammars)
    return BadField("grammar", fmt::format("{} cannot be held to a grammar: leave it out, or use another model", model.name));
  if ((form.json_object() || form.has_json_schema()) && !model.grammars)
    return BadField("response_format",
                    fmt::format("{} cannot be held to JSON: ask for it in the prompt, or use another model", model.name));
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> MaxOutputTokens(const v1::ChatRequest& request, bool named, std::int64_t room, bool stream,
                                             const PromptLimits& limits) {
  const std::int64_t asked = request.max_tokens() > 0 ? std::min<std::int64_t>(request.max_tokens(), room) : room;
  const std::int64_t most = limits.logprobs_max / (1 + request.top_logprobs()) / std::max(1, request.choices());
  if (stream || !request.logprobs() || asked <= most) return asked;
  if (!named) return most;
  return BadField("max_tokens",
                  fmt::format("is {}; with its log-probabilities and {} alternatives for each, a reply that is not streamed holds at "
                              "most {} tokens: ask for no more, or stream",
                              request.max_tokens(), request.top_logprobs(), most));
}

std::int64_t BytesOf(const google::protobuf::RepeatedPtrField<v1::ChatMessage>& messages) {
  std::size_t bytes = 0;
  for (const v1::ChatMessage& message : messages)
    for (const std::string& part : message.parts()) bytes += part.size();
  return static_cast<std::int64_t>(bytes);
}

std::vector<policy::Message> ToPolicy(const google::protobuf::RepeatedPtrField<v1::ChatMessage>& messages) {
  std::vector<policy::Message> out;
  out.reserve(messages.size());
  for (const v1::ChatMessage& m : messages) {
    policy::Message message;
    switch (m.role()) {
      case v1::ROLE_SYSTEM: message.role = policy::Role::kSystem; break;
      case v1::ROLE_ASSISTANT: message.role = policy::Role::kAssistant; break;
      case v1::ROLE_TOOL: message.role = policy::Role::kTool; break;
      default: message.role = policy::Role::kUser; break;
    }
    message.name = m.name();
    message.parts.assign(m.parts().begin(), m.parts().end());
    out.push_back(std::move(message));
  }
  return out;
}

std::vector<inference::Turn> ToTurns(std::span<const policy::Message> messages) {
  std::vector<inference::Turn> out;
  out.reserve(messages.size());
  for (const policy::Message& m : messages) {
    inference::Turn turn;
    switch (m.role) {
      case policy::Role::kSystem: turn.role = "system"; break;
      case policy::Role::kUser: turn.role = "user"; break;
      case policy::Role::kAssistant: turn.role = "assistant"; break;
      case policy::Role::kTool: turn.role = "tool"; break;
    }
    turn.name = m.name;
    for (const std::string& part : m.parts) turn.text += part;
    out.push_back(std::move(turn));
  }
  return out;
}

void ToProto(std::span<const policy::Message> messages, google::protobuf::RepeatedPtrField<v1::ChatMessage>* out) {
  for (const policy::Message& m : messages) {
    v1::ChatMessage* message = out->Add();
    switch (m.role) {
      case policy::Role::kSystem: message->set_role(v1::ROLE_SYSTEM); break;
      case policy::Role::kUser: message->set_role(v1::ROLE_USER); break;
      case policy::Role::kAssistant: message->set_role(v1::ROLE_ASSISTANT); break;
      case policy::Role::kTool: message->set_role(v1::ROLE_TOOL); break;
    }
    message->set_name(m.name);
    for (const std::string& part : m.parts) message->add_parts(part);
  }
}

inference::SamplingParams ToSampling(const v1::Sampling& s, std::uint64_t seed) {
  inference::SamplingParams out;
  out.temperature = s.has_temperature() ? s.temperature() : 1.0;
  out.top_p = s.has_top_p() ? s.top_p() : 1.0;
  out.top_k = s.has_top_k() ? s.top_k() : 0;
  out.min_p = s.has_min_p() ? s.min_p() : 0.0;
  out.presence_penalty = s.has_presence_penalty() ? s.presence_penalty() : 0.0;
  out.frequency_penalty = s.has_frequency_penalty() ? s.frequency_penalty() : 0.0;
  out.repeat_penalty = s.has_repeat_penalty() ? s.repeat_penalty() : 1.0;
  out.seed = s.has_seed() ? s.seed() : seed;
  return out;
}

void FillOutput(const v1::ChatRequest& request, const inference::SchemaGrammar& grammar, inference::SequenceRequest& sequence) {
  for (const v1::LogitBias& bias : request.logit_bias()) sequence.logit_bias.push_back({bias.token(), bias.bias()});
  sequence.logprobs = request.logprobs() ? request.top_logprobs() : -1;
  sequence.grammar_is_ours = !grammar.gbnf.empty();
  sequence.grammar = sequence.grammar_is_ours ? grammar.gbnf : request.output_form().grammar();
  sequence.json = !sequence.grammar_is_ours && request.output_form().json_object();
}

}  // namespace tollgate::pipeline
