// What a person reads of a refusal: options and commands, never fields of the API or another surface's calls.
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "gateway/cli/remote.h"
#include "tests/gateway/cli/fake_errors.h"

using namespace tollgate::cli;

namespace {
grpc::Status Refused(const std::string& reason, const std::string& message, const std::string& field = "") {
  auto info = std::make_shared<google::rpc::ErrorInfo>();
  info->set_reason(reason);
  std::vector<std::shared_ptr<google::protobuf::Message>> details{info};
  if (!field.empty()) {
    auto bad = std::make_shared<google::rpc::BadRequest>();
    bad->add_field_violations()->set_field(field);
    details.push_back(bad);
  }
  return Rich(grpc::StatusCode::INVALID_ARGUMENT, message, details);
}

// As the gateway answers: always with a reason, and how long to wait where that helps.
grpc::Status Ours(grpc::StatusCode code, const std::string& reason, bool waiting_helps = false, bool may_retry = true) {
  auto info = std::make_shared<google::rpc::ErrorInfo>();
  info->set_reason(reason);
  info->set_domain("tollgate");
  if (!may_retry) (*info->mutable_metadata())["retry"] = "false";
  std::vector<std::shared_ptr<google::protobuf::Message>> details{info};
  if (waiting_helps) {
    auto retry = std::make_shared<google::rpc::RetryInfo>();
    retry->mutable_retry_delay()->set_seconds(1);
    details.push_back(retry);
  }
  return Rich(code, "no", details);
}
}  // namespace

TEST_CASE("A refusal is told in the words of the command line") {
  struct Row {
    grpc::Status status;
    std::string words;
  };
  const auto row = GENERATE(values<Row>({
      {Refused("INVALID_REQUEST", "top_p: must be greater than 0 and at most 1", "top_p"), "--top-p: must be greater than 0 and at most 1"},
      {Refused("INVALID_REQUEST", "messages[0].content: is not valid UTF-8", "messages"), "the prompt: is not valid UTF-8"},
      {Refused("CONTEXT_LENGTH_EXCEEDED", "messages: the prompt is 9 tokens long; shorten it", "messages"),
       "the prompt is 9 tokens long; shorten it\n  reason: CONTEXT_LENGTH_EXCEEDED"},
      {Refused("INVALID_ARGUMENT", "weight: is 0; use 0.01 to 100", "weight"), "--weight: is 0; use 0.01 to 100"},
      {Refused("INVALID_ARGUMENT", "input_per_1000: use decimal text"), "--input: use decimal text"},
      {Refused("INVALID_ARGUMENT", "expires_in_s: use 0 (never) to ten years"), "--expires: use 0 (never) to ten years"},
      {Refused("INVALID_API_KEY", "the API key is not valid; send one as `Authorization: Bearer tg_…`"),
       "the API key is not valid; give one that is in force with --key or TOLLGATE_KEY\n  reason: INVALID_API_KEY"},
      {Refused("MODEL_NOT_FOUND", "there is no model x; GET /v1/models names those you may use", "model"),
       "there is no model x; see those that you may use: tollgate models list\n  reason: MODEL_NOT_FOUND"},
      {Refused("NOT_FOUND", "there is no team 'acme/x'"), "there is no team 'acme/x'"},
      {Refused("POLICY_BLOCKED", "policy: no"), "policy: no\n  reason: POLICY_BLOCKED"},
      {grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""), "the call failed with gRPC status 12"},
      {grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "too late"), "too late (--timeout sets how long to wait)"},
      {grpc::Status(grpc::StatusCode::INTERNAL, "x", "no details at all"), "x"},
  }));
  CHECK(Describe(row.status) == row.words);
}

TEST_CASE("The exit code tells what to send again, what to look for first, and what was found wrong") {
  using Code = grpc::StatusCode;
  struct Row {
    grpc::Status status;
    int changed, read;
  };
  const auto row = GENERATE(values<Row>({
      {grpc::Status::OK, kDone, kDone},
      {Ours(Code::INVALID_ARGUMENT, "INVALID_ARGUMENT"), kRefused, kRefused},
      {Ours(Code::NOT_FOUND, "NOT_FOUND"), kRefused, kRefused},
      {Ours(Code::ALREADY_EXISTS, "ALREADY_EXISTS"), kRefused, kRefused},
      {Ours(Code::PERMISSION_DENIED, "POLICY_BLOCKED", false, false), kRefused, kRefused},
      {Ours(Code::UNAUTHENTICATED, "KEY_EXPIRED", false, false), kRefused, kRefused},
      {Ours(Code::FAILED_PRECONDITION, "SECOND_PERSON_NEEDED", false, false), kRefused, kRefused},
      {grpc::Status(Code::UNIMPLEMENTED, ""), kRefused, kRefused},
      {Ours(Code::INTERNAL, "INTERNAL"), kRefused, kRefused},
      {Ours(Code::RESOURCE_EXHAUSTED, "QUOTA_SPENT", true, false), kRefused, kRefused},  // Its reset is hours or days away.
      {Ours(Code::RESOURCE_EXHAUSTED, "MODEL_DOES_NOT_FIT", false, false), kRefused, kRefused},
      {grpc::Status(Code::RESOURCE_EXHAUSTED, "larger than max"), kRefused, kRefused},
      {Ours(Code::RESOURCE_EXHAUSTED, "RATE_LIMITED", true), kUnavailable, kUnavailable},
      {Ours(Code::RESOURCE_EXHAUSTED, "ADMIN_BUSY", true), kUnavailable, kUnavailable},
      {Ours(Code::ABORTED, "ABORTED"), kUnavailable, kUnavailable},
      {Ours(Code::UNAVAILABLE, "AUDIT_UNAVAILABLE", true), kUnavailable, kUnavailable},
      {Ours(Code::UNAVAILABLE, "UNAVAILABLE"), kUnavailable, kUnavailable},
      {Ours(Code::UNAVAILABLE, "POLICY_UNUSABLE", false, false), kRefused, kRefused},  // Until its author mends it.
      {Ours(Code::UNAVAILABLE, "AUDIT_IN_DOUBT", false, false), kInDoubt, kUnavailable},
      {grpc::Status(Code::UNAVAILABLE, "Socket closed"), kInDoubt, kUnavailable},
      {grpc::Status(Code::DEADLINE_EXCEEDED, "Deadline Exceeded"), kInDoubt, kUnavailable},
      {Ours(Code::DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", false, false), kInDoubt, kUnavailable},
      {Ours(Code::UNKNOWN, "UNKNOWN"), kInDoubt, kUnavailable},
      {grpc::Status(Code::CANCELLED, ""), kInDoubt, kUnavailable},
      {Ours(Code::DATA_LOSS, "DATA_LOSS"), kFoundWrong, kFoundWrong},
  }));
  INFO(row.status.error_code() << " " << Describe(row.status));
  CHECK(ExitCodeOf(row.status, Effect::kChanges) == row.changed);
  CHECK(ExitCodeOf(row.status, Effect::kReads) == row.read);
}
