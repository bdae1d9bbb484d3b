// absl's codes are gRPC's numbers, so the status is a cast; the rest is google.rpc.Status with the details that base::ErrorDetail asks for.
// The message travels twice, in percents of three bytes for each that is not ASCII, and in base64; what is too long for clients loses
// words, never its reason or whole ids.
//
// Tested by tests/gateway/grpc/grpc_front_test.cpp.
#include "gateway/grpc/grpc_status.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/error_detail.h"
#include "gateway/net/forwarded.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace tollgate::grpc_front {
namespace {

std::string_view NameOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk: return "OK";
    case absl::StatusCode::kCancelled: return "CANCELLED";
    case absl::StatusCode::kUnknown: return "UNKNOWN";
    case absl::StatusCode::kInvalidArgument: return "INVALID_ARGUMENT";
    case absl::StatusCode::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case absl::StatusCode::kNotFound: return "NOT_FOUND";
    case absl::StatusCode::kAlreadyExists: return "ALREADY_EXISTS";
    case absl::StatusCode::kPermissionDenied: return "PERMISSION_DENIED";
    case absl::StatusCode::kUnauthenticated: return "UNAUTHENTICATED";
    case absl::StatusCode::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case absl::StatusCode::kFailedPrecondition: return "FAILED_PRECONDITION";
    case absl::StatusCode::kAborted: return "ABORTED";
    case absl::StatusCode::kOutOfRange: return "OUT_OF_RANGE";
    case absl::StatusCode::kUnimplemented: return "UNIMPLEMENTED";
    case absl::StatusCode::kUnavailable: return "UNAVAILABLE";
    case absl::StatusCode::kDataLoss: return "DATA_LOSS";
    default: return "INTERNAL";
  }
}

// Clients take 8 KiB of trailers unless they are told otherwise; a connection to one that has more is in error for it. So much is the
// status's and its details' part.
constexpr std::size_t kToldBytesMax = 6'200;
constexpr std::size_t kMessageFrameBytes = 4;  // Before a message in google.rpc.Status.
constexpr std::size_t kRulesMax = 32;
constexpr std::size_t kRulesBytesMax = 1'024;
constexpr std::size_t kSubjectBytesMax = 3'000;  // Eighty approvals.
constexpr std::size_t kParamBytesMax = 256;

std::string CutAt(std::string text, std::size_t most) {
  if (text.size() > most) text.resize(base::Utf8PrefixLength(std::string_view(text).substr(0, most)));
  return text;
}

// Whole ids.
std::string SubjectOf(const std::string& subject) {
  if (subject.size() <= kSubjectBytesMax) return subject;
  const std::size_t comma = subject.rfind(',', kSubjectBytesMax);
  return comma == std::string::npos ? CutAt(subject, kSubjectBytesMax) : subject.substr(0, comma);
}

void AddRules(const std::vector<std::string>& ids, google::rpc::ErrorInfo& info) {
  std::string rules;
  std::size_t told = 0;
  for (; told < ids.size() && told < kRulesMax && rules.size() + ids[told].size() < kRulesBytesMax; ++told) {
    if (told > 0) rules += ',';
    rules += ids[told];
  }
  if (told > 0) (*info.mutable_metadata())["rules"] = rules;
  if (told < ids.size()) (*info.mutable_metadata())["rules_left_out"] = std::to_string(ids.size() - told);
}

// `described`: what violations say, beside the message.
void AddDetails(absl::StatusCode code, const base::ErrorDetail& detail, const std::string& described, google::rpc::Status& out) {
  google::rpc::ErrorInfo info;
  info.set_reason(detail.reason.empty() ? std::string(NameOf(code)) : detail.reason);
  info.set_domain("tollgate");
  AddRules(detail.rule_ids, info);
  if (!detail.subject.empty()) (*info.mutable_metadata())["subject"] = SubjectOf(detail.subject);
  if (!detail.may_retry) (*info.mutable_metadata())["retry"] = "false";
  out.add_details()->PackFrom(info);
  if (detail.retry_after_ms) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(*detail.retry_after_ms / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int>(*detail.retry_after_ms % 1000) * 1'000'000);
    out.add_details()->PackFrom(retry);
  }
  if (code == absl::StatusCode::kResourceExhausted && !detail.subject.empty()) {
    google::rpc::QuotaFailure quota;
    auto* violation = quota.add_violations();
    violation->set_subject(CutAt(detail.subject, kParamBytesMax));
    violation->set_description(described);
    out.add_details()->PackFrom(quota);
  }
  if (!detail.param.empty()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(CutAt(detail.param, kParamBytesMax));
    violation->set_description(described);
    out.add_details()->PackFrom(bad);
  }
}

