// The reason in base::ErrorDetail decides first, then absl's code. Codes that OpenAI's clients know keep OpenAI's names; others are the
// reason in lower case.
//
// Tested by tests/gateway/http/error_reply_test.cpp.
#include "gateway/http/error_reply.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include <fmt/format.h>

#include "base/error_detail.h"
#include "gateway/http/json_out.h"

namespace tollgate::http_front {
namespace {

using Code = absl::StatusCode;

constexpr std::string_view kInvalidRequest = "invalid_request_error";
constexpr std::string_view kServerError = "server_error";
constexpr std::int64_t kDefaultRetryMs = 1000;  // Of a 503 whose maker gave no hint.

struct Class {
  int http_status;
  std::string_view type;
  std::string_view code;  // Empty: the reason in lower case, or null where there is none.
};

// Reasons with names and statuses of their own.
struct ByReason {
  Code code;
  std::string_view reason;
  Class is;
};
constexpr ByReason kByReason[] = {
    {Code::kPermissionDenied, "POLICY_BLOCKED", {403, "policy_violation", "content_filter"}},
    {Code::kResourceExhausted, "QUOTA_SPENT", {429, "insufficient_quota", "insufficient_quota"}},
    {Code::kResourceExhausted, "RATE_LIMITED", {429, "rate_limit_exceeded", "rate_limit_exceeded"}},
    {Code::kResourceExhausted, "REQUEST_TOO_LARGE", {413, kInvalidRequest, "request_too_large"}},
};

Class ByCode(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
    case Code::kUnimplemented: return {400, kInvalidRequest, ""};
    case Code::kUnauthenticated: return {401, kInvalidRequest, "invalid_api_key"};
    case Code::kPermissionDenied: return {403, kInvalidRequest, ""};
    case Code::kNotFound: return {404, kInvalidRequest, "model_not_found"};
    case Code::kAlreadyExists:
    case Code::kAborted: return {409, kInvalidRequest, ""};
    case Code::kFailedPrecondition: return {422, kInvalidRequest, ""};
    case Code::kResourceExhausted: return {429, "rate_limit_exceeded", ""};
    case Code::kCancelled: return {499, kInvalidRequest, "cancelled"};
    case Code::kUnavailable: return {503, kServerError, ""};
    case Code::kDeadlineExceeded: return {504, kServerError, "deadline_exceeded"};
    default: return {500, kServerError, ""};
  }
}

Class Classify(Code code, std::string_view reason) {
  for (const ByReason& row : kByReason) {
    if (row.code == code && row.reason == reason) return row.is;
  }
  return ByCode(code);
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string Body(std::string_view message, std::string_view type, std::string_view param, std::string_view code,
                 const std::vector<std::string>& rules = {}) {
  std::string out = R"({"error":{"message":)";
  AppendJsonString(out, message);
  out += R"(,"type":)";
  AppendJsonString(out, type);
  out += R"(,"param":)";
  AppendJsonStringOrNull(out, param);
  out += R"(,"code":)";
  AppendJsonStringOrNull(out, code);
  out += '}';
  for (std::size_t i = 0; i < rules.size(); ++i) {
    out += i == 0 ? R"(,"tollgate":{"rules":[)" : ",";
    AppendJsonString(out, rules[i]);
  }
  out += rules.empty() ? "}" : "]}}";
  return out;
}

// SDKs retry 408, 409, 429 and 5xx unless they are told not to.
void AppendRetry(int http_status, const base::ErrorDetail& detail, Headers& headers) {
  const bool temporary = http_status == 429 || http_status >= 500;
  const bool retry = temporary && detail.may_retry;
  std::int64_t wait_ms = detail.retry_after_ms.value_or(http_status == 503 && retry ? kDefaultRetryMs : 0);
  if (wait_ms > 0 && temporary) {
    headers.emplace_back("retry-after", std::to_string((wait_ms + 999) / 1000));
    headers.emplace_back("retry-after-ms", std::to_string(wait_ms));
  }
  headers.emplace_back("x-should-retry", retry ? "true" : "false");
}

}  // namespace

ErrorReply ToErrorReply(const absl::Status& status) {
  const base::ErrorDetail detail = base::DetailOf(status).value_or(base::ErrorDetail{});
  const Class is = Classify(status.code(), detail.reason);
  ErrorReply reply;
  reply.http_status = is.http_status;
  // gRPC's name of the group is not part of this surface's field names.
  std::string_view param = detail.param;
  if (param.starts_with("sampling.")) param.remove_prefix(9);
  reply.body = Body(base::Message(status), is.type, param, is.code.empty() ? Lower(detail.reason) : std::string(is.code), detail.rule_ids);
  AppendRetry(is.http_status, detail, reply.headers);
  if (is.http_status == 401) reply.headers.emplace_back("www-authenticate", "Bearer");
  return reply;
}

ErrorReply PlainError(int http_status, std::string_view code, std::string_view message) {
  ErrorReply reply;
  reply.http_status = http_status;
  reply.body = Body(message, kInvalidRequest, "", code);
  reply.headers.emplace_back("x-should-retry", "false");
  return reply;
}

ErrorReply NotHttp() { return PlainError(400, "bad_request", "The request is not valid HTTP/1.1; send it with a common HTTP client."); }

ErrorReply BodyTooLarge(std::int64_t bytes_max) {
  return PlainError(413, "request_too_large", fmt::format("The request body is larger than {} bytes; send a shorter prompt.", bytes_max));
}

ErrorReply HeadTooLarge(std::size_t fields_max, std::int64_t bytes_max) {
  return PlainError(
      431, "headers_too_large",
      fmt::format("The request has more than {} header fields, or they are larger than {} bytes; send fewer.", fields_max, bytes_max));
}

std::string FormatReset(std::int64_t ms) {
  if (ms < 0) ms = 0;
  if (ms < 1000) return fmt::format("{}ms", ms);
  const std::int64_t hours = ms / 3'600'000;
  const std::int64_t minutes = ms / 60'000 % 60;
  std::string seconds = std::to_string(ms / 1000 % 60);
  if (ms % 1000 != 0) {
    seconds += fmt::format(".{:03}", ms % 1000);
    while (seconds.back() == '0') seconds.pop_back();
  }
  if (hours > 0) return fmt::format("{}h{}m{}s", hours, minutes, seconds);
  if (minutes > 0) return fmt::format("{}m{}s", minutes, seconds);
  return seconds + "s";
}

void AppendLimits(const pipeline::RateLimits& limits, Headers& headers) {
  const auto one = [&](std::string_view what, const std::optional<pipeline::RateLimits::One>& limit) {
    if (!limit) return;
    headers.emplace_back(fmt::format("x-ratelimit-limit-{}", what), std::to_string(limit->limit));
    headers.emplace_back(fmt::format("x-ratelimit-remaining-{}", what), std::to_string(limit->remaining));
    headers.emplace_back(fmt::format("x-ratelimit-reset-{}", what), FormatReset(limit->reset_ms));
  };
  one("requests", limits.requests);
  one("tokens", limits.tokens);
}

}  // namespace tollgate::http_front
