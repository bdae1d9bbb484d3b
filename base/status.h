// Errors, one way: absl::Status and absl::StatusOr across every room boundary; their codes are gRPC's.
//
// The macros return early with the status of what failed. The CO_ forms are for coroutines (they `co_return`).
// In a coroutine, bind operands to named locals before `co_await`, and never await inside a conditional expression (g++ 12).
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tollgate::base {

// The status's message as a standard string: Debian's absl::string_view is a type of its own that fmt does not print.
inline std::string Message(const absl::Status& status) { return std::string(status.message().data(), status.message().size()); }

// The same status with `prefix` and ": " before its message; payloads stay. OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

absl::Status MakeStatus(absl::StatusCode code, std::string_view message);
inline absl::Status InvalidArgument(std::string_view m) { return MakeStatus(absl::StatusCode::kInvalidArgument, m); }
inline absl::Status NotFound(std::string_view m) { return MakeStatus(absl::StatusCode::kNotFound, m); }
inline absl::Status AlreadyExists(std::string_view m) { return MakeStatus(absl::StatusCode::kAlreadyExists, m); }
inline absl::Status PermissionDenied(std::string_view m) { return MakeStatus(absl::StatusCode::kPermissionDenied, m); }
inline absl::Status Unauthenticated(std::string_view m) { return MakeStatus(absl::StatusCode::kUnauthenticated, m); }
inline absl::Status ResourceExhausted(std::string_view m) { return MakeStatus(absl::StatusCode::kResourceExhausted, m); }
inline absl::Status FailedPrecondition(std::string_view m) { return MakeStatus(absl::StatusCode::kFailedPrecondition, m); }
inline absl::Status Unavailable(std::string_view m) { return MakeStatus(absl::StatusCode::kUnavailable, m); }
inline absl::Status DeadlineExceeded(std::string_view m) { return MakeStatus(absl::StatusCode::kDeadlineExceeded, m); }
inline absl::Status Cancelled(std::string_view m) { return MakeStatus(absl::StatusCode::kCancelled, m); }
inline absl::Status Aborted(std::string_view m) { return MakeStatus(absl::StatusCode::kAborted, m); }
inline absl::Status DataLoss(std::string_view m) { return MakeStatus(absl::StatusCode::kDataLoss, m); }
inline absl::Status Internal(std::string_view m) { return MakeStatus(absl::StatusCode::kInternal, m); }
inline absl::Status Unknown(std::string_view m) { return MakeStatus(absl::StatusCode::kUnknown, m); }
inline absl::Status Unimplemented(std::string_view m) { return MakeStatus(absl::StatusCode::kUnimplemented, m); }

// Ends the program with the reason: a broken invariant, never external input.
[[noreturn]] void Die(const char* file, int line, std::string_view what);

}  // namespace tollgate::base

#define TG_CONCAT_INNER(a, b) a##b
#define TG_CONCAT(a, b) TG_CONCAT_INNER(a, b)

#define TG_RETURN_IF_ERROR(expr)                                    \
  do {                                                              \
    if (auto tg_status = (expr); !tg_status.ok()) return tg_status; \
  } while (false)
#define TG_ASSIGN_INNER(tmp, lhs, expr)          \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = *std::move(tmp)
#define TG_ASSIGN(lhs, expr) TG_ASSIGN_INNER(TG_CONCAT(tg_or_, __LINE__), lhs, expr)

#define TG_CO_RETURN_IF_ERROR(expr)                                    \
  do {                                                                 \
    if (auto tg_status = (expr); !tg_status.ok()) co_return tg_status; \
  } while (false)
#define TG_CO_ASSIGN_INNER(tmp, lhs, expr)          \
  auto tmp = (expr);                                \
  if (!tmp.ok()) co_return std::move(tmp).status(); \
  lhs = *std::move(tmp)
#define TG_CO_ASSIGN(lhs, expr) TG_CO_ASSIGN_INNER(TG_CONCAT(tg_or_, __LINE__), lhs, expr)

#define TG_CHECK(cond, what)                                      \
  do {                                                            \
    if (!(cond)) ::tollgate::base::Die(__FILE__, __LINE__, what); \
  } while (false)
