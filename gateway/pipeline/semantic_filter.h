// SemanticFilter: a reply's filter with questions to others behind it. What the span rules let out waits here until every question that
// holds has been answered about it; questions that only observe hold nothing.
//
// Questions are about the reply as the span rules leave it, never about what they take out; where a pseudonym got its value back, they have
// the pseudonym, as questions about the prompt do. Pure: it says what is to be asked and is told the answers; somebody else carries them.
// One thread at a time. For each question one ask is out at most.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/pipeline/questions.h"
#include "policy/policy_set.h"
#include "policy/stream_filter.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::pipeline {

class SemanticFilter final : public policy::StreamFilter {
 public:
  static constexpr std::size_t kAskedBytesMax = 16 << 10;    // In one question; of a longer reply one window after another is asked about,
  static constexpr std::size_t kOverlapShare = 8;            // each with so many-th of it from before.
  static constexpr std::int64_t kShapeTokens = 16;           // After so many it is first looked whether a reply may become JSON.
  static constexpr std::size_t kSentenceBytesMax = 1 << 10;  // What has no sentence's end by then is asked about as it is.

  // `streamed` false: nothing leaves before the end anyway, so each question is asked there.
  SemanticFilter(std::unique_ptr<policy::StreamFilter> spans, std::shared_ptr<const policy::PolicySet> policies,
                 std::vector<policy::Question> questions, bool streamed);

  // As StreamFilter. Approved is what ends where a Push ended, so that raw and filtered text agree. After a block by a span rule nothing
  // more is asked, and what waits stays inside. Finish gives only what is approved already; the rest comes from TakeApproved, once nothing
  // is waited for.
  absl::StatusOr<std::string> Push(std::string_view raw) override;
  absl::StatusOr<std::string> Finish() override;
  bool acts() const override { return true; }
  bool blocked() const override { return stopped_by_.has_value(); }
  const policy::Verdict& verdict() const override;
  const std::vector<policy::RawSpan>& raw() const override { return stopped_by_ ? raw_ : spans_->raw(); }
  const std::vector<std::pair<std::int64_t, std::int64_t>>& replaced() const override { return spans_->replaced(); }
  std::size_t held_bytes() const override { return spans_->held_bytes(); }  // By the span rules: what waits for answers is decided text.
  std::int64_t pushed_bytes() const override { return spans_->pushed_bytes(); }
  std::int64_t decided_bytes() const override { return approved_raw_; }
  policy::Verdict VerdictBefore(std::int64_t before) const override;
  // Behind a question that holds nothing comes out at once.
  bool LetsOut(std::string_view next) const override;

  const policy::StreamFilter& spans() const { return *spans_; }

  // Tokens decoded so far, before the Push that brings their text.
  void Count(std::int64_t tokens) { tokens_ = tokens; }
  // What is to be asked now. Each is to be answered, by Answer.
  std::vector<QuestionAsk> TakeAsks();
  // `bytes_out`: of the reply, that had left or was let go by then.
  absl::Status Answer(const QuestionAnswer& answer, std::int64_t bytes_out);
  // The reply ends with the first `clear` bytes that were let out, whatever was pushed: questions go on about these alone, nothing more is
  // let out, and no span rule has blocked it. An answer about what was answered about before stops nothing any more.
  void EndAt(std::int64_t clear);
  // What answers have approved since the last Push.
  std::string TakeApproved();
  // After Finish: some question is still to be answered, or to be asked.
  bool waiting() const;

  // What may have left without an answer about it, as Verdict::not_scanned says it: the reply ended before its questions were answered.
  std::vector<std::string> unanswered() const;
  // What was asked and answered, for the record.
  std::vector<tollgate::v1::GuardOutcome> outcomes() const;
  // What guard models said to it last, with their rules.
  std::vector<std::pair<std::string, std::string>> said() const;

 private:
  struct Mark {
    std::int64_t clear = 0, raw = 0;  // Bytes let out by the span rules, and what they had decided by then.
  };
  struct State {
    policy::Question question;
    std::int64_t asked_to = 0;     // Of the clear text; all before it was asked about …
    std::int64_t answered_to = 0;  // … and answered.
    std::int64_t asked_from = 0;   // Where the text begins that the last ask showed.
    std::int64_t asked_at_tokens = 0;
    bool asked_whole = false;        // The ask that is out, or was last, is about the whole reply.
    bool out = false, done = false;  // An ask is under way; the whole reply was answered about.
    tollgate::v1::GuardOutcome outcome;
    std::string said{};  // By a guard model, last.
  };

  void Let(const std::string& text);
  policy::Verdict WithAnswers(policy::Verdict verdict) const;
  std::size_t AskedFrom(std::size_t end, std::size_t bytes_max) const;
  std::string AskedText(std::size_t at, std::size_t end) const;
  void Stop(const std::string& rule_id);
  static std::size_t WindowOf(const State& state);
  std::optional<std::int64_t> Due(const State& state) const;
  std::optional<std::int64_t> Wanted(const State& state) const;
  std::optional<std::int64_t> SentenceEnd(std::int64_t from) const;
  void Advance();

  std::unique_ptr<policy::StreamFilter> spans_;
  const std::shared_ptr<const policy::PolicySet> policies_;
  const bool streamed_;
  std::vector<State> states_;
  std::string clear_;        // All that the span rules let out.
  std::string held_raw_;     // Raw bytes from approved_raw_ on.
  std::vector<Mark> marks_;  // After each Push, those beyond what is approved.
  std::int64_t approved_ = 0, approved_raw_ = 0, taken_ = 0, tokens_ = 0;
  bool finished_ = false, ended_ = false;
  std::optional<std::string> stopped_by_;  // The rule that blocked: a span rule, or one that asks.
  policy::Verdict asked_verdict_;          // What answers add.
  mutable policy::Verdict verdict_;        // Put together when somebody asks: there may be thousands of pushes, and many spans.
  mutable bool verdict_is_old_ = true;
  std::vector<policy::RawSpan> raw_;
};

}  // namespace tollgate::pipeline
