// Written by hand, so that the order of the fields and each null are OpenAI's.
//
// Tested by tests/gateway/http/chat_reply_test.cpp.
#include "gateway/http/chat_reply.h"

#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "gateway/http/json_out.h"
#include "gateway/http/policy_told.h"

namespace tollgate::http_front {
namespace {

namespace v1 = tollgate::v1;

std::string_view FinishName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_LENGTH: return "\"length\"";
    case v1::FINISH_REASON_CONTENT_FILTER: return "\"content_filter\"";
    case v1::FINISH_REASON_TOOL_CALLS: return "\"tool_calls\"";
    default: return "\"stop\"";
  }
}

void AppendUsage(std::string& out, const v1::TokenCounts& usage) {
  fmt::format_to(std::back_inserter(out),
                 R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
                 R"("prompt_tokens_details":{{"cached_tokens":{},"audio_tokens":0}},)"
                 R"("completion_tokens_details":{{"reasoning_tokens":{},"audio_tokens":0,)"
                 R"("accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}})",
                 usage.input(), usage.output(), usage.input() + usage.output(), usage.cached_input(), usage.reasoning());
}

void AppendToken(std::string& out, const v1::TokenLogprob& token) {
  out += R"({"token":)";
  AppendJsonString(out, token.token());
  fmt::format_to(std::back_inserter(out), R"(,"logprob":{},"bytes":[{}])", token.logprob(),
                 fmt::join(reinterpret_cast<const unsigned char*>(token.token().data()),
                           reinterpret_cast<const unsigned char*>(token.token().data()) + token.token().size(), ","));
}

// An object where they were asked for, else null.
std::string LogprobsJson(bool asked, const pipeline::Logprobs& logprobs) {
  if (!asked) return "null";
  std::string out = R"({"content":[)";
  for (const v1::TokenLogprob& token : logprobs) {
    if (out.back() == '}') out += ',';
    AppendToken(out, token);
    out += R"(,"top_logprobs":[)";
    for (const v1::TokenLogprob& top : token.top()) {
      if (out.back() == '}') out += ',';
      AppendToken(out, top);
      out += '}';
    }
    out += "]}";
  }
  out += R"(],"refusal":null})";
  return out;
}

// `arguments` as a whole call has them, or empty, as a stream's first event has them.
void AppendCall(std::string& out, const v1::ToolCall& call, std::string_view arguments) {
  out += R"("id":)";
  AppendJsonString(out, call.id());
  out += R"(,"type":"function","function":{"name":)";
  AppendJsonString(out, call.name());
  out += R"(,"arguments":)";
  AppendJsonString(out, arguments);
  out += "}}";
}

// What policy did to a choice.
std::string ToldOf(const pipeline::Reply& reply, int choice) {
  const bool one_of_several = choice < reply.end.choices_size();
  return PolicyTold(nullptr, one_of_several ? &reply.end.choices(choice).output_policy() : &reply.end.output_policy());
}

void AppendChoice(std::string& out, const pipeline::OutputPiece& piece, const pipeline::Reply& reply, bool logprobs) {
  fmt::format_to(std::back_inserter(out), R"({{"index":{},"message":{{"role":"assistant","content":)", piece.choice);
  if (piece.text.empty() && !piece.calls.empty()) {
    out += "null";
  } else {
    AppendJsonString(out, piece.text);
  }
  if (!piece.thought.empty()) {
    out += R"(,"reasoning_content":)";
    AppendJsonString(out, piece.thought);
  }
  for (const v1::ToolCall& call : piece.calls) {
    out += call.index() == 0 ? R"(,"tool_calls":[{)" : ",{";
    AppendCall(out, call, call.arguments());
  }
  if (!piece.calls.empty()) out += ']';
  out += R"(,"refusal":null,"annotations":[]},"logprobs":)";
  out += LogprobsJson(logprobs, piece.logprobs);
  out += R"(,"finish_reason":)";
  out += FinishName(FinishOf(reply, piece.choice));
  out += ToldOf(reply, piece.choice);
  out += '}';
}

void AppendHead(std::string& out, const CompletionHead& head, std::string_view object) {
  out += R"({"id":)";
  AppendJsonString(out, head.id);
  fmt::format_to(std::back_inserter(out), R"(,"object":"{}","created":{},"model":)", object, head.created_s);
  AppendJsonString(out, head.model);
}

void AppendModel(std::string& out, const v1::Model& model) {
  out += R"({"id":)";
  AppendJsonString(out, model.name());
  fmt::format_to(std::back_inserter(out), R"(,"object":"model","created":{},"owned_by":"tollgate"}})", model.created());
}

}  // namespace

pipeline::OutputPiece FirstOf(const pipeline::Reply& reply) {
  return {.text = reply.text, .logprobs = reply.logprobs, .thought = reply.thought, .calls = reply.calls};
}

