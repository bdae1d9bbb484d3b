// Headers are gathered in the order in which they become known. Tested by tests/gateway/http/http_front_test.cpp.
#include "gateway/http/answer.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/http/fields.h"
#include "gateway/http/header_text.h"

namespace tollgate::http_front {
namespace {

using pipeline::Failure;

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kTimeout = "x-tollgate-timeout-ms";

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(a[i])) != std::tolower(static_cast<unsigned char>(b[i]))) return false;
  }
  return true;
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

// Our own header is how long the caller gives the request. OpenAI's SDKs say of themselves how long they wait: for the whole of an answer,
// for a stream's head, or for the next byte.
void TakeTime(const Exchange& exchange, pipeline::Caller& caller) {
  constexpr std::chrono::milliseconds kMillisecond{1}, kSecond{1000};
  const auto after = [&](std::string_view header, std::chrono::milliseconds unit) {
    const auto value = exchange.Header(header);
    const auto time = value ? HeaderTime(*value, unit) : std::nullopt;
    return time ? std::optional(exchange.received() + *time) : std::nullopt;
  };
  caller.deadline = after(kTimeout, kMillisecond);
  caller.waits_until = after("x-stainless-timeout", kSecond);
  if (const auto read = after("x-stainless-read-timeout", kSecond)) caller.waits_until = std::max(caller.waits_until, read);
}

}  // namespace

std::string BearerOf(const Exchange& exchange) {
  const auto value = exchange.Header("authorization");
  if (!value || value->size() < 7 || !EqualsIgnoringCase(value->substr(0, 7), "Bearer ")) return "";
  return std::string(value->substr(7));
}

pipeline::Caller CallerOf(const Exchange& exchange) {
  pipeline::Caller caller;
  caller.bearer = BearerOf(exchange);
  caller.source = exchange.source();
  caller.surface = pipeline::Surface::kHttp;
  caller.request_id = base::RequestId::New();
  caller.received = exchange.received();
  if (const auto id = exchange.Header("x-client-request-id")) caller.client_request_id = std::string(*id);
  if (const auto count = exchange.Header("x-stainless-retry-count")) {
    std::from_chars(count->data(), count->data() + count->size(), caller.retry_count);
  }
  TakeTime(exchange, caller);
  return caller;
}

namespace {

// Of two that differ nobody knows which is meant, and none is as good as the other.
absl::Status CheckOnce(const Exchange& exchange, std::string_view header) {
  if (exchange.HeaderCount(header) < 2) return absl::OkStatus();
  return Refuse("INVALID_VALUE", header, fmt::format("Invalid header {}: it came more than once; send it once.", header));
}

}  // namespace

absl::Status TakeWords(const Exchange& exchange, std::string_view header, std::string_view field, std::string* text) {
  TG_RETURN_IF_ERROR(CheckOnce(exchange, header));
  const auto value = exchange.Header(header);
  if (!value || value->empty()) return absl::OkStatus();
  std::string words = HeaderWords(*value);
  if (!text->empty() && *text != words)
    return Refuse("INVALID_VALUE", field, fmt::format("Invalid '{}': the header {} says something else; send one of them.", field, header));
  *text = std::move(words);
  return absl::OkStatus();
}

absl::Status CheckTimeout(const Exchange& exchange) {
  TG_RETURN_IF_ERROR(CheckOnce(exchange, kTimeout));
  const auto value = exchange.Header(kTimeout);
  if (!value || HeaderTime(*value, std::chrono::milliseconds(1))) return absl::OkStatus();
  return Refuse("INVALID_VALUE", kTimeout, fmt::format("Invalid header {}: it must be a number of milliseconds above 0.", kTimeout));
}

Answer::Answer(Exchange& exchange, const pipeline::Caller& caller) : exchange_(exchange) {
  headers_.emplace_back("x-request-id", caller.request_id.ToString());
  headers_.emplace_back("openai-version", "2020-10-01");
  if (const auto trace = exchange.Header("traceparent"); trace && IsTraceparent(*trace)) headers_.emplace_back("traceparent", *trace);
}

void Answer::Record(std::int32_t log, std::int64_t index) { headers_.emplace_back("x-tollgate-record", fmt::format("{}/{}", log, index)); }

void Answer::Route(const pipeline::ReplyHead& head) {
  if (!head.told_route.empty()) headers_.emplace_back("x-tollgate-route", head.told_route);
  if (!head.request_id.empty()) headers_.emplace_back("x-tollgate-request-id", head.request_id);
}

void Answer::Overhead(std::int64_t us) { headers_.emplace_back("x-tollgate-overhead-ms", fmt::format("{}.{:03}", us / 1000, us % 1000)); }

async::Awaitable<void> Answer::Send(int status, std::string body) {
  Processing();
  co_await exchange_.Respond(status, kJson, headers_, std::move(body));
}

async::Awaitable<void> Answer::Fail(const absl::Status& status) {
  const Failure failure{.status = status, .head = std::nullopt, .limits = {}};
  co_await Fail(failure);
}

async::Awaitable<void> Answer::Fail(const Failure& failure) {
  if (failure.head) Record(failure.head->log_id, failure.head->record_index);
  if (failure.head) Route(*failure.head);
  Limits(failure.limits);
  const ErrorReply error = ToErrorReply(failure.status);
  co_await Fail(error);
}

async::Awaitable<void> Answer::Fail(const ErrorReply& error) {
  headers_.insert(headers_.end(), error.headers.begin(), error.headers.end());
  co_await Send(error.http_status, error.body);
}

async::Awaitable<bool> Answer::CheckContentType() {
  const auto header = exchange_.Header("content-type");
  std::string_view type = header ? header->substr(0, header->find(';')) : kJson;
  type = type.substr(0, type.find_last_not_of(" \t") + 1);
  const std::string_view coding = exchange_.Header("content-encoding").value_or("identity");
  const bool plain = EqualsIgnoringCase(coding, "identity");
  if (plain && EqualsIgnoringCase(type, kJson)) co_return true;
  const ErrorReply error = PlainError(415, "unsupported_media_type",
                                      plain ? "The body must be JSON; send it with the header Content-Type: application/json."
                                            : "The body must not be compressed; send it without the header Content-Encoding.");
  co_await Fail(error);
  co_return false;
}

Headers Answer::StreamHeaders(const pipeline::ReplyHead& head) {
  Record(head.log_id, head.record_index);
  Route(head);
  Limits(head.limits);
  Processing();
  headers_.emplace_back("cache-control", "no-cache");
  headers_.emplace_back("x-accel-buffering", "no");
  return headers_;
}

void Answer::Processing() {
  const auto took = std::chrono::steady_clock::now() - exchange_.received();
  headers_.emplace_back("openai-processing-ms", std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
}

}  // namespace tollgate::http_front
