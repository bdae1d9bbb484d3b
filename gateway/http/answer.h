// What every route does with a request and its answer: who calls, whether the body is JSON, and the headers and error bodies that all
// answers carry. Internal to the room.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "gateway/async/run_on.h"
#include "gateway/http/exchange.h"
#include "gateway/pipeline/call.h"

namespace tollgate::http_front {

std::string BearerOf(const Exchange& exchange);
pipeline::Caller CallerOf(const Exchange& exchange);

// What of a request travels in headers; its form is checked with the rest.
template <typename Request>
void TakeHeaders(const Exchange& exchange, Request& request) {
  if (const auto id = exchange.Header("x-client-request-id")) request.set_client_request_id(std::string(*id));
  if (const auto terms = exchange.Header("x-tollgate-accept-terms")) request.set_accept_terms(std::string(*terms));
  if (const auto why = exchange.Header("x-tollgate-justification")) request.set_justification(std::string(*why));
}

// One request's answer: headers as they become known, then Send or Fail, once.
class Answer {
 public:
  Answer(Exchange& exchange, const pipeline::Caller& caller);

  void Record(std::int32_t log, std::int64_t index);
  void Route(const pipeline::ReplyHead& head);
  void Limits(const pipeline::RateLimits& limits) { AppendLimits(limits, headers_); }
  void Overhead(std::int64_t us);
  // All of these, of a pipeline::Reply or an answer that is like one.
  template <typename Reply>
  void Of(const Reply& reply) {
    Record(reply.end.record().log_id(), reply.end.record().index());
    Route(reply.head);
    Limits(reply.head.limits);
    Overhead(reply.overhead_us);
  }

  async::Awaitable<void> Send(int status, std::string body);
  async::Awaitable<void> Fail(const absl::Status& status);
  async::Awaitable<void> Fail(const pipeline::Failure& failure);
  async::Awaitable<void> Fail(const ErrorReply& error);
  // The body as `parse` reads it, on `cpu` from 64 KiB; nothing: it is not JSON, or was refused, and that was answered.
  template <typename Body>
  async::Awaitable<std::optional<Body>> Read(boost::asio::any_io_executor cpu, absl::StatusOr<Body> (*parse)(std::string_view)) {
    const bool json = co_await CheckContentType();
    if (!json) co_return std::nullopt;
    const bool large = exchange_.body().size() > kParseHereBytesMax;
    absl::StatusOr<Body> body = co_await async::RunOnIf(large, std::move(cpu), [this, parse] { return parse(exchange_.body()); });
    exchange_.DropBody();
    if (body.ok()) co_return *std::move(body);
    const absl::Status refused = body.status();
    co_await Fail(refused);
    co_return std::nullopt;
  }

  Headers StreamHeaders(const pipeline::ReplyHead& head);

 private:
  static constexpr std::size_t kParseHereBytesMax = 64 * 1024;

  // False: what it says of its body is not JSON, and it was answered. Missing is fine; what curl sends by default is not.
  async::Awaitable<bool> CheckContentType();
  void Processing();

  Exchange& exchange_;
  Headers headers_;
};

}  // namespace tollgate::http_front
