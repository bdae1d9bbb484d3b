// Each route: make the Caller, translate, await the pipeline, translate back. What headers every answer carries is in Answer; what a stream
// looks like is in SseWriter.
//
// Tested by tests/gateway/http/http_front_test.cpp.
#include "gateway/http/api.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/async/run_on.h"
#include "gateway/http/chat_reply.h"
#include "gateway/http/chat_request.h"
#include "gateway/http/probes.h"
#include "gateway/http/tokenize.h"

namespace tollgate::http_front {
namespace {

namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Outcome;
using pipeline::Reply;
using pipeline::ReplyHead;

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kChatPath = "/v1/chat/completions";
constexpr std::size_t kParseHereBytesMax = 64 * 1024;

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(a[i])) != std::tolower(static_cast<unsigned char>(b[i]))) return false;
  }
  return true;
}

std::string BearerOf(const Exchange& exchange) {
  const auto value = exchange.Header("authorization");
  if (!value || value->size() < 7 || !EqualsIgnoringCase(value->substr(0, 7), "Bearer ")) return "";
  return std::string(value->substr(7));
}

// W3C: 00-<32 hex>-<16 hex>-<2 hex>.
bool IsTraceparent(std::string_view text) {
  if (text.size() != 55 || text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (i != 2 && i != 35 && i != 52 && !hex) return false;
  }
  return true;
}

pipeline::Caller CallerOf(const Exchange& exchange) {
  pipeline::Caller caller;
  caller.bearer = BearerOf(exchange);
  caller.source = exchange.source();
  caller.surface = pipeline::Surface::kHttp;
  caller.request_id = base::RequestId::New();
  caller.received = exchange.received();
  if (const auto id = exchange.Header("x-client-request-id")) caller.client_request_id = std::string(id->substr(0, 128));
  if (const auto count = exchange.Header("x-stainless-retry-count")) {
    std::from_chars(count->data(), count->data() + count->size(), caller.retry_count);
  }
  return caller;
}

// Headers and error bodies of one request's answer.
class Answer {
 public:
  Answer(Exchange& exchange, const pipeline::Caller& caller) : exchange_(exchange) {
    headers_.emplace_back("x-request-id", caller.request_id.ToString());
    headers_.emplace_back("openai-version", "2020-10-01");
    if (const auto trace = exchange.Header("traceparent"); trace && IsTraceparent(*trace)) headers_.emplace_back("traceparent", *trace);
  }

  void Record(std::int32_t log, std::int64_t index) { headers_.emplace_back("x-tollgate-record", fmt::format("{}/{}", log, index)); }
  void Route(const std::string& route) {
    if (!route.empty()) headers_.emplace_back("x-tollgate-route", route);
  }
  void Limits(const pipeline::RateLimits& limits) { AppendLimits(limits, headers_); }
  void Overhead(std::int64_t us) { headers_.emplace_back("x-tollgate-overhead-ms", fmt::format("{}.{:03}", us / 1000, us % 1000)); }

  async::Awaitable<void> Send(int status, std::string body) {
    Processing();
    co_await exchange_.Respond(status, kJson, headers_, std::move(body));
  }

  async::Awaitable<void> Fail(const absl::Status& status) {
    const Failure failure{.status = status, .head = std::nullopt, .limits = {}};
    co_await Fail(failure);
  }

  async::Awaitable<void> Fail(const Failure& failure) {
    if (failure.head) Record(failure.head->log_id, failure.head->record_index);
    if (failure.head) Route(failure.head->route);
    Limits(failure.limits);
    const ErrorReply error = ToErrorReply(failure.status);
    co_await Fail(error);
  }

  async::Awaitable<void> Fail(const ErrorReply& error) {
    headers_.insert(headers_.end(), error.headers.begin(), error.headers.end());
    co_await Send(error.http_status, error.body);
  }

  Headers StreamHeaders(const ReplyHead& head) {
    Record(head.log_id, head.record_index);
    Route(head.route);
    Limits(head.limits);
    Processing();
    headers_.emplace_back("cache-control", "no-cache");
    headers_.emplace_back("x-accel-buffering", "no");
    return headers_;
  }

 private:
  void Processing() {
    const auto took = std::chrono::steady_clock::now() - exchange_.received();
    headers_.emplace_back("openai-processing-ms", std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  }

  Exchange& exchange_;
  Headers headers_;
};

CompletionHead HeadOf(const pipeline::Caller& caller, const ReplyHead& head, const std::string& system_fingerprint) {
  return {.id = "chatcmpl-" + caller.request_id.ToString(),
          .model = head.model,
          .created_s = head.created_s,
          .system_fingerprint = system_fingerprint};
}

// A stream as server-sent events. Before Begin nothing is sent, so that a refusal can still be a status.
class SseWriter final : public pipeline::StreamWriter {
 public:
  SseWriter(Exchange& exchange, Answer& answer, const pipeline::Caller& caller, const std::string& system_fingerprint,
            const ChatCompletionRequest& request)
      : exchange_(exchange), answer_(answer), caller_(caller), system_fingerprint_(system_fingerprint), request_(request) {}

