// StepBudget: how many prompt tokens may go into a step, so that sequences that are decoding wait about `target` for their next token.
// Learns what a prompt token costs from the steps that were run. One thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <vector>

namespace tollgate::inference {

class StepBudget {
 public:
  // A prompt always gets so many: it must get on, and in smaller chunks a token costs much more.
  static constexpr std::int64_t kLeast = 4;

  // What a GPU gets of a prompt beside answers. What it costs there to begin with a piece, another pass of libllama, is as much as so many
  // tokens cost: smaller ones make steps little shorter, and more of them. And as many make a prompt's part of the cache grow by the 256
  // that libllama counts in: a shape that comes twice would have CUDA's backend record a graph of it, which takes longer than the step.
  static constexpr std::int64_t kDeviceChunk = 256;

  StepBudget(std::int64_t step_tokens_max, std::chrono::microseconds target, bool on_device = false)
      : max_(step_tokens_max), target_us_(static_cast<double>(target.count())), on_device_(on_device) {}

  // Prompt tokens for a step that decodes `decoding` sequences beside them: what fits into a good half of the time that the decoding itself
  // takes. Where that is no chunk worth computing, as on processors: up to such a chunk within the target; and where several prompts wait
  // (`waiting`), a step may be longer, up to four times the target, the more they outnumber the answers. With none to disturb it may always
  // take that.
  std::int64_t PromptTokens(std::int64_t decoding, std::int64_t waiting = 1) const {
    const std::int64_t room = std::max<std::int64_t>(max_ - decoding, 0);
    if (prompt_us_ <= 0) return std::min(room, kFirst);
    const double alone = DecodeUs(decoding), gentle = kShare * alone, longest = kLongest * target_us_;
    const double chunk = (on_device_ ? kDeviceChunk : kChunk) * prompt_us_;
    const auto others = static_cast<double>(waiting - 1);
    const double crowd = decoding == 0 ? 0 : longest * others / (others + static_cast<double>(decoding));
    const double hurried = std::max(std::min(target_us_ - alone, chunk), crowd - alone);
    const double spare = decoding == 0 ? longest : gentle >= chunk ? gentle : std::max(gentle, hurried);
    const double fit = std::clamp(spare / prompt_us_, 0.0, static_cast<double>(max_));
    return std::min(room, std::max(static_cast<std::int64_t>(fit), kLeast));
  }

  void Ran(std::int64_t prompt_tokens, std::int64_t decoding, std::chrono::microseconds took) {
    const auto us = static_cast<double>(took.count());
    if (prompt_tokens == 0) {
      if (decode_us_.size() <= static_cast<std::size_t>(decoding)) decode_us_.resize(static_cast<std::size_t>(decoding) + 1);
      Mix(decode_us_[static_cast<std::size_t>(decoding)], us);
    } else if (prompt_tokens >= kLeast) {
      const double own = std::max(us - DecodeUs(decoding), us * 0.1);
      Mix(prompt_us_, std::max(own / static_cast<double>(prompt_tokens), 1e-3));
    }
  }

 private:
  static constexpr double kShare = 0.6;       // Of the decoding's time: inter-token times stay under twice what they were.
  static constexpr double kLongest = 4;       // Targets.
  static constexpr std::int64_t kChunk = 48;  // Tokens from which larger chunks gain little.
  static constexpr std::int64_t kFirst = 64;  // Before anything is known.
  static void Mix(double& mean, double sample) { mean = mean <= 0 ? sample : 0.8 * mean + 0.2 * sample; }

  // A step that only decodes so many: what such steps took, or those with the nearest fewer, or more.
  double DecodeUs(std::int64_t decoding) const {
    if (decoding <= 0) return 0;
    const auto known = [](double us) { return us > 0; };
    const auto end = decode_us_.begin() + std::min<std::ptrdiff_t>(decoding + 1, std::ssize(decode_us_));
    const auto fewer = std::find_if(std::make_reverse_iterator(end), decode_us_.rend(), known);
    if (fewer != decode_us_.rend()) return *fewer;
    const auto more = std::find_if(end, decode_us_.end(), known);
    return more != decode_us_.end() ? *more : 0;
  }

  std::int64_t max_;
  double target_us_;
  bool on_device_;
  double prompt_us_ = 0;           // A prompt token.
  std::vector<double> decode_us_;  // By the number of sequences that are decoding; 0: not known.
};

}  // namespace tollgate::inference
