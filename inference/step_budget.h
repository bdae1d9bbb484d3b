// StepBudget: how many prompt tokens may go into a step, so that sequences that are decoding wait about `target` for their next token.
// Learns what a prompt token costs from the steps that were run. One thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace tollgate::inference {

class StepBudget {
 public:
  // A prompt always gets so many: it must get on, and in smaller chunks a token costs much more.
  static constexpr std::int64_t kLeast = 4;

  StepBudget(std::int64_t step_tokens_max, std::chrono::microseconds target)
      : max_(step_tokens_max), target_us_(static_cast<double>(target.count())) {}

  // Prompt tokens for a step that decodes `decoding` sequences beside them: what fits into most of the time that the decoding itself takes;
  // where that is no chunk worth computing, as on processors, up to such a chunk within the target. With none to disturb, a step may take
  // four times the target.
  std::int64_t PromptTokens(std::int64_t decoding) const {
    const std::int64_t room = std::max<std::int64_t>(max_ - decoding, 0);
    if (prompt_us_ <= 0) return std::min(room, kFirst);
    const double gentle = kShare * decode_us_;
    const double spare = decoding == 0 ? 4 * target_us_ : std::max(gentle, std::min(target_us_ - decode_us_, kChunk * prompt_us_));
    const double fit = std::clamp(spare / prompt_us_, 0.0, static_cast<double>(max_));
    return std::min(room, std::max(static_cast<std::int64_t>(fit), kLeast));
  }

  void Ran(std::int64_t prompt_tokens, std::int64_t decoding, std::chrono::microseconds took) {
    const auto us = static_cast<double>(took.count());
    if (prompt_tokens == 0) {
      Mix(decode_us_, us);
    } else if (prompt_tokens >= kLeast) {
      const double own = std::max(us - (decoding > 0 ? decode_us_ : 0.0), us * 0.1);
      Mix(prompt_us_, std::max(own / static_cast<double>(prompt_tokens), 1e-3));
    }
  }

 private:
  static constexpr double kShare = 0.85;      // Of the decoding's time: inter-token times stay under twice what they were.
  static constexpr double kChunk = 48;        // Tokens from which larger chunks gain little.
  static constexpr std::int64_t kFirst = 64;  // Before anything is known.
  static void Mix(double& mean, double sample) { mean = mean <= 0 ? sample : 0.8 * mean + 0.2 * sample; }

  std::int64_t max_;
  double target_us_;
  double prompt_us_ = 0;  // A prompt token.
  double decode_us_ = 0;  // A step that only decodes.
};

}  // namespace tollgate::inference
