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
