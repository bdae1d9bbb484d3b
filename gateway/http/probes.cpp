// Liveness says that this thread runs; readiness asks the callback, and names the reasons.
//
// Tested by tests/gateway/http/http_front_test.cpp.
#include "gateway/http/probes.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/uuid.h"
#include "gateway/http/json_out.h"

namespace tollgate::http_front {
namespace {

constexpr std::string_view kJson = "application/json";

std::string NotReadyBody(const std::vector<std::string>& reasons) {
  std::string out = R"({"status":"not ready","reasons":[)";
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    if (i > 0) out += ',';
    AppendJsonString(out, reasons[i]);
  }
  out += "]}";
  return out;
}

async::Awaitable<void> AnswerReady(Exchange& exchange, const Probes& probes, Reasons told) {
  std::vector<std::string> reasons;
  if (probes.not_ready) reasons = probes.not_ready();
  Headers headers;
  if (!reasons.empty()) headers.emplace_back("retry-after", "1");
  std::string body = reasons.empty()          ? R"({"status":"ready"})"
                     : told == Reasons::kTold ? NotReadyBody(reasons)
                                              : R"({"status":"not ready"})";
  co_await exchange.Respond(reasons.empty() ? 200 : 503, kJson, headers, std::move(body));
}

// What to do instead of calling an API that is not here.
std::string_view RemedyFor(std::string_view path) {
  if (path == "/v1/responses") {
    return "The Responses API is not spoken here: use /v1/chat/completions (openai-agents: set_default_openai_api(\"chat_completions\"); "
           "AI SDK: openai.chat(MODEL)).";
  }
  if (path == "/v1/completions" || path == "/v1/messages") return "That API is not spoken here: use /v1/chat/completions.";
  for (const std::string_view without : {"/chat/completions", "/embeddings", "/models", "/responses", "/completions"}) {
    if (path == without) return "The API lives under /v1: end the client's base URL in /v1.";
  }
  return "Check the URL for typos; the API lives under /v1.";
}

}  // namespace

std::string_view PathOf(std::string_view target) {
  const std::size_t scheme = target.find("://");
  if (!target.starts_with('/') && scheme != std::string_view::npos) {  // Absolute form (RFC 9112 §3.2.2).
    const std::size_t path = std::min(target.find('/', scheme + 3), target.size());
    target = path < target.size() ? target.substr(path) : "/";
  }
  return target.substr(0, target.find('?'));
}

async::Awaitable<bool> AnswerProbe(Exchange& exchange, const Probes& probes, Reasons reasons) {
  const Headers none;
  const std::string_view path = PathOf(exchange.target());
  const bool health = path == "/healthz" || path == "/livez" || path == "/health";
  const bool ready = path == "/readyz";
  const bool metrics = path == "/metrics" && probes.metrics != nullptr;
  if (!health && !ready && !metrics) co_return false;
  if (exchange.method() != "GET" && exchange.method() != "HEAD") {
    co_await AnswerUnknown(exchange, "GET, HEAD");
  } else if (health) {
    co_await exchange.Respond(200, kJson, none, R"({"status":"ok"})");
  } else if (ready) {
    co_await AnswerReady(exchange, probes, reasons);
  } else {
    co_await exchange.Respond(200, "text/plain; version=0.0.4; charset=utf-8", none, probes.metrics());
  }
  co_return true;
}

async::Awaitable<void> AnswerUnknown(Exchange& exchange, std::string_view allow) {
  ErrorReply reply;
  if (allow.empty()) {
    reply = PlainError(404, "unknown_url",
                       fmt::format("Unknown request URL: {} {}. {}", exchange.method(), PathOf(exchange.target()).substr(0, 200),
                                   RemedyFor(PathOf(exchange.target()))));
  } else {
    reply =
        PlainError(405, "method_not_allowed",
                   fmt::format("{} is not allowed for {}; use {}.", exchange.method(), PathOf(exchange.target()).substr(0, 200), allow));
    reply.headers.emplace_back("allow", allow);
  }
  reply.headers.emplace_back("x-request-id", base::RequestId::New().ToString());
  co_await exchange.Respond(reply.http_status, kJson, reply.headers, std::move(reply.body));
}

}  // namespace tollgate::http_front
