// The steps of the demo. Each tells what it does and returns OK only if what it tells is so. Room-internal.
#pragma once

#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gateway/dev/demo_client.h"

namespace tollgate::dev {

class Demo {
 public:
  // `program` as it is typed, with its options: what the commands that the demo advises begin with.
  Demo(DemoClient& client, std::ostream& out, std::string program) : client_(client), out_(out), program_(std::move(program)) {}

  // All steps. How many failed.
  int Run();

 private:
  absl::Status Allowed();
  absl::Status RedactedIn();
  absl::Status RedactedOut();
  absl::Status Blocked();
  absl::Status QuotaEnds();
  absl::Status OnRecord();
  absl::Status Bill();

  absl::StatusOr<Answer> Ask(const std::string& key, const v1::ChatRequest& request, const std::string& shown);
  void TellLeftovers();
  absl::Status Tokens(std::map<std::string, std::int64_t>& by_team);

  DemoClient& client_;
  std::ostream& out_;
  const std::string program_;
  std::vector<Answer> answers_;                      // Every request, in order.
  std::map<std::string, std::int64_t> used_;         // Tokens of the demo's own requests, by team.
  std::map<std::string, std::int64_t> used_before_;  // What the bill said before the demo.
};

// The sentences of the step that shows redaction going out: the model is asked to repeat one. For the test that runs the policy over them.
std::vector<std::string> SentencesToRepeat();
inline constexpr const char* kPersonalPrompt =
    "My card is 4111 1111 1111 1111 and my e-mail is ann@acme.example. Please confirm my order in one sentence.";
inline constexpr const char* kBlockedPrompt = "When does Project Falcon launch?";

}  // namespace tollgate::dev
