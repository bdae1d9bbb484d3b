// One table, a row a field: how it is read. A field without a row is unknown and refused. What is accepted without effect is so by design,
// and its row says why.
//
// Tested by tests/gateway/http/chat_request_test.cpp.
#include "gateway/http/chat_request.h"

#include <algorithm>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "gateway/http/fields.h"
#include "gateway/http/messages.h"
#include "gateway/http/strict_json.h"
#include "gateway/http/tool_fields.h"

namespace tollgate::http_front {
namespace {

namespace json = boost::json;

// What is gathered while fields are read in whatever order they come.
struct Reading {
  ChatCompletionRequest out;
  NumberTexts numbers;  // Of the body.
  bool has_messages = false;
  bool has_stream_options = false;
  std::string user;
  std::string safety_identifier;
  std::string grammar;
  std::optional<double> repetition;  // repeat_penalty, under either of its names.
};

using Name = std::string_view;
using Value = const json::value&;
using Read = absl::Status (*)(Name, Value, Reading&);

template <std::string* (v1::ChatRequest::*text)()>
absl::Status ReadText(Name name, Value value, Reading& r) {
  TG_ASSIGN(*(r.out.chat.*text)(), ReadString(name, value));
  return absl::OkStatus();
}

absl::Status ReadMessagesField(Name, Value value, Reading& r) {
  r.has_messages = true;
  return ReadMessages(value, r.out.chat);
}

absl::Status ReadStream(Name name, Value value, Reading& r) {
  TG_ASSIGN(r.out.stream, ReadBool(name, value));
  return absl::OkStatus();
}

absl::Status ReadStreamOptions(Name name, Value value, Reading& r) {
  if (!value.is_object()) return WrongType(name, "an object", value);
  r.has_stream_options = true;
  for (const auto& field : value.get_object()) {
    const std::string param = fmt::format("stream_options.{}", View(field.key()));
    if (field.key() == "include_usage") {
      if (field.value().is_null()) continue;
      TG_ASSIGN(r.out.include_usage, ReadBool(param, field.value()));
    } else if (field.key() == "include_obfuscation") {
      if (field.value().is_null()) continue;
      // Padding against traffic analysis is the server's choice; Tollgate sends none.
      TG_RETURN_IF_ERROR(ReadBool(param, field.value()).status());
    } else {
      return UnknownField(param);
    }
  }
  return absl::OkStatus();
}

// max_tokens and max_completion_tokens may both come; the larger one is reserved and in force.
absl::Status ReadMaxTokens(Name name, Value value, Reading& r) {
  TG_ASSIGN(const std::int64_t tokens, ReadInteger(name, value, 1, INT32_MAX));
  if (tokens > r.out.chat.max_tokens()) r.out.chat.set_max_tokens(static_cast<std::int32_t>(tokens));
  return absl::OkStatus();
}

template <void (v1::Sampling::*set)(double)>
absl::Status ReadSampling(Name name, Value value, Reading& r) {
  TG_ASSIGN(const double number, ReadNumber(name, value));
  (r.out.chat.mutable_sampling()->*set)(number);
  return absl::OkStatus();
}

absl::Status ReadTopK(Name name, Value value, Reading& r) {
  TG_ASSIGN(const std::int64_t k, ReadInteger(name, value, -1, INT32_MAX));  // -1: all of them, as 0; so vLLM has it.
  r.out.chat.mutable_sampling()->set_top_k(static_cast<std::int32_t>(std::max<std::int64_t>(k, 0)));
  return absl::OkStatus();
}

absl::Status ReadRepetition(Name name, Value value, Reading& r) {
  TG_ASSIGN(const double penalty, ReadNumber(name, value));
  if (r.repetition && *r.repetition != penalty) {
    return Refuse("INVALID_VALUE", name, "'repeat_penalty' and 'repetition_penalty' are one setting; send one of them.");
  }
  r.repetition = penalty;
  r.out.chat.mutable_sampling()->set_repeat_penalty(penalty);
  return absl::OkStatus();
}

// OpenAI's seed is any 64-bit integer; negative ones keep their bits.
absl::Status ReadSeed(Name name, Value value, Reading& r) {
  if (value.is_uint64()) {
    r.out.chat.mutable_sampling()->set_seed(value.get_uint64());
    return absl::OkStatus();
  }
  TG_ASSIGN(const std::int64_t seed, ReadInteger(name, value, INT64_MIN, INT64_MAX));
  r.out.chat.mutable_sampling()->set_seed(static_cast<std::uint64_t>(seed));
  return absl::OkStatus();
}

absl::Status ReadStop(Name name, Value value, Reading& r) {
  if (value.is_string()) {
    TG_ASSIGN(*r.out.chat.add_stop(), ReadString(name, value));
    return absl::OkStatus();
  }
  if (!value.is_array()) return WrongType(name, "a string or an array of strings", value);
  const json::array& stops = value.get_array();
  for (std::size_t i = 0; i < stops.size(); ++i) {
    TG_ASSIGN(*r.out.chat.add_stop(), ReadString(fmt::format("stop[{}]", i), stops[i]));
  }
  return absl::OkStatus();
}

absl::Status ReadN(Name name, Value value, Reading& r) {
  TG_ASSIGN(const std::int64_t n, ReadInteger(name, value, 1, 128));
  r.out.chat.set_choices(static_cast<std::int32_t>(n));
  return absl::OkStatus();
}

absl::Status ReadToolsField(Name, Value value, Reading& r) { return ReadTools(value, r.numbers, r.out.chat); }
absl::Status ReadToolChoiceField(Name, Value value, Reading& r) { return ReadToolChoice(value, r.out.chat); }

absl::Status ReadParallelToolCalls(Name name, Value value, Reading& r) {
  TG_ASSIGN(const bool on, ReadBool(name, value));
  r.out.chat.set_parallel_tool_calls(on);
  return absl::OkStatus();
}

absl::Status ReadMaxReasoningTokens(Name name, Value value, Reading& r) {
  TG_ASSIGN(const std::int64_t tokens, ReadInteger(name, value, 1, INT32_MAX));
  r.out.chat.set_max_reasoning_tokens(static_cast<std::int32_t>(tokens));
  return absl::OkStatus();
}

absl::Status ReadGrammar(Name name, Value value, Reading& r) {
  TG_ASSIGN(r.grammar, ReadString(name, value));
  return absl::OkStatus();
}

absl::Status ReadReplay(Name name, Value value, Reading& r) {
  TG_ASSIGN(const std::string replay, ReadString(name, value));
  if (replay != "strict") return Refuse("UNSUPPORTED_VALUE", name, "Unsupported value: 'replay' must be strict.");
  r.out.chat.set_replay(v1::REPLAY_STRICT);
  return absl::OkStatus();
}

absl::Status ReadLogprobs(Name name, Value value, Reading& r) {
  TG_ASSIGN(const bool on, ReadBool(name, value));
  r.out.chat.set_logprobs(on);
  return absl::OkStatus();
}

absl::Status ReadTopLogprobs(Name name, Value value, Reading& r) {
  TG_ASSIGN(const std::int64_t top, ReadInteger(name, value, 0, 20));
  r.out.chat.set_top_logprobs(static_cast<std::int32_t>(top));
  return absl::OkStatus();
}

// {"50256": -100}: keys are tokens by number.
absl::Status ReadLogitBias(Name name, Value value, Reading& r) {
  if (!value.is_object()) return WrongType(name, "an object", value);
  for (const auto& field : value.get_object()) {
    const std::string_view key = View(field.key());
    std::int32_t token = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    if (error != std::errc() || end != key.data() + key.size() || token < 0 || (key.size() > 1 && key.front() == '0')) {
      return Refuse("INVALID_VALUE", name, "Invalid 'logit_bias': a key is the number of a token in the model's vocabulary.");
    }
    TG_ASSIGN(const double bias, ReadNumber(name, field.value()));
    v1::LogitBias* added = r.out.chat.add_logit_bias();
    added->set_token(token);
    added->set_bias(static_cast<float>(bias));
  }
  return absl::OkStatus();
}

absl::Status ReadUser(Name name, Value value, Reading& r) {
  TG_ASSIGN(r.user, ReadString(name, value));
  return absl::OkStatus();
}

absl::Status ReadSafetyIdentifier(Name name, Value value, Reading& r) {
  TG_ASSIGN(r.safety_identifier, ReadString(name, value));
  return absl::OkStatus();
}

// The caller's own labels: checked as OpenAI does and without effect on the answer.
absl::Status ReadMetadata(Name name, Value value, Reading&) {
  if (!value.is_object()) return WrongType(name, "an object of strings", value);
  if (value.get_object().size() > 16) return Refuse("INVALID_VALUE", name, "Invalid 'metadata': at most 16 pairs are allowed.");
  for (const auto& field : value.get_object()) {
    TG_ASSIGN(const std::string text, ReadString("metadata", field.value()));
    if (field.key().size() > 64 || text.size() > 512) {
      return Refuse("INVALID_VALUE", name, "Invalid 'metadata': a key has at most 64 bytes and a value at most 512.");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadStore(Name name, Value value, Reading&) {
  TG_ASSIGN(const bool on, ReadBool(name, value));
  if (!on) return absl::OkStatus();
  return Refuse("UNSUPPORTED_VALUE", name,
                "Unsupported value: 'store' must be false. The audit keeps every request; completions cannot be fetched later.");
}

absl::Status ReadServiceTier(Name name, Value value, Reading&) {
  TG_ASSIGN(const std::string tier, ReadString(name, value));
  if (tier == "auto" || tier == "default") return absl::OkStatus();
  return Refuse("UNSUPPORTED_VALUE", name, "Unsupported value: 'service_tier' must be auto or default.");
}

// A hint at what to keep warm. Tollgate's prefix cache is keyed by tenant and needs none.
absl::Status ReadHint(Name name, Value value, Reading&) { return ReadString(name, value).status(); }

// {"name": …, "description": …, "schema": {…}, "strict": …}.
absl::Status ReadJsonSchema(const json::object& format, Reading& r) {
  constexpr Name kAt = "response_format.json_schema";
  const json::value* wrapped = format.if_contains("json_schema");
  if (wrapped == nullptr) return MissingField(kAt);
  if (!wrapped->is_object()) return WrongType(kAt, "an object", *wrapped);
  const json::value* schema = nullptr;
  bool named = false;
  for (const auto& field : wrapped->get_object()) {
    const std::string param = fmt::format("{}.{}", kAt, View(field.key()));
    if (field.key() == "schema") {
      schema = &field.value();
    } else if (field.key() == "name" || (field.key() == "description" && !field.value().is_null())) {
      TG_RETURN_IF_ERROR(ReadString(param, field.value()).status());
      named = named || field.key() == "name";
    } else if (field.key() == "strict" && !field.value().is_null()) {
      TG_ASSIGN(const bool strict, ReadBool(param, field.value()));
      r.out.chat.mutable_output_form()->set_strict(strict);
    } else if (!field.value().is_null()) {
      return UnknownField(param);
    }
  }
  if (!named) return MissingField("response_format.json_schema.name");
  if (schema == nullptr) return MissingField("response_format.json_schema.schema");
  if (!schema->is_object()) return WrongType("response_format.json_schema.schema", "an object", *schema);
  r.out.chat.mutable_output_form()->set_json_schema(JsonAsSpelt(*schema, r.numbers));
  return absl::OkStatus();
}

absl::Status ReadResponseFormat(Name name, Value value, Reading& r) {
  if (!value.is_object()) return WrongType(name, "an object", value);
  const json::object& format = value.get_object();
  const json::value* type_value = format.if_contains("type");
  if (!type_value) return MissingField("response_format.type");
  TG_ASSIGN(const std::string type, ReadString("response_format.type", *type_value));
  if (type == "json_object") {
    r.out.chat.mutable_output_form()->set_json_object(true);
  } else if (type == "json_schema") {
    TG_RETURN_IF_ERROR(ReadJsonSchema(format, r));
  } else if (type != "text") {
    return Refuse("UNSUPPORTED_VALUE", "response_format.type",
                  "Unsupported value: 'response_format.type' must be text, json_object or json_schema.");
  }
  for (const auto& field : format) {
    if (field.key() == "type" || (type == "json_schema" && field.key() == "json_schema")) continue;
    return UnknownField(fmt::format("response_format.{}", View(field.key())));
  }
  return absl::OkStatus();
}

absl::Status ReadModalities(Name name, Value value, Reading&) {
  const bool text_only =
      value.is_array() && value.get_array().size() == 1 && value.get_array()[0].is_string() && value.get_array()[0].get_string() == "text";
  if (text_only) return absl::OkStatus();
  return Refuse("UNSUPPORTED_VALUE", name, "Unsupported value: 'modalities' must be [\"text\"].");
}

// Known fields that say nothing while they are empty, and are refused else.
absl::Status RefuseUnlessEmpty(Name name, Value value, Reading&) {
  if (value.is_array() && value.get_array().empty()) return absl::OkStatus();
  if (value.is_object() && value.get_object().empty()) return absl::OkStatus();
  return Unsupported(name, "Tollgate does not build it yet: leave it out.");
}

absl::Status RefuseField(Name name, Value, Reading&) { return Unsupported(name, "Tollgate does not build it yet: leave it out."); }

struct Row {
  std::string_view name;
  Read read;
};

constexpr Row kFields[] = {
    {"model", ReadText<&v1::ChatRequest::mutable_model>},
    {"messages", ReadMessagesField},
    {"stream", ReadStream},
    {"stream_options", ReadStreamOptions},
    {"max_tokens", ReadMaxTokens},
    {"max_completion_tokens", ReadMaxTokens},
    {"temperature", ReadSampling<&v1::Sampling::set_temperature>},
    {"top_p", ReadSampling<&v1::Sampling::set_top_p>},
    {"top_k", ReadTopK},  // Vendor fields, as vLLM and llama-server name them.
    {"min_p", ReadSampling<&v1::Sampling::set_min_p>},
    {"repeat_penalty", ReadRepetition},
    {"repetition_penalty", ReadRepetition},
    {"presence_penalty", ReadSampling<&v1::Sampling::set_presence_penalty>},
    {"frequency_penalty", ReadSampling<&v1::Sampling::set_frequency_penalty>},
    {"seed", ReadSeed},
    {"stop", ReadStop},
    {"n", ReadN},
    {"logprobs", ReadLogprobs},
    {"top_logprobs", ReadTopLogprobs},
    {"logit_bias", ReadLogitBias},
    {"user", ReadUser},
    {"safety_identifier", ReadSafetyIdentifier},
    {"metadata", ReadMetadata},
    {"store", ReadStore},
    {"service_tier", ReadServiceTier},
    {"prompt_cache_key", ReadHint},
    {"response_format", ReadResponseFormat},
    {"modalities", ReadModalities},
    {"tools", ReadToolsField},
    {"tool_choice", ReadToolChoiceField},
    {"parallel_tool_calls", ReadParallelToolCalls},
    {"max_reasoning_tokens", ReadMaxReasoningTokens},  // Vendor fields.
    {"grammar", ReadGrammar},
    {"replay", ReadReplay},
    {"justification", ReadText<&v1::ChatRequest::mutable_justification>},
    {"accept_terms", ReadText<&v1::ChatRequest::mutable_accept_terms>},
    {"functions", RefuseUnlessEmpty},
    {"function_call", RefuseField},
    {"reasoning_effort", RefuseField},
    {"verbosity", RefuseField},
    {"audio", RefuseField},
    {"prediction", RefuseField},
    {"web_search_options", RefuseField},
    {"moderation", RefuseField},
    {"prompt_cache_retention", RefuseField},
};

absl::Status ReadField(Name name, Value value, Reading& reading) {
  for (const Row& row : kFields) {
    if (row.name != name) continue;
    if (value.is_null()) return absl::OkStatus();
    return row.read(name, value, reading);
  }
  return UnknownField(name);
}

}  // namespace

absl::StatusOr<ChatCompletionRequest> ParseChatCompletion(std::string_view body) {
  json::monotonic_resource memory;
  Reading reading;
  TG_ASSIGN(const json::object root, ParseBody(body, &memory, &reading.numbers));
  for (const auto& field : root) TG_RETURN_IF_ERROR(ReadField(View(field.key()), field.value(), reading));
  if (reading.out.chat.model().empty()) return MissingField("model");
  if (!reading.has_messages) return MissingField("messages");
  if (reading.has_stream_options && !reading.out.stream) {
    return Refuse("INVALID_VALUE", "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is true.");
  }
  if (!reading.grammar.empty()) {
    const v1::OutputForm& form = reading.out.chat.output_form();
    if (form.json_object() || form.has_json_schema())
      return Refuse("INVALID_VALUE", "grammar", "The 'grammar' parameter is not allowed together with 'response_format'.");
    reading.out.chat.mutable_output_form()->set_grammar(std::move(reading.grammar));
  }
  // safety_identifier replaces user.
  std::string& end_user = reading.safety_identifier.empty() ? reading.user : reading.safety_identifier;
  reading.out.chat.set_end_user(std::move(end_user));
  return std::move(reading.out);
}

}  // namespace tollgate::http_front
