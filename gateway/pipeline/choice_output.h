// ChoiceOutput: one reply between the pool and the caller: told apart into text, thought and calls, each under a filter of its own (promise
// P7). What a call's arguments say is filtered with escapes decoded; a call leaves whole, or, where its arguments are blocked, not at all.
// Where others are asked about replies, they are asked about each channel: what a question holds waits for its answer (semantic_filter.h).
// One request's coroutine; Push and TakenBack may run on another thread while nothing else is called.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/pipeline/call.h"
#include "gateway/pipeline/logprob_filter.h"
#include "gateway/pipeline/output_plan.h"
#include "gateway/pipeline/questions.h"
#include "gateway/pipeline/raw_tail.h"
#include "gateway/pipeline/retry.h"
#include "gateway/pipeline/semantic_filter.h"
#include "inference/output_parser.h"
#include "inference/output_text.h"
#include "inference/token_stream.h"
#include "policy/policy_set.h"
#include "policy/stream_filter.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

class ChoiceOutput {
 public:
  ChoiceOutput(int index, const OutputPlan& plan);  // `plan` outlives it.

  // What Push costs beside the filter: alternatives to be judged one by one.
  std::size_t AlternativesToJudge(const inference::Piece& piece) const;
  // More raw output. Errors as StreamFilter::Push.
  absl::Status Push(const inference::Piece& piece);
  absl::Status Finish();  // Its end: what was held is decided.
  int index() const { return index_; }
  // Tokens decoded so far, before the Push that brings their text.
  void Count(std::int64_t tokens);
  // Takes what others have answered, and asks what is to be asked now. `bytes_out`: released of all replies. Errors as StreamFilter::Push.
  absl::Status Consult(const std::string& model, std::chrono::steady_clock::time_point deadline, std::int64_t bytes_out);
  bool asks() const { return !asked_.empty(); }  // Others are asked about it.
  // After Finish: something is still to be asked, or answered. Consult goes on with it.
  bool waiting() const;
  // Output that came after the reply was over: for the record alone.
  void Drop(const inference::Piece& piece) { raw_.Append(piece.text, piece.tokens_delivered); }

  bool blocked() const { return blocked_; }
  bool stopped() const { return stopped_; }  // A stop string of the plan was met: what comes after is nobody's.
  bool in_thought() const { return parser_.in_thought(); }
  bool may_think() const { return parser_.may_think(); }  // In thought, or not known yet.
  std::int64_t raw_bytes() const { return raw_bytes_; }
  std::int64_t reasoning_tokens() const { return reasoning_tokens_; }
  int calls() const;

  bool empty() const;
  std::int64_t pending_bytes() const;
  // All that may leave now: nothing behind a thought that waits. What stands before `Frontier` is out once Released is called with it.
  OutputPiece Take();
  std::int64_t Frontier();
  void Released(std::int64_t frontier) { raw_.ReleaseUpTo(frontier); }

  // The next span that a rule of the plan's `retries` found.
  std::optional<FoundSpan> NextFound();
  // The same reply with no more than `kept` written, behind what Take gave of it; null: it would not have let go of all that yet.
  std::unique_ptr<ChoiceOutput> TakenBack(const inference::Piece& kept) const;

  std::int64_t pseudonyms_restored() const;
  std::int64_t delivered_tokens() const { return raw_.delivered_tokens(); }
  tollgate::v1::Verdict Verdict() const;
  tollgate::v1::Verdict ShadowVerdict() const;
  void FillGuards(tollgate::v1::EndBody& end) const;  // What was asked of others, and answered.
  // What did not go out as it was.
  void FillRaw(tollgate::v1::SealedContent& content) const;

 private:
  enum class Kind { kNone, kText, kThought, kCall };
  struct Place {
    std::int64_t raw_end;
    Kind kind;
    std::int64_t end;  // Bytes of its kind up to it; calls, with it.
  };
  // A channel, or a call, that others are asked about.
  struct Asked {
    SemanticFilter* filter = nullptr;
    std::shared_ptr<QuestionInbox> inbox;
    std::string channel;                    // As in RawSpan.
    std::unique_ptr<SemanticFilter> its{};  // A call's own: `filter`.
    tollgate::v1::ToolCall call{};          // That waits, if `withheld`.
    bool withheld = false;
  };

  absl::Status PushText(const inference::Piece& piece);
  void Give(std::string_view clear);
  void GiveText(std::string_view clear);
  void GiveHeld();
  std::int64_t Shown() const;
  std::int64_t StopBegins() const;
  absl::Status Handle(const inference::OutputPart& part);
  absl::Status HandleText(const inference::OutputPart& part);
  absl::Status HandleCall(const inference::OutputPart& part);
  absl::StatusOr<bool> HoldsBackCut(std::string_view cut);  // A call that the end cuts off, and whose rules hide some of it.
  absl::Status AskAboutCall(const inference::OutputPart& part, const std::string& channel, tollgate::v1::ToolCall call,
                            std::vector<policy::Question> questions);
  std::vector<policy::Question> About(const policy::Channel& channel) const;
  std::unique_ptr<policy::StreamFilter> Open(policy::Part part);
  void LetGo(Asked& asked);
  bool HoldsOther() const;
  void CountThought(std::int64_t raw_end);
  absl::Status FinishThought();
  bool ThoughtWaits() const;
  bool Skip(const Given& given);
  void KeepRaw(const policy::StreamFilter& filter, std::string_view channel, tollgate::v1::SealedContent& content) const;

  const int index_;
  const OutputPlan& plan_;
  const bool syntax_open_;
  inference::OutputParser parser_;
  std::deque<Asked> asked_;  // Empty if nobody is asked.
  std::unique_ptr<policy::StreamFilter> text_;
  std::unique_ptr<policy::StreamFilter> thought_;  // Once something was thought.
  inference::OutputText stops_;                    // What was let go of the text, in search of the plan's stop strings;
  std::deque<std::int64_t> gave_;                  // what was decided by each Give that is not all out;
  std::int64_t gave_count_ = 0, shown_ = 0;        // how many are, and what was decided by the last of those.
  LogprobFilter logprobs_;
  OutputPiece pending_;
  RawTail raw_;
  std::int64_t raw_bytes_ = 0;
  std::int64_t judged_ = 0;  // Of these, how many a filter was given, or were no one's; where there is more than text to tell apart.
  bool mixed_ = false;       // There is more than text.
  std::deque<inference::OutputToken> tokens_;  // Whose part has not come.
  std::deque<Place> places_;                   // Whose bytes are not all decided.
  std::int64_t frontier_ = 0;
  std::int64_t text_bytes_ = 0, thought_bytes_ = 0;  // Pushed to the text's filter, and to the thought's.
  std::int64_t reasoning_tokens_ = 0;
  bool thought_over_ = false, answered_ = false;  // All that was thought is decided; what comes after it has begun.
  bool blocked_ = false, finished_ = false, stopped_ = false, all_given_ = false;
  Given taken_;
  std::size_t looked_[2] = {0, 0};                               // At raw spans, of text and thought,
  std::vector<std::pair<std::int64_t, std::int64_t>> marks_[2];  // whose bytes end there in the raw output.
  int calls_seen_ = 0, calls_given_ = 0;
  int calls_taken_ = 0;                   // Of those seen, that may be given as far as rules go.
  tollgate::v1::SealedContent call_raw_;  // The raw spans of calls.
  tollgate::v1::Verdict call_verdict_, call_shadow_;
};

}  // namespace tollgate::pipeline
