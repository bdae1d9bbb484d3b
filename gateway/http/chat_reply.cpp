// Written by hand, so that the order of the fields and each null are OpenAI's.
//
// Tested by tests/gateway/http/chat_reply_test.cpp.
#include "gateway/http/chat_reply.h"

#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "gateway/http/json_out.h"

namespace tollgate::http_front {
namespace {

namespace v1 = tollgate::v1;

std::string_view FinishName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_LENGTH: return "\"length\"";
    case v1::FINISH_REASON_CONTENT_FILTER: return "\"content_filter\"";
    default: return "\"stop\"";
  }
}

void AppendUsage(std::string& out, const v1::TokenCounts& usage) {
  fmt::format_to(std::back_inserter(out),
                 R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
                 R"("prompt_tokens_details":{{"cached_tokens":{},"audio_tokens":0}},)"
                 R"("completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,)"
                 R"("accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}})",
                 usage.input(), usage.output(), usage.input() + usage.output(), usage.cached_input());
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

std::string CompletionBody(const CompletionHead& head, const pipeline::Reply& reply, bool logprobs) {
  std::string out;
  out.reserve(reply.text.size() + 768);
  AppendHead(out, head, "chat.completion");
  out += R"(,"choices":[{"index":0,"message":{"role":"assistant","content":)";
  AppendJsonString(out, reply.text);
  out += R"(,"refusal":null,"annotations":[]},"logprobs":)";
  out += LogprobsJson(logprobs, reply.logprobs);
  out += R"(,"finish_reason":)";
  out += FinishName(reply.end.finish_reason());
  out += R"(}],"usage":)";
  AppendUsage(out, reply.end.usage());
  out += R"(,"system_fingerprint":)";
  AppendJsonStringOrNull(out, head.system_fingerprint);
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

std::string ChunkEvents::Event(std::string_view delta, std::string_view logprobs, std::string_view finish_reason) const {
  std::string out;
  out.reserve(prefix_.size() + delta.size() + logprobs.size() + suffix_.size() + 80);
  out += prefix_;
  out += R"([{"index":0,"delta":)";
  out += delta;
  out += R"(,"logprobs":)";
  out += logprobs;
  out += R"(,"finish_reason":)";
  out += finish_reason;
  out += "}]";
  out += suffix_;
  return out;
}

std::string ChunkEvents::Role() const { return Event(R"({"role":"assistant","content":"","refusal":null})", "null", "null"); }

std::string ChunkEvents::Text(std::string_view text, const pipeline::Logprobs& logprobs) const {
  std::string delta = R"({"content":)";
  AppendJsonString(delta, text);
  delta += '}';
  return Event(delta, LogprobsJson(logprobs_, logprobs), "null");
}

std::string ChunkEvents::Finish(v1::FinishReason reason) const { return Event("{}", "null", FinishName(reason)); }

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
