// Each route: make the Caller, translate, await the pipeline, translate back. What headers every answer carries is in Answer; what a stream
// looks like is in SseWriter.
//
// Tested by tests/gateway/http/http_front_test.cpp.
#include "gateway/http/api.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/http/answer.h"
#include "gateway/http/chat_reply.h"
#include "gateway/http/chat_request.h"
#include "gateway/http/header_text.h"
#include "gateway/http/probes.h"
#include "gateway/http/tokenize.h"

namespace tollgate::http_front {
namespace {

namespace v1 = tollgate::v1;
using pipeline::Failure;
using pipeline::Outcome;
using pipeline::Reply;
using pipeline::ReplyHead;

constexpr std::string_view kChatPath = "/v1/chat/completions";

CompletionHead HeadOf(const pipeline::Caller& caller, const ReplyHead& head, const std::string& system_fingerprint) {
  return {.id = "chatcmpl-" + caller.request_id.ToString(),
          .model = head.model,
          .created_s = head.created_s,
          .system_fingerprint = system_fingerprint};
}

// With it goes the reply: while a client reads megabytes of log-probabilities, nothing is kept beside their text.
std::string WholeBody(const CompletionHead& head, Reply reply, bool logprobs) { return CompletionBody(head, reply, logprobs); }

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

  void Abort() override { exchange_.Abort(); }
  std::chrono::milliseconds silence_max() const override { return exchange_.comment_every(); }

  bool begun() const { return events_.has_value(); }

  async::Awaitable<void> End(Reply reply) {
    if (!begun()) co_await Begin(reply.head);
    std::string last = events_->Piece(FirstOf(reply));
    for (const pipeline::OutputPiece& other : reply.more) last += events_->Piece(other);
    last += events_->Finish(reply);
    last += events_->Usage(reply.end.usage());
    last += kDoneEvent;
    reply = Reply();  // Not kept beside them while the client reads.
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

constexpr std::string_view kEmbeddingsPath = "/v1/embeddings";

// Under the names that vLLM has for them too.
bool IsRerank(std::string_view path) { return path == "/v1/rerank" || path == "/v2/rerank" || path == "/rerank"; }
bool IsTokenize(std::string_view path) { return path == "/v1/tokenize" || path == "/tokenize"; }

// The routes that take a body.
bool IsPosted(std::string_view path) { return path == kChatPath || path == kEmbeddingsPath || IsRerank(path) || IsTokenize(path); }

}  // namespace

async::Awaitable<std::optional<pipeline::Tenant>> Api::Admit(Exchange& exchange) {
  const std::string_view path = PathOf(exchange.target());
  if (exchange.method() != "POST" || !IsPosted(path)) {
    if (!exchange.has_body()) co_return pipeline::Tenant();
    co_await Handle(exchange);  // Which reads none here: nobody has one held in memory for nothing.
    co_return std::nullopt;
  }
  pipeline::Caller caller;  // What Admit looks at; the rest is for those who are let in.
  caller.bearer = BearerOf(exchange);
  caller.source = exchange.source();
  Outcome<pipeline::Tenant> tenant = service_.Admit(caller);
  const Failure* refusal = std::get_if<Failure>(&tenant);
  if (refusal == nullptr) co_return std::get<pipeline::Tenant>(std::move(tenant));
  Answer answer(exchange, CallerOf(exchange));
  co_await answer.Fail(*refusal);
  co_return std::nullopt;
}

async::Awaitable<void> Api::Handle(Exchange& exchange) {
  const bool probe = co_await AnswerProbe(exchange, probes_, Reasons::kKept);
  if (probe) co_return;
  const std::string_view path = PathOf(exchange.target());
  const bool get = exchange.method() == "GET" || exchange.method() == "HEAD";
  constexpr std::string_view kModels = "/v1/models";
  if (IsPosted(path)) {
    if (exchange.method() != "POST") {
      co_await AnswerUnknown(exchange, "POST");
    } else if (path == kChatPath) {
      co_await Chat(exchange);
    } else if (path == kEmbeddingsPath) {
      co_await Embed(exchange);
    } else if (IsRerank(path)) {
      co_await Rerank(exchange);
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
  std::optional<ChatCompletionRequest> request = co_await answer.Read(cpu_, &ParseChatCompletion);
  if (!request) co_return;
  const bool taken = co_await answer.TakeHeaders(request->chat);
  if (!taken) co_return;
  SseWriter writer(exchange, answer, caller, system_fingerprint_, *request);
  Outcome<Reply> outcome = co_await service_.Chat(caller, request->chat, request->stream ? &writer : nullptr, exchange.cancellation());
  const Failure* failure = std::get_if<Failure>(&outcome);
  if (failure && writer.begun()) {
    co_await writer.Break(failure->status);
  } else if (failure) {
    co_await answer.Fail(*failure);
  } else if (request->stream) {
    co_await writer.End(std::get<Reply>(std::move(outcome)));
  } else {
    Reply& reply = std::get<Reply>(outcome);
    const pipeline::Room room = reply.room;  // Until the client has it.
    answer.Of(reply);
    const CompletionHead head = HeadOf(caller, reply.head, system_fingerprint_);
    std::string body = WholeBody(head, std::move(reply), request->chat.logprobs());
    request.reset();
    co_await answer.Send(200, std::move(body));
  }
}

async::Awaitable<void> Api::Tokenize(Exchange& exchange) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  const std::optional<v1::CountTokensRequest> request = co_await answer.Read(cpu_, &ParseTokenize);
  if (!request) co_return;
  if (const absl::Status time = CheckTimeout(exchange); !time.ok()) {
    co_await answer.Fail(time);
    co_return;
  }
  Outcome<v1::CountTokensReply> outcome = co_await service_.CountTokens(caller, *request);
  if (const Failure* failure = std::get_if<Failure>(&outcome)) {
    co_await answer.Fail(*failure);
  } else {
    co_await answer.Send(200, TokenizeBody(std::get<v1::CountTokensReply>(outcome)));
  }
}

async::Awaitable<void> Api::ListModels(Exchange& exchange) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  Outcome<v1::ListModelsReply> outcome = co_await service_.ListModels(caller);
  if (const Failure* failure = std::get_if<Failure>(&outcome)) {
    co_await answer.Fail(*failure);
  } else {
    co_await answer.Send(200, ModelListBody(std::get<v1::ListModelsReply>(outcome)));
  }
}

async::Awaitable<void> Api::GetModel(Exchange& exchange, std::string name) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  Outcome<v1::ListModelsReply> outcome = co_await service_.ListModels(caller);
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