  async::Awaitable<absl::Status> Begin(const ReplyHead& head) override {
    events_.emplace(HeadOf(caller_, head, system_fingerprint_), request_.include_usage, request_.chat.logprobs());
    const Headers headers = answer_.StreamHeaders(head);
    std::string roles;
    for (int choice = 0; choice < std::max(1, request_.chat.choices()); ++choice) roles += events_->Role(choice);
    const bool sent = co_await exchange_.BeginStream(headers, std::move(roles));
    co_return sent ? absl::OkStatus() : Gone();
  }

  async::Awaitable<absl::Status> Write(pipeline::OutputPiece piece) override {
    const bool sent = co_await exchange_.Send(events_->Piece(piece));
    co_return sent ? absl::OkStatus() : Gone();
  }

  bool begun() const { return events_.has_value(); }

  async::Awaitable<void> End(const Reply& reply) {
    if (!begun()) co_await Begin(reply.head);
    std::string last = events_->Piece(FirstOf(reply));
    for (const pipeline::OutputPiece& other : reply.more) last += events_->Piece(other);
    for (int choice = 0; choice <= static_cast<int>(reply.more.size()); ++choice) last += events_->Finish(FinishOf(reply, choice), choice);
    last += events_->Usage(reply.end.usage());
    last += kDoneEvent;
    co_await exchange_.EndStream(std::move(last), false);
  }

  // After the first byte an error is an event, and no [DONE] follows.
  async::Awaitable<void> Break(const absl::Status& status) {
    std::string last = "data: " + ToErrorReply(status).body + "\n\n";
    co_await exchange_.EndStream(std::move(last), true);
  }

 private:
  static absl::Status Gone() { return base::Cancelled("the client went away"); }

  Exchange& exchange_;
  Answer& answer_;
  const pipeline::Caller& caller_;
  const std::string& system_fingerprint_;
  const ChatCompletionRequest& request_;
  std::optional<ChunkEvents> events_;
};

std::string PercentDecode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int value = 0;
    const bool escape = text[i] == '%' && i + 2 < text.size() && std::from_chars(&text[i + 1], &text[i] + 3, value, 16).ptr == &text[i] + 3;
    out += escape ? static_cast<char>(value) : text[i];
    if (escape) i += 2;
  }
  return out;
}

bool IsTokenize(std::string_view path) { return path == "/v1/tokenize" || path == "/tokenize"; }

// Missing is fine; what curl sends by default is not.
absl::Status CheckContentType(const Exchange& exchange) {
  const auto type = exchange.Header("content-type");
  if (!type || EqualsIgnoringCase(type->substr(0, type->find(';')), kJson)) return absl::OkStatus();
  return base::InvalidArgument("The body must be JSON; send it with the header Content-Type: application/json.");
}

}  // namespace

async::Awaitable<bool> Api::Admit(Exchange& exchange) {
  const std::string_view path = PathOf(exchange.target());
  if (exchange.method() != "POST" || (path != kChatPath && !IsTokenize(path))) co_return true;
  pipeline::Caller caller;  // What Refuses looks at; the rest is for those who are let in.
  caller.bearer = BearerOf(exchange);
  caller.source = exchange.source();
  const std::optional<Failure> refusal = chat_.Refuses(caller);
  if (!refusal) co_return true;
  Answer answer(exchange, CallerOf(exchange));
  co_await answer.Fail(*refusal);
  co_return false;
}

async::Awaitable<void> Api::Handle(Exchange& exchange) {
  const bool probe = co_await AnswerProbe(exchange, probes_);
  if (probe) co_return;
  const std::string_view path = PathOf(exchange.target());
  const bool get = exchange.method() == "GET" || exchange.method() == "HEAD";
  constexpr std::string_view kModels = "/v1/models";
  if (path == kChatPath || IsTokenize(path)) {
    if (exchange.method() != "POST") {
      co_await AnswerUnknown(exchange, "POST");
    } else if (path == kChatPath) {
      co_await Chat(exchange);
    } else {
      co_await Tokenize(exchange);
    }
  } else if (path == kModels || (path.starts_with("/v1/models/") && path.size() > kModels.size() + 1)) {
    if (!get) {
      co_await AnswerUnknown(exchange, "GET, HEAD");
    } else if (path == kModels) {
      co_await ListModels(exchange);
    } else {
      co_await GetModel(exchange, PercentDecode(path.substr(kModels.size() + 1)));
    }
  } else {
    co_await AnswerUnknown(exchange, "");
  }
}

