// How it works. The body is written by hand, because a prompt is up to a million numbers; events are parsed by Boost.JSON, strictly: what
// has the wrong type is an error, what is unknown is passed over. A count that cannot be is a lie about usage, which spoils no answer. The
// prompt's ids, which vLLM repeats, are cut out before: to make values of a million numbers would hold up everybody's tokens.
//
// Tested by tests/inference/upstream_wire_test.cpp.
#include "inference/engines/upstream_wire.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "base/crypto.h"
#include "base/encoding.h"
#include "inference/engines/event_stream.h"
#include "inference/engines/upstream_answer.h"

namespace tollgate::inference {
namespace {

namespace json = boost::json;

std::string_view RepeatPenaltyName(UpstreamKind kind) {
  return kind == UpstreamKind::kLlamaServer ? "repeat_penalty" : "repetition_penalty";
}

// All of it goes, also what changes nothing: of what is left out servers have defaults of their own, by the model's generation_config.json
// or their command line, and the record would name settings that were not in force. Where no top_k is asked for, 0 says so, but -1 to those
// whose older versions refuse 0.
void AddSampling(UpstreamKind kind, const SamplingParams& s, std::string& body) {
  const bool minus = kind == UpstreamKind::kVllm || kind == UpstreamKind::kSglang;
  auto out = std::back_inserter(body);
  fmt::format_to(out, R"(,"temperature":{},"top_p":{},"seed":{})", s.temperature, s.top_p, s.seed & 0x7FFFFFFFULL);
  fmt::format_to(out, R"(,"top_k":{},"min_p":{})", s.top_k == 0 && minus ? -1 : s.top_k, s.min_p);
  fmt::format_to(out, R"(,"presence_penalty":{},"frequency_penalty":{})", s.presence_penalty, s.frequency_penalty);
  fmt::format_to(out, R"(,"{}":{})", RepeatPenaltyName(kind), s.repeat_penalty);
  // Its other samplers may be set by its command line, or by the model's file (general.sampling.*).
  if (kind == UpstreamKind::kLlamaServer)
    body += R"(,"samplers":["penalties","top_k","top_p","min_p","temperature"],"mirostat":0,"dynatemp_range":0)";
}

void AddBias(const UpstreamAsk& ask, std::string& body) {
  if (ask.logit_bias.empty() && ask.banned.empty()) return;
  std::vector<LogitBias> biases;
  for (const std::int32_t token : ask.banned) biases.push_back({token, -100});
  for (const LogitBias& bias : ask.logit_bias) {
    if (std::find(ask.banned.begin(), ask.banned.end(), bias.token) == ask.banned.end()) biases.push_back(bias);
  }
  body += R"(,"logit_bias":{)";
  for (std::size_t i = 0; i < biases.size(); ++i)
    fmt::format_to(std::back_inserter(body), R"({}"{}":{})", i == 0 ? "" : ",", biases[i].token, biases[i].bias);
  body += '}';
}

void AddGrammar(UpstreamKind kind, std::string_view grammar, std::string& body) {
  if (grammar.empty()) return;
  const std::string quoted = json::serialize(json::string(grammar.data(), grammar.size()));
  auto out = std::back_inserter(body);
  if (kind == UpstreamKind::kVllm) fmt::format_to(out, R"(,"structured_outputs":{{"grammar":{}}})", quoted);
  if (kind == UpstreamKind::kSglang) fmt::format_to(out, R"(,"ebnf":{})", quoted);
  if (kind == UpstreamKind::kLlamaServer) fmt::format_to(out, R"(,"grammar":{})", quoted);
}

void AddOwn(const UpstreamOptions& options, const UpstreamAsk& ask, std::string& body) {
  if (options.kind == UpstreamKind::kVllm) body += R"(,"return_token_ids":true)";
  if (options.kind == UpstreamKind::kLlamaServer) body += R"(,"cache_prompt":false)";
  if (options.kind == UpstreamKind::kLlamaServer && !ask.shown.empty())
    fmt::format_to(std::back_inserter(body), R"(,"preserved_tokens":{})", json::serialize(json::array(ask.shown.begin(), ask.shown.end())));
  AppendUpstreamSalt(options, ask.cache_salt, ask.priority, body);
}

absl::Status Strange(std::string_view what) {
  return base::Unavailable(fmt::format("the upstream's answer is not what /v1/completions gives: {}", what));
}

absl::Status ReadUsage(const json::value& usage, UpstreamEvent& event) {
  if (usage.is_null()) return absl::OkStatus();
  if (!usage.is_object()) return Strange("usage is no object");
  const auto read = [&](const char* name, std::optional<std::int64_t>& count) -> absl::Status {
    const json::value* value = usage.get_object().if_contains(name);
    if (value == nullptr || value->is_null()) return absl::OkStatus();
    if (!value->is_int64() && !value->is_uint64()) return Strange("a count of tokens is no whole number");
    const std::int64_t told = value->is_int64() ? value->get_int64() : INT64_MAX;  // Boost.JSON's uint64 is what int64 cannot hold.
    count = std::clamp<std::int64_t>(told, 0, kUpstreamCountMax);
    event.absurd_usage = event.absurd_usage || told != *count;
    return absl::OkStatus();
  };
  TG_RETURN_IF_ERROR(read("prompt_tokens", event.input_tokens));
  return read("completion_tokens", event.output_tokens);
}

absl::Status ReadTokens(const json::value& tokens, UpstreamEvent& event) {
  if (tokens.is_null()) return absl::OkStatus();
  if (!tokens.is_array()) return Strange("token_ids is no array");
  for (const json::value& token : tokens.get_array()) {
    if (!token.is_int64() || token.get_int64() < 0 || token.get_int64() > INT32_MAX) return Strange("a token id is none");
    event.tokens.push_back(static_cast<std::int32_t>(token.get_int64()));
  }
  return absl::OkStatus();
}

absl::Status ReadChoice(const json::value& choice, UpstreamEvent& event) {
  if (!choice.is_object()) return Strange("a choice is no object");
  for (const auto& field : choice.get_object()) {
    const json::value& value = field.value();
    if (field.key() == "text") {
      if (!value.is_string()) return Strange("text is no string");
      event.text.assign(value.get_string().data(), value.get_string().size());
    } else if (field.key() == "token_ids") {
      TG_RETURN_IF_ERROR(ReadTokens(value, event));
    } else if (field.key() == "finish_reason" && !value.is_null()) {
      if (!value.is_string()) return Strange("finish_reason is no string");
      event.finish.assign(value.get_string().data(), value.get_string().size());
    }
  }
  if (event.finish == "abort") event.error = kGivenUp;
  if (!event.finish.empty() && !event.error && event.finish != "stop" && event.finish != "length")
    return Strange("it ended for a reason we do not know");
  return absl::OkStatus();
}

// Without the ids that vLLM repeats. Within a string each quote has a backslash before it, so that no text looks like the name and its
// colon.
std::string_view WithoutPrompt(std::string_view data, std::string& room) {
  constexpr std::string_view kName = R"("prompt_token_ids":)";
  const std::size_t name = data.find(kName);
  if (name == std::string_view::npos) return data;
  const std::size_t open = data.find_first_not_of(' ', name + kName.size());
  if (open == std::string_view::npos || data[open] != '[') return data;
  const std::size_t close = data.find_first_not_of("0123456789, ", open + 1);
  if (close == std::string_view::npos || data[close] != ']') return data;
  room.assign(data.substr(0, open + 1));
  room += data.substr(close);
  return room;
}

// The HTTP status that an error goes by; nothing: it has none.
std::optional<int> CodeOf(const json::value& error) {
  if (!error.is_object()) return std::nullopt;
  const json::value* code = error.get_object().if_contains("code");
  if (code == nullptr || !code->is_int64() || code->get_int64() < 400 || code->get_int64() > 599) return std::nullopt;
  return static_cast<int>(code->get_int64());
}

}  // namespace

std::size_t UpstreamEventBytesMax(UpstreamKind kind, std::size_t prompt_tokens) {
  constexpr std::size_t kIdBytes = 12;  // Of the longest, with what stands between two.
  return EventStream::kEventBytesMax + (kind == UpstreamKind::kVllm ? kIdBytes * prompt_tokens : 0);
}

void AppendUpstreamTokens(std::span<const std::int32_t> tokens, std::string& body) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) body += ',';
    fmt::format_to(std::back_inserter(body), "{}", tokens[i]);
  }
}

