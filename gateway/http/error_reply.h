// A failure in OpenAI's form: HTTP status, {"error":{message,type,param,code}} and the headers that steer a client's retries. Pure;
// thread-safe. README.md has the table.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "gateway/pipeline/call.h"

namespace tollgate::http_front {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct ErrorReply {
  int http_status = 500;
  std::string body;  // JSON.
  Headers headers;   // Retry-After, retry-after-ms, x-should-retry, WWW-Authenticate: those that apply.
};

ErrorReply ToErrorReply(const absl::Status& status);

// Errors of HTTP itself, which have no absl code: 404 of a path, 405, 408, 413, 415, 431. Never worth a retry.
ErrorReply PlainError(int http_status, std::string_view code, std::string_view message);

// A request that cannot be read; the limits in bytes.
ErrorReply NotHttp();
ErrorReply BodyTooLarge(std::int64_t bytes_max);
ErrorReply HeadTooLarge(std::size_t fields_max, std::int64_t bytes_max);

// "12ms", "1.5s", "6m0s", "1h0m0s", as the x-ratelimit-reset-* headers have it.
std::string FormatReset(std::int64_t ms);

// x-ratelimit-{limit,remaining,reset}-{requests,tokens} of what is known.
void AppendLimits(const pipeline::RateLimits& limits, Headers& headers);

}  // namespace tollgate::http_front
