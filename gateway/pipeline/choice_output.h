// ChoiceOutput: one reply between the pool and the caller: told apart into text, thought and calls, each under a filter of its own (promise
// P7). What a call's arguments say is filtered with escapes decoded; a call leaves whole, or, where its arguments are blocked, not at all.
// One request's coroutine; Push may run on another thread while nothing else is called.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/logprob_gate.h"
#include "gateway/pipeline/raw_tail.h"
#include "inference/output_parser.h"
#include "inference/token_stream.h"
#include "policy/policy_set.h"
#include "policy/stream_filter.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

// The same for each reply of a request.
struct OutputPlan {
  inference::OutputSyntax syntax;
  bool one_call = false;  // Of several calls only the first is given.
  std::function<std::unique_ptr<policy::StreamFilter>()> open;  // A filter for one channel.
  LogprobGate::OpenFilter logprobs;                             // Null: none are wanted.
  std::shared_ptr<const policy::PolicySet> shadow;              // What `open`'s filters show their text to beside; null: nobody.
};

class ChoiceOutput {
 public:
  ChoiceOutput(int index, const OutputPlan& plan);  // `plan` outlives it.

  // What Push costs beside the filter: alternatives to be judged one by one.
  std::size_t AlternativesToJudge(const inference::Piece& piece) const;
  // More raw output. Errors as StreamFilter::Push.
  absl::Status Push(const inference::Piece& piece);
  // Its end: what was held is decided.
  absl::Status Finish();
  int index() const { return index_; }
  // Output that came after the reply was over: for the record alone.
  void Drop(const inference::Piece& piece) { raw_.Append(piece.text, piece.tokens_delivered); }

  bool blocked() const { return blocked_; }
  bool in_thought() const { return parser_.in_thought(); }
  bool may_think() const { return parser_.may_think(); }  // In thought, or not known yet.
  std::int64_t raw_bytes() const { return raw_bytes_; }
  std::int64_t reasoning_tokens() const { return reasoning_tokens_; }
  int calls() const { return calls_given_; }

  bool empty() const { return pending_.text.empty() && pending_.thought.empty() && pending_.calls.empty(); }
  std::int64_t pending_bytes() const;
  // All that may leave now. What stands before `Frontier` is out once Released is called with it.
  OutputPiece Take();
  std::int64_t Frontier();
  void Released(std::int64_t frontier) { raw_.ReleaseUpTo(frontier); }

  std::int64_t delivered_tokens() const { return raw_.delivered_tokens(); }
  tollgate::v1::Verdict Verdict() const;
  tollgate::v1::Verdict ShadowVerdict() const;
  // What did not go out as it was.
  void FillRaw(tollgate::v1::SealedContent& content) const;

 private:
  enum class Channel { kNone, kText, kThought };
  struct Place {
    std::int64_t raw_end;
    Channel channel;
    std::int64_t end;  // Bytes of the channel up to it.
  };

  absl::Status Handle(const inference::OutputPart& part);
  absl::Status HandleText(const inference::OutputPart& part);
  absl::Status HandleCall(const inference::OutputPart& part);
  void CountThought(std::int64_t raw_end);
  policy::StreamFilter& Thought();
  void KeepRaw(const policy::StreamFilter& filter, std::string_view channel, tollgate::v1::SealedContent& content) const;

  const int index_;
  const OutputPlan& plan_;
  const bool syntax_open_;
  inference::OutputParser parser_;
  std::unique_ptr<policy::StreamFilter> text_;
  std::unique_ptr<policy::StreamFilter> thought_;  // Once something was thought.
  LogprobGate gate_;
  OutputPiece pending_;
  RawTail raw_;
  std::int64_t raw_bytes_ = 0;
  bool mixed_ = false;       // There is more than text.
  std::deque<inference::OutputToken> tokens_;  // Whose part has not come.
  std::deque<Place> places_;                   // Whose bytes are not all decided.
  std::int64_t frontier_ = 0;
  std::int64_t text_bytes_ = 0;  // Pushed to the text's filter, and to the thought's.
  std::int64_t thought_bytes_ = 0;
  std::int64_t reasoning_tokens_ = 0;
  bool thinking_ = false;  // A thought has begun,
  bool answered_ = false;  // and what comes after it.
  bool blocked_ = false;
  int calls_seen_ = 0;
  int calls_given_ = 0;
  tollgate::v1::SealedContent call_raw_;  // The raw spans of calls.
  tollgate::v1::Verdict call_verdict_, call_shadow_;
};

}  // namespace tollgate::pipeline
