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

// Words that may come in a header or in a field of the body: into `text`, which the field is in. Where both come they must say the same.
absl::Status TakeWords(const Exchange& exchange, std::string_view header, std::string_view field, std::string* text);
// OK of a request that names no time, or one that is a time, once.
absl::Status CheckTimeout(const Exchange& exchange);

// What of a request travels in headers; its form is checked with the rest.
template <typename Request>
absl::Status TakeHeaders(const Exchange& exchange, Request& request) {
  if (const auto id = exchange.Header("x-client-request-id")) request.set_client_request_id(std::string(*id));
  TG_RETURN_IF_ERROR(TakeWords(exchange, "x-tollgate-accept-terms", "accept_terms", request.mutable_accept_terms()));
  TG_RETURN_IF_ERROR(TakeWords(exchange, "x-tollgate-justification", "justification", request.mutable_justification()));
  return CheckTimeout(exchange);
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

  // As http_front::TakeHeaders; false: it was refused, and that was answered.
  template <typename Request>
  async::Awaitable<bool> TakeHeaders(Request& request) {
    const absl::Status taken = http_front::TakeHeaders(exchange_, request);
    if (!taken.ok()) co_await Fail(taken);
    co_return taken.ok();
  }

  Headers StreamHeaders(const pipeline::ReplyHead& head);

 private:
  static constexpr std::size_t kParseHereBytesMax = 64 * 1024;

  // False: what it says of its body is not plain JSON, and it was answered. Missing is fine; what curl sends by default is not.
  async::Awaitable<bool> CheckContentType();
  void Processing();

  Exchange& exchange_;
  Headers headers_;
};

}  // namespace tollgate::http_front
