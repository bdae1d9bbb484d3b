// The detail travels as a tollgate.v1.ErrorDetail in a payload of the status, under the type URL that gRPC would use.
// Tested by tests/base/status_test.cpp.
#include "base/error_detail.h"

#include "absl/strings/cord.h"

#include "tollgate/v1/error.pb.h"

namespace tollgate::base {
namespace {

constexpr char kTypeUrl[] = "type.googleapis.com/tollgate.v1.ErrorDetail";

}  // namespace

absl::Status WithDetail(absl::Status status, const ErrorDetail& detail) {
  if (status.ok()) return status;
  v1::ErrorDetail message;
  message.set_reason(detail.reason);
  message.set_param(detail.param);
  if (detail.retry_after_ms) message.set_retry_after_ms(*detail.retry_after_ms);
  message.set_may_retry(detail.may_retry);
  for (const std::string& rule : detail.rule_ids) message.add_rule_ids(rule);
  message.set_subject(detail.subject);
  status.SetPayload(kTypeUrl, absl::Cord(message.SerializeAsString()));
  return status;
}

absl::Status DeadlinePassed(std::string_view message) {
  return WithDetail(DeadlineExceeded(message), {.reason = "DEADLINE_EXCEEDED", .may_retry = false});
}

std::optional<ErrorDetail> DetailOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kTypeUrl);
  v1::ErrorDetail message;
  if (!payload || !message.ParseFromString(std::string(*payload))) return std::nullopt;
  ErrorDetail detail;
  detail.reason = message.reason();
  detail.param = message.param();
  if (message.has_retry_after_ms()) detail.retry_after_ms = message.retry_after_ms();
  detail.may_retry = message.may_retry();
  detail.rule_ids.assign(message.rule_ids().begin(), message.rule_ids().end());
  detail.subject = message.subject();
  return detail;
}

}  // namespace tollgate::base
