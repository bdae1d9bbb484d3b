// Status macros and the error detail that travels in a status.
#include <catch2/catch_test_macros.hpp>

#include "base/error_detail.h"
#include "base/status.h"

using namespace tollgate::base;

namespace {

absl::StatusOr<int> Half(int n) {
  if (n % 2 != 0) return InvalidArgument("odd");
  return n / 2;
}

absl::StatusOr<int> Quarter(int n) {
  TG_ASSIGN(const int half, Half(n));
  TG_ASSIGN(const int quarter, Half(half));
  return quarter;
}

absl::Status Check(int n) {
  TG_RETURN_IF_ERROR(Half(n).status());
  return absl::OkStatus();
}

}  // namespace

TEST_CASE("The macros assign, or return what failed") {
  CHECK(*Quarter(8) == 2);
  CHECK(Message(Quarter(6).status()) == "odd");
  CHECK(Check(4).ok());
  CHECK(Check(5).code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("A detail comes back as it was attached, also through Annotate") {
  ErrorDetail detail;
  detail.reason = "QUOTA_SPENT";
  detail.param = "max_tokens";
  detail.retry_after_ms = 0;
  detail.may_retry = false;
  detail.rule_ids = {"pii.card", "no-codenames"};
  detail.subject = "team search";
  const absl::Status status = Annotate(WithDetail(ResourceExhausted("spent"), detail), "reserve");
  CHECK(Message(status) == "reserve: spent");
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  const auto back = DetailOf(status);
  REQUIRE(back.has_value());
  CHECK(back->reason == detail.reason);
  CHECK(back->param == detail.param);
  CHECK(back->retry_after_ms == 0);
  CHECK_FALSE(back->may_retry);
  CHECK(back->rule_ids == detail.rule_ids);
  CHECK(back->subject == detail.subject);
}

TEST_CASE("Without a detail there is none, OK takes none, and an absent retry hint stays absent") {
  CHECK_FALSE(DetailOf(Internal("x")).has_value());
  CHECK(WithDetail(absl::OkStatus(), ErrorDetail{.reason = "X"}).ok());
  CHECK(Annotate(absl::OkStatus(), "x").ok());
  const auto detail = DetailOf(WithDetail(Internal("x"), ErrorDetail{.reason = "X"}));
  CHECK_FALSE(detail->retry_after_ms.has_value());
  CHECK(detail->may_retry);
}
