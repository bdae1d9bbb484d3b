#include "gateway/http/error_reply.h"

#include <catch2/catch_test_macros.hpp>
#include <map>

#include "base/error_detail.h"
#include "gateway/http/response_head.h"

using namespace tollgate::http_front;
namespace base = tollgate::base;

namespace {

std::map<std::string, std::string> Map(const Headers& headers) { return {headers.begin(), headers.end()}; }

}  // namespace

TEST_CASE("Each failure has its status, type, code and retry headers") {
  using Code = absl::StatusCode;
  struct Row {
    Code code;
    base::ErrorDetail detail;
    int http;
    std::string type;
    std::string wire_code;  // JSON.
    std::string should_retry;
    std::string retry_after;  // Empty: absent.
  };
  const Row rows[] = {
      {Code::kInvalidArgument,
       {.reason = "INVALID_VALUE", .param = "n", .may_retry = false},
       400,
       "invalid_request_error",
       R"("invalid_value")",
       "false",
       ""},
      {Code::kInvalidArgument, {}, 400, "invalid_request_error", "null", "false", ""},
      {Code::kUnauthenticated,
       {.reason = "INVALID_API_KEY", .may_retry = false},
       401,
       "invalid_request_error",
       R"("invalid_api_key")",
       "false",
       ""},
      {Code::kPermissionDenied,
       {.reason = "POLICY_BLOCKED", .may_retry = false},
       403,
       "policy_violation",
       R"("content_filter")",
       "false",
       ""},
      {Code::kPermissionDenied,
       {.reason = "MODEL_NOT_GRANTED", .may_retry = false},
       403,
       "invalid_request_error",
       R"("model_not_granted")",
       "false",
       ""},
      {Code::kNotFound,
       {.reason = "MODEL_NOT_FOUND", .may_retry = false},
       404,
       "invalid_request_error",
       R"("model_not_found")",
       "false",
       ""},
      {Code::kAlreadyExists, {.reason = "IDEMPOTENCY_CONFLICT"}, 409, "invalid_request_error", R"("idempotency_conflict")", "false", ""},
      {Code::kResourceExhausted, {.reason = "REQUEST_TOO_LARGE"}, 413, "invalid_request_error", R"("request_too_large")", "false", ""},
      {Code::kFailedPrecondition, {}, 422, "invalid_request_error", "null", "false", ""},
      {Code::kResourceExhausted,
       {.reason = "RATE_LIMITED", .retry_after_ms = 1500},
       429,
       "rate_limit_exceeded",
       R"("rate_limit_exceeded")",
       "true",
       "2"},
      {Code::kResourceExhausted,
       {.reason = "QUOTA_SPENT", .may_retry = false},
       429,
       "insufficient_quota",
       R"("insufficient_quota")",
       "false",
       ""},
      {Code::kResourceExhausted,
       {.reason = "QUEUE_FULL", .retry_after_ms = 250},
       429,
       "rate_limit_exceeded",
       R"("queue_full")",
       "true",
       "1"},
      {Code::kUnavailable,
       {.reason = "AUDIT_UNAVAILABLE", .retry_after_ms = 3000},
       503,
       "server_error",
       R"("audit_unavailable")",
       "true",
       "3"},
      {Code::kUnavailable, {}, 503, "server_error", "null", "true", "1"},
      {Code::kDeadlineExceeded, {}, 504, "server_error", R"("deadline_exceeded")", "true", ""},
      {Code::kInternal, {}, 500, "server_error", "null", "true", ""},
      {Code::kDataLoss, {.reason = "X", .may_retry = false}, 500, "server_error", R"("x")", "false", ""},
      {Code::kCancelled, {}, 499, "invalid_request_error", R"("cancelled")", "false", ""},
  };
  for (const Row& row : rows) {
    INFO(static_cast<int>(row.code) << " " << row.detail.reason);
    const ErrorReply reply = ToErrorReply(base::WithDetail(base::MakeStatus(row.code, "say \"why\""), row.detail));
    CHECK(reply.http_status == row.http);
    const std::string param = row.detail.param.empty() ? "null" : "\"" + row.detail.param + "\"";
    CHECK(reply.body ==
          R"({"error":{"message":"say \"why\"","type":")" + row.type + R"(","param":)" + param + R"(,"code":)" + row.wire_code + "}}");
    auto headers = Map(reply.headers);
    CHECK(headers["x-should-retry"] == row.should_retry);
    CHECK(headers["retry-after"] == row.retry_after);
    CHECK((headers["www-authenticate"] == "Bearer") == (row.http == 401));
  }
}

TEST_CASE("The rules that refused a request stand beside the error, for programs") {
  const ErrorReply reply =
      ToErrorReply(base::WithDetail(base::PermissionDenied("no"), {.reason = "POLICY_BLOCKED", .rule_ids = {"a.b", "c"}}));
  CHECK(reply.body == R"({"error":{"message":"no","type":"policy_violation","param":null,"code":"content_filter"},)"
                      R"("tollgate":{"rules":["a.b","c"]}})");
}

TEST_CASE("A status without a detail is translated by its code alone") {
  const ErrorReply reply = ToErrorReply(base::Unauthenticated("no key"));
  CHECK(reply.http_status == 401);
  CHECK(reply.body == R"({"error":{"message":"no key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}})");
}

TEST_CASE("retry-after is in whole seconds, rounded up, beside milliseconds") {
  auto headers = Map(ToErrorReply(base::WithDetail(base::Unavailable("x"), {.retry_after_ms = 1001})).headers);
  CHECK(headers["retry-after"] == "2");
  CHECK(headers["retry-after-ms"] == "1001");
}

TEST_CASE("Reset times are written as OpenAI writes them") {
  struct Row {
    std::int64_t ms;
    std::string text;
  };
  const Row rows[] = {{-5, "0ms"},     {0, "0ms"},       {12, "12ms"},         {1000, "1s"},        {1500, "1.5s"},
                      {8640, "8.64s"}, {360000, "6m0s"}, {90061, "1m30.061s"}, {3600000, "1h0m0s"}, {86400000, "24h0m0s"}};
  for (const Row& row : rows) CHECK(FormatReset(row.ms) == row.text);
}

TEST_CASE("A response head has its date, framing and connection") {
  const base::WallTime now = base::FromMicros(1'796'083'200'000'000);  // 2026-12-01T00:00:00Z.
  CHECK(FormatHead({.status = 200, .content_type = "application/json", .content_length = 2}, {{"x-a", "b"}}, now) ==
        "HTTP/1.1 200 OK\r\ndate: Tue, 01 Dec 2026 00:00:00 GMT\r\ncontent-type: application/json\r\ncontent-length: 2\r\nx-a: b\r\n\r\n");
  CHECK(FormatHead({.status = 413, .content_length = 0, .keep_alive = false}, {}, now) ==
        "HTTP/1.1 413 Content Too Large\r\ndate: Tue, 01 Dec 2026 00:00:00 GMT\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  CHECK(FormatHead({.status = 200}, {}, now).find("transfer-encoding: chunked\r\n") != std::string::npos);
  CHECK(FormatHead({.status = 200, .http_1_0 = true}, {}, now).find("chunked") == std::string::npos);
  CHECK(FormatChunk("hello") == "5\r\nhello\r\n");
  CHECK(FormatChunk("").empty());
}