// Thirds of bytes, as a byte of the message takes them: in percents where it is not printable ASCII, and in base64.
std::size_t ThirdsOf(char byte) { return (byte < ' ' || byte > '~' || byte == '%' ? 9 : 3) + 4; }

std::size_t ThirdsOf(std::string_view message) {
  std::size_t thirds = 0;
  for (const char byte : message) thirds += ThirdsOf(byte);
  return thirds;
}

std::size_t ThirdsOf(const google::rpc::Status& rich) {
  return 4 * (rich.ByteSizeLong() - rich.message().size()) + ThirdsOf(rich.message());
}

// As much of it as takes so many thirds of bytes, with a mark where it is cut.
std::string Within(std::size_t thirds, std::string_view message) {
  constexpr std::string_view kMark = "…";
  if (ThirdsOf(message) <= thirds) return std::string(message);
  thirds -= std::min(thirds, ThirdsOf(kMark));
  std::size_t end = 0;
  for (std::size_t taken = 0; end < message.size(); ++end) {
    taken += ThirdsOf(message[end]);
    if (taken > thirds) break;
  }
  return std::string(message.substr(0, base::Utf8PrefixLength(message.substr(0, end)))).append(kMark);
}

// The one value of a metadata key; nothing where there is none or more than one.
std::optional<std::string_view> One(const ::grpc::ServerContextBase& context, const char* key) {
  const auto [first, last] = context.client_metadata().equal_range(key);
  if (first == last || std::next(first) != last) return std::nullopt;
  return std::string_view(first->second.data(), first->second.size());
}

bool StartsWithBearer(std::string_view value) {
  constexpr std::string_view kScheme = "bearer ";
  if (value.size() < kScheme.size()) return false;
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    const char c = value[i] >= 'A' && value[i] <= 'Z' ? static_cast<char>(value[i] + 32) : value[i];
    if (c != kScheme[i]) return false;
  }
  return true;
}

}  // namespace

::grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return ::grpc::Status::OK;
  const std::string message = base::Message(status);
  const base::ErrorDetail detail = base::DetailOf(status).value_or(base::ErrorDetail{});
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(message);
  AddDetails(status.code(), detail, message, rich);
  if (ThirdsOf(rich) > 3 * kToldBytesMax) {
    rich.clear_details();
    rich.clear_message();
    AddDetails(status.code(), detail, "", rich);
    const std::size_t others = ThirdsOf(rich) + 4 * kMessageFrameBytes;
    rich.set_message(Within(3 * kToldBytesMax - std::min(others, 3 * kToldBytesMax), message));
  }
  return ::grpc::Status(static_cast<::grpc::StatusCode>(status.code()), rich.message(), rich.SerializeAsString());
}

std::string BearerOf(const ::grpc::ServerContextBase& context) {
  const auto value = One(context, "authorization");
  if (!value || !StartsWithBearer(*value)) return "";
  return std::string(value->substr(7));
}

std::string SourceOf(const ::grpc::ServerContextBase& context, const base::Networks& proxies) {
  // "ipv4:127.0.0.1:5000", "ipv6:%5B::1%5D:5000" (brackets as they are in older releases).
  std::string peer = context.peer();
  std::string_view rest = peer;
  if (const auto colon = rest.find(':'); colon != std::string_view::npos) rest.remove_prefix(colon + 1);
  if (const auto colon = rest.rfind(':'); colon != std::string_view::npos) rest = rest.substr(0, colon);
  if (rest.starts_with("%5B") && rest.ends_with("%5D")) rest = rest.substr(3, rest.size() - 6);
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  if (rest.starts_with("::ffff:")) rest.remove_prefix(7);
  if (proxies.empty()) return std::string(rest);
  std::vector<std::string_view> forwarded;
  const auto [first, last] = context.client_metadata().equal_range("x-forwarded-for");
  for (auto field = first; field != last; ++field) forwarded.emplace_back(field->second.data(), field->second.size());
  return net::ClientOf(rest, forwarded, proxies);
}

pipeline::Caller CallerOf(const ::grpc::ServerContextBase& context, const base::Networks& proxies) {
  pipeline::Caller caller;
  caller.bearer = BearerOf(context);
  caller.source = SourceOf(context, proxies);
  caller.surface = pipeline::Surface::kGrpc;
  caller.request_id = base::RequestId::New();
  caller.received = std::chrono::steady_clock::now();
  const auto deadline = context.deadline();
  if (deadline != std::chrono::system_clock::time_point::max()) {
    const auto left = deadline - std::chrono::system_clock::now();
    if (left < std::chrono::hours(24 * 365)) caller.deadline = caller.received + left;
  }
  if (const auto id = One(context, "x-client-request-id")) caller.client_request_id = std::string(*id);
  return caller;
}

}  // namespace tollgate::grpc_front