v1::FinishReason FinishOf(const pipeline::Reply& reply, int choice) {
  return choice < reply.end.choices_size() ? reply.end.choices(choice).finish_reason() : reply.end.finish_reason();
}

std::string CompletionBody(const CompletionHead& head, const pipeline::Reply& reply, bool logprobs) {
  std::string out;
  out.reserve(reply.text.size() + 768);
  AppendHead(out, head, "chat.completion");
  out += R"(,"choices":[)";
  AppendChoice(out, FirstOf(reply), reply, logprobs);
  for (const pipeline::OutputPiece& other : reply.more) {
    out += ',';
    AppendChoice(out, other, reply, logprobs);
  }
  out += R"(],"usage":)";
  AppendUsage(out, reply.end.usage());
  out += R"(,"system_fingerprint":)";
  AppendJsonStringOrNull(out, head.system_fingerprint);
  out += PolicyTold(&reply.end.input_policy(), nullptr);
  out += '}';
  return out;
}

ChunkEvents::ChunkEvents(CompletionHead head, bool include_usage, bool logprobs) : logprobs_(logprobs) {
  prefix_ = "data: ";
  AppendHead(prefix_, head, "chat.completion.chunk");
  prefix_ += R"(,"system_fingerprint":)";
  AppendJsonStringOrNull(prefix_, head.system_fingerprint);
  prefix_ += R"(,"choices":)";
  suffix_ = include_usage ? ",\"usage\":null}\n\n" : "}\n\n";
}

std::string ChunkEvents::Event(int choice, std::string_view delta, std::string_view logprobs, std::string_view end,
                               std::string_view beside) const {
  std::string out;
  out.reserve(prefix_.size() + delta.size() + logprobs.size() + end.size() + beside.size() + suffix_.size() + 80);
  out += prefix_;
  fmt::format_to(std::back_inserter(out), R"([{{"index":{},"delta":)", choice);
  out += delta;
  out += R"(,"logprobs":)";
  out += logprobs;
  out += R"(,"finish_reason":)";
  out += end;
  out += "}]";
  out += beside;
  out += suffix_;
  return out;
}

std::string ChunkEvents::Role(int choice) const { return Event(choice, R"({"role":"assistant","content":"","refusal":null})", "null"); }

std::string ChunkEvents::Text(std::string_view text, const pipeline::Logprobs& logprobs, int choice) const {
  std::string delta = R"({"content":)";
  AppendJsonString(delta, text);
  delta += '}';
  return Event(choice, delta, LogprobsJson(logprobs_, logprobs));
}

std::string ChunkEvents::Piece(const pipeline::OutputPiece& piece) const {
  std::string out;
  if (!piece.thought.empty()) {
    std::string delta = R"({"reasoning_content":)";
    AppendJsonString(delta, piece.thought);
    out += Event(piece.choice, delta + '}', "null");
  }
  if (!piece.text.empty()) out += Text(piece.text, piece.logprobs, piece.choice);
  for (const v1::ToolCall& call : piece.calls) {
    std::string delta = fmt::format(R"({{"tool_calls":[{{"index":{},)", call.index());
    AppendCall(delta, call, "");
    out += Event(piece.choice, delta + "]}", "null");
    delta = fmt::format(R"({{"tool_calls":[{{"index":{},"function":{{"arguments":)", call.index());
    AppendJsonString(delta, call.arguments());
    out += Event(piece.choice, delta + "}}]}", "null");
  }
  return out;
}

std::string ChunkEvents::Finish(const pipeline::Reply& reply) const {
  std::string out;
  const int last = static_cast<int>(reply.more.size());
  for (int choice = 0; choice <= last; ++choice) {
    const std::string end = std::string(FinishName(FinishOf(reply, choice))) + ToldOf(reply, choice);
    out += Event(choice, "{}", "null", end, choice == last ? PolicyTold(&reply.end.input_policy(), nullptr) : "");
  }
  return out;
}

std::string ChunkEvents::Usage(const v1::TokenCounts& usage) const {
  if (suffix_ == "}\n\n") return "";
  std::string out = prefix_;
  out += R"([],"usage":)";
  AppendUsage(out, usage);
  out += "}\n\n";
  return out;
}

std::string ModelBody(const v1::Model& model) {
  std::string out;
  AppendModel(out, model);
  return out;
}

std::string ModelListBody(const v1::ListModelsReply& models) {
  std::string out = R"({"object":"list","data":[)";
  for (int i = 0; i < models.models_size(); ++i) {
    if (i > 0) out += ',';
    AppendModel(out, models.models(i));
  }
  out += "]}";
  return out;
}

}  // namespace tollgate::http_front
