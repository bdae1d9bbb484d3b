// OutputPlan: how the replies of one request are told apart and judged, and who is asked about them. The same for each of them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/pipeline/questions.h"
#include "gateway/pipeline/retry.h"
#include "inference/output_parser.h"
#include "policy/policy_set.h"
#include "policy/stream_filter.h"

namespace tollgate::pipeline {

struct OutputPlan {
  inference::OutputSyntax syntax;
  bool one_call = false;  // Of several calls only the first is given.
  std::function<std::unique_ptr<policy::StreamFilter>(const policy::Channel&)> open;
  bool logprobs = false;                            // Log-probabilities are wanted.
  std::shared_ptr<const policy::PolicySet> shadow;  // What `open`'s filters show their text to beside; null: nobody.
  struct Asks {
    std::function<std::vector<policy::Question>(const policy::Channel&)> about{};  // What is asked; null: nothing.
    std::shared_ptr<const policy::PolicySet> policies{};                           // Whose the questions are.
    std::function<std::shared_ptr<QuestionInbox>()> inbox{};                       // One for each channel and call.
    std::function<std::unique_ptr<policy::StreamFilter>(const policy::Channel&)>
        open{};  // For arguments as they are asked about: with pseudonyms in them.
    bool streamed = false;
    std::string tenant{};  // As in QuestionAsk.
  };
  Asks asks{};
  // Stop strings that are looked for in what may leave, behind the rules: where a reply ends must not tell what a rule hides in it.
  std::vector<std::string> stops{};
  RetryRules retries{};  // Empty where the reply cannot be taken back.
};

}  // namespace tollgate::pipeline
