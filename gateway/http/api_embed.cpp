// POST /v1/embeddings and /v1/rerank: as the routes of api.cpp. Answers of a hundred vectors are megabytes of digits: they are made off the
// I/O threads, and while a client reads them neither what was asked nor the numbers are kept beside them. The answer's room is held until
// then.
//
// Tested by tests/gateway/http/embed_front_test.cpp.
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/async/run_on.h"
#include "gateway/http/answer.h"
#include "gateway/http/api.h"
#include "gateway/http/embed_body.h"

namespace tollgate::http_front {
namespace {

namespace v1 = tollgate::v1;
using pipeline::EmbedAnswer;
using pipeline::Failure;
using pipeline::Outcome;
using pipeline::RerankAnswer;

constexpr std::size_t kWriteHereNumbersMax = 4096;

}  // namespace

async::Awaitable<void> Api::Embed(Exchange& exchange) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  std::optional<EmbeddingsBody> request = co_await answer.Read(cpu_, &ParseEmbeddings);
  if (!request) co_return;
  const bool taken = co_await answer.TakeHeaders(request->embed);
  if (!taken) co_return;
  Outcome<EmbedAnswer> outcome = co_await service_.Embed(caller, request->embed, exchange.cancellation());
  if (const Failure* failure = std::get_if<Failure>(&outcome)) {
    co_await answer.Fail(*failure);
    co_return;
  }
  EmbedAnswer& vectors = std::get<EmbedAnswer>(outcome);
  const bool many = vectors.numbers.size() > kWriteHereNumbersMax;
  std::string body = co_await async::RunOnIf(many, cpu_, [&] { return EmbeddingsReply(vectors, request->base64); });
  answer.Of(vectors);
  request.reset();
  std::vector<float>().swap(vectors.numbers);
  co_await answer.Send(200, std::move(body));
}

async::Awaitable<void> Api::Rerank(Exchange& exchange) {
  const pipeline::Caller caller = CallerOf(exchange);
  Answer answer(exchange, caller);
  std::optional<v1::RerankRequest> request = co_await answer.Read(cpu_, &ParseRerank);
  if (!request) co_return;
  const bool taken = co_await answer.TakeHeaders(*request);
  if (!taken) co_return;
  Outcome<RerankAnswer> outcome = co_await service_.Rerank(caller, *request, exchange.cancellation());
  if (const Failure* failure = std::get_if<Failure>(&outcome)) {
    co_await answer.Fail(*failure);
    co_return;
  }
  RerankAnswer& ranked = std::get<RerankAnswer>(outcome);
  answer.Of(ranked);
  std::string body = RerankReply(ranked, caller.request_id.ToString());
  request.reset();
  ranked.results.clear();
  co_await answer.Send(200, std::move(body));
}

}  // namespace tollgate::http_front
