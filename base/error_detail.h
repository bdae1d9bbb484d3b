// What a caller's program needs beside a status: a machine-readable reason and whether, and when, to try again.
// Rooms attach it; the front ends translate it (gRPC: ErrorInfo, RetryInfo, QuotaFailure; HTTP: code, Retry-After, x-should-retry).
// Never holds content or secrets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace tollgate::base {

struct ErrorDetail {
  std::string reason;  // UPPER_SNAKE: POLICY_BLOCKED, RATE_LIMITED, QUOTA_SPENT, MODEL_NOT_FOUND, INVALID_API_KEY …
  std::string param;   // The request's field at fault, as the caller names it; empty if none.
  std::optional<std::int64_t> retry_after_ms;  // Set when waiting helps.
  bool may_retry = true;                       // False: the same call will fail again (a spent budget, a block).
  std::vector<std::string> rule_ids;           // Policy rules that decided.
  std::string subject;                         // The scope whose limit was met: "team search".
};

absl::Status WithDetail(absl::Status status, const ErrorDetail& detail);

// DEADLINE_EXCEEDED of a request that has cost something: sent again it would cost that again, and take as long.
absl::Status DeadlinePassed(std::string_view message);

// What WithDetail attached; nothing if nothing was.
std::optional<ErrorDetail> DetailOf(const absl::Status& status);

}  // namespace tollgate::base
