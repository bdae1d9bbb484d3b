// What every route does with a request and its answer: who calls, whether the body is JSON, and the headers and error bodies that all answers
// carry. Internal to the room.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/http/exchange.h"
#include "gateway/pipeline/call.h"

namespace tollgate::http_front {

inline constexpr std::size_t kParseHereBytesMax = 64 * 1024;  // Larger bodies are parsed off the I/O threads.

std::string BearerOf(const Exchange& exchange);
pipeline::Caller CallerOf(const Exchange& exchange);

// One request's answer: headers as they become known, then Send or Fail, once.
class Answer {
 public:
  Answer(Exchange& exchange, const pipeline::Caller& caller);

  void Record(std::int32_t log, std::int64_t index);
  void Route(const std::string& route);
  void Limits(const pipeline::RateLimits& limits) { AppendLimits(limits, headers_); }
  void Overhead(std::int64_t us);
  // All of these, of a pipeline::Reply or an answer that is like one.
  template <typename Reply>
  void Of(const Reply& reply) {
    Record(reply.end.record().log_id(), reply.end.record().index());
    Route(reply.head.route);
    Limits(reply.head.limits);
    Overhead(reply.overhead_us);
  }

  async::Awaitable<void> Send(int status, std::string body);
  async::Awaitable<void> Fail(const absl::Status& status);
  async::Awaitable<void> Fail(const pipeline::Failure& failure);
  async::Awaitable<void> Fail(const ErrorReply& error);
  // False: what it says of its body is not JSON, and it was answered. Missing is fine; what curl sends by default is not.
  async::Awaitable<bool> CheckContentType();

  Headers StreamHeaders(const pipeline::ReplyHead& head);

 private:
  void Processing();

  Exchange& exchange_;
  Headers headers_;
};

}  // namespace tollgate::http_front