async::Awaitable<void> Api::Chat(Exchange& exchange) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  if (const absl::Status type = CheckContentType(exchange); !type.ok()) {
    const ErrorReply error = PlainError(415, "unsupported_media_type", base::Message(type));
    co_await answer.Fail(error);
    co_return;
  }
  absl::StatusOr<ChatCompletionRequest> request = base::Internal("not parsed");
  if (exchange.body().size() > kParseHereBytesMax) {
    request = co_await async::RunOn(cpu_, [&exchange] { return ParseChatCompletion(exchange.body()); });
  } else {
    request = ParseChatCompletion(exchange.body());
  }
  if (!request.ok()) {
    const absl::Status refused = request.status();
    co_await answer.Fail(refused);
    co_return;
  }
  // Its length and form are checked with the rest of the request.
  if (const auto id = exchange.Header("x-client-request-id")) request->chat.set_client_request_id(std::string(*id));
  if (const auto terms = exchange.Header("x-tollgate-accept-terms")) request->chat.set_accept_terms(std::string(*terms));
  if (const auto why = exchange.Header("x-tollgate-justification")) request->chat.set_justification(std::string(*why));
  SseWriter writer(exchange, answer, caller, system_fingerprint_, *request);
  Outcome<Reply> outcome = co_await chat_.Chat(caller, request->chat, request->stream ? &writer : nullptr, exchange.cancellation());
  const Failure* failure = std::get_if<Failure>(&outcome);
  if (failure && writer.begun()) {
    co_await writer.Break(failure->status);
  } else if (failure) {
    co_await answer.Fail(*failure);
  } else if (request->stream) {
    co_await writer.End(std::get<Reply>(outcome));
  } else {
    const Reply& reply = std::get<Reply>(outcome);
    answer.Record(reply.end.record().log_id(), reply.end.record().index());
    answer.Route(reply.head.route);
    answer.Limits(reply.head.limits);
    answer.Overhead(reply.overhead_us);
    co_await answer.Send(200, CompletionBody(HeadOf(caller, reply.head, system_fingerprint_), reply, request->chat.logprobs()));
  }
}

async::Awaitable<void> Api::Tokenize(Exchange& exchange) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  if (const absl::Status type = CheckContentType(exchange); !type.ok()) {
    const ErrorReply error = PlainError(415, "unsupported_media_type", base::Message(type));
    co_await answer.Fail(error);
    co_return;
  }
  const bool large = exchange.body().size() > kParseHereBytesMax;
  const absl::StatusOr<v1::CountTokensRequest> request =
      co_await async::RunOnIf(large, cpu_, [&exchange] { return ParseTokenize(exchange.body()); });
  if (!request.ok()) {
    const absl::Status refused = request.status();
    co_await answer.Fail(refused);
    co_return;
  }
  Outcome<v1::CountTokensReply> outcome = co_await chat_.CountTokens(caller, *request);
  if (const Failure* failure = std::get_if<Failure>(&outcome)) {
    co_await answer.Fail(*failure);
  } else {
    co_await answer.Send(200, TokenizeBody(std::get<v1::CountTokensReply>(outcome)));
  }
}

async::Awaitable<void> Api::ListModels(Exchange& exchange) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  Outcome<v1::ListModelsReply> outcome = co_await chat_.ListModels(caller);
  if (const Failure* failure = std::get_if<Failure>(&outcome)) {
    co_await answer.Fail(*failure);
  } else {
    co_await answer.Send(200, ModelListBody(std::get<v1::ListModelsReply>(outcome)));
  }
}

async::Awaitable<void> Api::GetModel(Exchange& exchange, std::string name) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  Outcome<v1::ListModelsReply> outcome = co_await chat_.ListModels(caller);
  if (const Failure* failure = std::get_if<Failure>(&outcome)) {
    co_await answer.Fail(*failure);
    co_return;
  }
  for (const v1::Model& model : std::get<v1::ListModelsReply>(outcome).models()) {
    if (model.name() != name) continue;
    co_await answer.Send(200, ModelBody(model));
    co_return;
  }
  const absl::Status missing = base::WithDetail(
      base::NotFound(fmt::format("The model `{}` does not exist, or your key may not use it; GET /v1/models names those it may.",
                                 name.substr(0, 128))),
      {.reason = "MODEL_NOT_FOUND", .param = "model", .may_retry = false});
  co_await answer.Fail(missing);
}

}  // namespace tollgate::http_front
