// A slot of the upstream engine: a sequence, and the request that may be under way for it. Internal to that engine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "inference/engines/upstream_fleet.h"
#include "inference/engines/upstream_request.h"
#include "inference/grammar_follower.h"
#include "inference/grammar_rules.h"
#include "inference/prompt_side.h"
#include "inference/types.h"

namespace tollgate::inference {

// A grammar, read on the thread of who asks. Of one sequence.
struct ReadForm final : CheckedGrammar {
  explicit ReadForm(std::unique_ptr<GrammarFollower> its) : follower(std::move(its)) {}
  std::shared_ptr<CheckedGrammar> Again() const override { return std::make_shared<ReadForm>(follower->Again()); }
  std::unique_ptr<GrammarFollower> follower;
};

struct UpstreamSlot {
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> output;  // What was given out and stands.
  SamplingParams sampling;
  std::vector<LogitBias> logit_bias;
  std::vector<std::int32_t> banned;           // For the next token.
  std::string grammar;                        // Empty: none. Else
  std::unique_ptr<GrammarFollower> follower;  // how far the output's text has followed it,
  std::int64_t credit = 0;                    // and steps of it that it may still use before others do.
  std::string salt;
  std::uint64_t affinity = 0;
  int band = 0;
  std::int64_t prompt_left = 0;
  ReportedUsage reported;

  std::unique_ptr<UpstreamRequest> request;  // Under way, or over and not used up.
  UpstreamCall call;
  base::MonoTime progress_at;  // When its last token came, or it began.
  std::int64_t seen = 0;       // Tokens that had come by then, and the end, if it was told.
};

}  // namespace tollgate::inference
