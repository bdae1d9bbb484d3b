// Stop strings are looked for in the text as it leaves. Where each piece of that text ends there is a mark of what the rules had decided by
// then: the raw output is out up to the last mark whose text is. Behind a stop string no mark is passed.
//
// A piece may hold a stop string and, behind it, what a rule finds: had it come in two pieces, nobody would have asked for the second. So a
// stop string that leaves comes before a block, and what begins behind it is in no verdict. Others are asked about what stands before it.
//
// Tested by tests/gateway/pipeline/choice_output_test.cpp and tests/gateway/pipeline/stops_test.cpp.
#include "gateway/pipeline/choice_output.h"

namespace tollgate::pipeline {

// Where stop strings are looked for, token by token: so it is known to the token what stands before one. The text comes with the first;
// where log-probabilities are wanted it waits for its tokens.
absl::Status ChoiceOutput::PushText(const inference::Piece& piece) {
  const bool split = !plan_.stops.empty() && plan_.logprobs && piece.tokens.size() > 1;
  inference::Piece one;
  for (std::size_t i = 0; i == 0 || (split && i < piece.tokens.size()); ++i) {
    if (blocked_ || stopped_) break;
    if (split) {
      one.text = i == 0 ? piece.text : "";
      one.tokens.assign(1, piece.tokens[i]);
    }
    TG_ASSIGN(const std::string clear, logprobs_.Push(split ? one : piece, *text_));
    GiveText(clear);
  }
  return absl::OkStatus();
}

// What the text's filter let out last.
void ChoiceOutput::GiveText(std::string_view clear) {
  Give(clear);
  blocked_ = blocked_ || (text_->blocked() && !stopped_);
  GiveHeld();
}

// What may leave of the text, but for what may become a stop string.
void ChoiceOutput::Give(std::string_view clear) {
  if (plan_.stops.empty()) {
    pending_.text += clear;
    return;
  }
  if (stopped_ || all_given_) return;
  gave_.push_back(text_->decided_bytes());
  stopped_ = stops_.Append(clear, pending_.text);
  for (; gave_count_ < stops_.delivered(); ++gave_count_) {
    shown_ = gave_.front();
    gave_.pop_front();
  }
  for (const Asked& asked : asked_) {
    if (stopped_ && asked.filter == text_.get()) asked.filter->EndAt(taken_.text + static_cast<std::int64_t>(pending_.text.size()));
  }
  GiveHeld();
}

// Nothing more comes that could make it a stop string.
void ChoiceOutput::GiveHeld() {
  if (plan_.stops.empty() || stopped_ || all_given_ || !(blocked_ || (finished_ && !waiting()))) return;
  all_given_ = true;
  stops_.Finish(pending_.text);
  shown_ = text_->decided_bytes();
}

// Of the text's raw bytes, those whose text may leave.
std::int64_t ChoiceOutput::Shown() const { return plan_.stops.empty() ? text_->decided_bytes() : shown_; }

// Where in the text's raw bytes the stop string begins that was met. In the middle of what stands for others: behind the first of these.
std::int64_t ChoiceOutput::StopBegins() const {
  std::int64_t at = taken_.text + static_cast<std::int64_t>(pending_.text.size());  // All that leaves; then the same in raw bytes.
  const std::int64_t clear = at;
  for (std::size_t i = 0; i < text_->replaced().size(); ++i) {
    const auto [begin, end] = text_->replaced()[i];
    if (begin >= clear) break;
    const policy::RawSpan& raw = text_->raw()[i];
    if (end > clear) return raw.offset + 1;
    at += static_cast<std::int64_t>(raw.bytes.size()) - (end - begin);
  }
  return at;
}

}  // namespace tollgate::pipeline
