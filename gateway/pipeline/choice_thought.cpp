// A thought is over where what follows it begins. It is decided there, to its last byte, before anything of what follows is handed on: so a
// block at its very end lets no answer out, what others are asked about it they are asked at once, and the raw output is out as it leaves.
//
// Whoever shows a thought closes it at the first text. So where a question holds the end of a thought, what stands behind it waits with it,
// and leaves not at all if the answer blocks.
//
// Tested by tests/gateway/pipeline/thought_test.cpp.
#include <utility>

#include "gateway/pipeline/choice_output.h"

namespace tollgate::pipeline {

// Tokens that end in the thought, its markers included.
void ChoiceOutput::CountThought(std::int64_t raw_end) {
  while (!tokens_.empty() && tokens_.front().text_end <= raw_end) {
    tokens_.pop_front();
    ++reasoning_tokens_;
  }
}

// Once: no second thought comes.
absl::Status ChoiceOutput::FinishThought() {
  if (blocked_ || thought_ == nullptr || std::exchange(thought_over_, true)) return absl::OkStatus();
  TG_ASSIGN(const std::string rest, thought_->Finish());
  pending_.thought += rest;
  blocked_ = thought_->blocked();
  return absl::OkStatus();
}

// It is over, and some of it may not leave before others have answered, or at all.
bool ChoiceOutput::ThoughtWaits() const { return thought_over_ && thought_->decided_bytes() < thought_->pushed_bytes(); }

}  // namespace tollgate::pipeline