void AppendUpstreamSalt(const UpstreamOptions& options, std::string_view salt, int priority, std::string& body) {
  if (options.kind != UpstreamKind::kVllm && options.kind != UpstreamKind::kSglang) return;
  fmt::format_to(std::back_inserter(body), R"(,"cache_salt":"{}")", salt);
  if (options.priority) fmt::format_to(std::back_inserter(body), R"(,"priority":{})", priority);
}

std::string UpstreamBody(const UpstreamOptions& options, const UpstreamAsk& ask) {
  std::string body = fmt::format(R"({{"model":{},"prompt":[)", json::serialize(json::string(options.model)));
  body.reserve(body.size() + ask.prompt.size() * 7 + 512);
  AppendUpstreamTokens(ask.prompt, body);
  fmt::format_to(std::back_inserter(body), R"(],"max_tokens":{},"stream":true,"stream_options":{{"include_usage":true}})", ask.max_tokens);
  AddSampling(options.kind, ask.sampling, body);
  AddBias(ask, body);
  AddGrammar(options.kind, ask.grammar, body);
  AddOwn(options, ask, body);
  body += '}';
  return body;
}

absl::StatusOr<UpstreamEvent> ReadUpstreamEvent(std::string_view data) {
  UpstreamEvent event;
  if (data == "[DONE]") {
    event.done = true;
    return event;
  }
  std::string room;
  const std::string_view rest = WithoutPrompt(data, room);
  boost::system::error_code error;
  const json::value value = json::parse({rest.data(), rest.size()}, error);
  if (error || !value.is_object()) return Strange("an event is no JSON object");
  const json::object& object = value.get_object();
  if (const json::value* e = object.if_contains("error"); e != nullptr && !e->is_null()) {
    event.error = CodeOf(*e);
    if (event.error) return event;
    return base::Unavailable("the upstream reported an error in the middle of its answer; its own log says which");
  }
  if (const json::value* usage = object.if_contains("usage")) TG_RETURN_IF_ERROR(ReadUsage(*usage, event));
  const json::value* choices = object.if_contains("choices");
  if (choices == nullptr) return event;
  if (!choices->is_array() || choices->get_array().size() > 1) return Strange("there is not one choice");
  if (choices->get_array().size() == 1) TG_RETURN_IF_ERROR(ReadChoice(choices->get_array()[0], event));
  return event;
}

std::string CacheSalt(std::string_view key, std::string_view tenant) {
  std::string text = base::Base64Encode(base::View(base::HmacSha256(key, tenant)));
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  text.resize(43);  // Without the padding.
  return text;
}

}  // namespace tollgate::inference
