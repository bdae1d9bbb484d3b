// All offsets are of the clear text: what the span rules let out, in order. A question has asked up to some point and is answered up to
// some point; the least of those that hold is approved and may leave. Marks join clear text and raw text, so that whatever else goes by the
// raw position (log-probabilities, the record's tail) waits with it.
//
// Tested by tests/gateway/pipeline/semantic_filter_test.cpp.
#include "gateway/pipeline/semantic_filter.h"

#include <algorithm>
#include <utility>

#include "gateway/pipeline/records.h"
#include "policy/guard_model.h"
#include "policy/topic.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using policy::Question;

constexpr std::size_t kEverything = std::size_t{1} << 40;

SemanticFilter::SemanticFilter(std::unique_ptr<policy::StreamFilter> spans, std::shared_ptr<const policy::PolicySet> policies,
                               std::vector<Question> questions, bool streamed)
    : spans_(std::move(spans)), policies_(std::move(policies)), streamed_(streamed) {
  for (Question& question : questions) {
    State& state = states_.emplace_back();
    state.outcome.set_rule_id(question.rule_id);
    state.outcome.set_detector(question.detector());
    state.outcome.set_name(question.name);
    state.outcome.set_output(true);
    state.outcome.set_least_score_millionths(question.least_score_millionths);
    state.question = std::move(question);
  }
}

absl::StatusOr<std::string> SemanticFilter::Push(std::string_view raw) {
  held_raw_ += raw;
  TG_ASSIGN(const std::string text, spans_->Push(raw));
  if (stopped_by_) {
    raw_.back().bytes += raw;
    return std::string();
  }
  Let(text);
  return TakeApproved();
}

absl::StatusOr<std::string> SemanticFilter::Finish() {
  TG_ASSIGN(const std::string text, spans_->Finish());
  finished_ = true;
  if (!stopped_by_) Let(text);
  return stopped_by_ ? std::string() : TakeApproved();
}

void SemanticFilter::Let(const std::string& text) {
  if (ended_) return;
  clear_ += text;
  marks_.push_back({static_cast<std::int64_t>(clear_.size()), spans_->decided_bytes()});
  Advance();
  if (spans_->blocked()) Stop(spans_->raw().back().rule_id);
}

// Nothing more leaves: what waits stays inside, and is on record as it was decoded.
void SemanticFilter::Stop(const std::string& rule_id) {
  stopped_by_ = rule_id;
  raw_ = spans_->raw();
  std::erase_if(raw_, [&](const policy::RawSpan& span) { return span.offset >= approved_raw_; });
  raw_.push_back({rule_id, approved_raw_, held_raw_});
}

// What has left is approved, so that only questions which hold nothing are left to be asked.
void SemanticFilter::EndAt(std::int64_t clear) {
  ended_ = true;
  clear_.resize(std::min(clear_.size(), static_cast<std::size_t>(clear)));
  approved_ = taken_ = static_cast<std::int64_t>(clear_.size());
  marks_.clear();
  for (State& state : states_) {
    state.done = state.done || (state.question.shape == nullptr && state.answered_to >= approved_);
    state.asked_to = std::min(state.asked_to, approved_);
    state.answered_to = std::min(state.answered_to, approved_);
  }
  if (asked_verdict_.action != policy::Action::kBlock) stopped_by_.reset();
}

// Where the last sentence ends behind `from`: behind a line's end, or a mark with white space after it.
std::optional<std::int64_t> SemanticFilter::SentenceEnd(std::int64_t from) const {
  for (std::size_t at = clear_.size(); at > static_cast<std::size_t>(from); --at) {
    const char c = clear_[at - 1];
    const bool ends = c == '\n' || ((c == '.' || c == '!' || c == '?') && at < clear_.size() && (clear_[at] == ' ' || clear_[at] == '\n'));
    if (ends) return static_cast<std::int64_t>(at);
  }
  const bool long_enough = clear_.size() - static_cast<std::size_t>(from) >= kSentenceBytesMax;
  return long_enough ? std::optional(static_cast<std::int64_t>(clear_.size())) : std::nullopt;
}

// Of the reply's end, at most so much is shown at once.
std::size_t SemanticFilter::WindowOf(const State& state) {
  if (state.question.shape != nullptr) return kEverything;
  if (state.question.topic != nullptr) return static_cast<std::size_t>(state.question.topic->reply_bytes);
  return state.question.guard == nullptr ? kAskedBytesMax : static_cast<std::size_t>(state.question.guard->reply_bytes);
}

// Up to where the question is to be asked about now: no further than a window shows all that was not shown yet, and some before it.
std::optional<std::int64_t> SemanticFilter::Due(const State& state) const {
  std::optional<std::int64_t> to = Wanted(state);
  const std::size_t window = WindowOf(state);
  const auto most = state.asked_to + static_cast<std::int64_t>(window - window / kOverlapShare);
  if (!to || *to <= most) return to;
  to = most;
  while (*to > state.asked_to && (static_cast<unsigned char>(clear_[static_cast<std::size_t>(*to)]) & 0xC0) == 0x80) --*to;
  return to;
}

// Up to where it would be asked about; nothing: not yet.
std::optional<std::int64_t> SemanticFilter::Wanted(const State& state) const {
  if (state.out || state.done) return std::nullopt;
  const auto all = static_cast<std::int64_t>(clear_.size());
  if (finished_) return all;
  if (state.question.shape != nullptr) {
    // What can be no JSON any more need not be decoded to its end. Each time twice as much, so that all of it costs no more than its end.
    const bool due = all > state.asked_to && tokens_ >= std::max(kShapeTokens, 2 * state.asked_at_tokens);
    return due ? std::optional(all) : std::nullopt;
  }
  if (!streamed_ || state.question.at == Question::At::kEnd || all == state.asked_to) return std::nullopt;
  if (state.question.at == Question::At::kSentence) return SentenceEnd(state.asked_to);
  return tokens_ - state.asked_at_tokens >= state.question.tokens ? std::optional(all) : std::nullopt;
}

std::vector<QuestionAsk> SemanticFilter::TakeAsks() {
  std::vector<QuestionAsk> out;
  if (stopped_by_) return out;
  for (State& state : states_) {
    const std::optional<std::int64_t> to = Due(state);
    if (!to) continue;
    if (*to == state.asked_to && (state.question.shape == nullptr || *to == 0)) {  // At the end, and nothing came since it was answered.
      state.done = true;
      continue;
    }
    state.asked_to = *to;
    const bool all = *to == static_cast<std::int64_t>(clear_.size());
    if (all) state.asked_at_tokens = tokens_;  // Else another window is due at once.
    state.out = true;
    state.asked_whole = finished_ && all;
    state.outcome.set_asked(state.outcome.asked() + 1);
    QuestionAsk& ask = out.emplace_back();
    ask.question = state.question;
    ask.output = true;
    ask.last = finished_ && all;
    const std::size_t from = AskedFrom(static_cast<std::size_t>(*to), WindowOf(state));
    state.asked_from = static_cast<std::int64_t>(from);
    policy::Message reply{policy::Role::kAssistant, "", {AskedText(from, static_cast<std::size_t>(*to))}};
    ask.messages = std::make_shared<const std::vector<policy::Message>>(1, std::move(reply));
  }
  Advance();
  return out;
}

// Where a window of so many bytes that ends at `end` begins.
std::size_t SemanticFilter::AskedFrom(std::size_t end, std::size_t bytes_max) const {
  std::size_t at = end > bytes_max ? end - bytes_max : 0;
  while (at < end && (static_cast<unsigned char>(clear_[at]) & 0xC0) == 0x80) ++at;
  return at;
}

// The clear text from `at` to `end`, with pseudonyms where their values stand.
std::string SemanticFilter::AskedText(std::size_t at, std::size_t end) const {
  std::string out;
  for (std::size_t i = 0; i < spans_->replaced().size(); ++i) {
    const auto begins = static_cast<std::size_t>(spans_->replaced()[i].first),
               ends = static_cast<std::size_t>(spans_->replaced()[i].second);
    if (!spans_->raw()[i].restored || ends <= at || begins >= end) continue;
    if (begins >= at) out.append(clear_, at, begins - at).append(spans_->raw()[i].bytes);
    at = ends;
  }
  return at < end ? out.append(clear_, at, end - at) : out;
}

absl::Status SemanticFilter::Answer(const QuestionAnswer& answer, std::int64_t bytes_out) {
  const auto is_out = [&](const State& s) { return s.out && s.question.id == answer.answer.id; };
  const auto state = std::find_if(states_.begin(), states_.end(), is_out);
  if (state == states_.end()) return base::InvalidArgument("an answer to a question that is not out");
  state->out = false;
  v1::GuardOutcome& outcome = state->outcome;
  outcome.set_guard_input_tokens(outcome.guard_input_tokens() + answer.input_tokens);
  outcome.set_guard_output_tokens(outcome.guard_output_tokens() + answer.output_tokens);
  if (state->done) return absl::OkStatus();  // It is about what came behind the end.
  TG_ASSIGN(const policy::Verdict now, policies_->Decide(policy::Verdict(), {&state->question, 1}, {&answer.answer, 1}));
  outcome.set_failure(answer.answer.failure);
  outcome.set_score_millionths(answer.answer.score_millionths);
  outcome.set_category(answer.category);
  AddSpans(answer.answer.spans, state->asked_from, outcome);
  outcome.set_bytes_out(bytes_out);
  state->said = answer.said;
  for (const std::string& what : now.not_scanned) {
    if (std::find(asked_verdict_.not_scanned.begin(), asked_verdict_.not_scanned.end(), what) == asked_verdict_.not_scanned.end())
      asked_verdict_.not_scanned.push_back(what);
  }
  if (!now.rules.empty()) {
    outcome.set_hit(true);
    const bool known = std::any_of(asked_verdict_.rules.begin(), asked_verdict_.rules.end(),
                                   [&](const policy::RuleOutcome& r) { return r.rule_id == now.rules[0].rule_id; });
    if (!known) asked_verdict_.rules.push_back(now.rules[0]);
    asked_verdict_.action = std::max(asked_verdict_.action, now.action);
  }
  if (now.action == policy::Action::kBlock) {
    if (!stopped_by_) Stop(state->question.rule_id);
  } else {
    const bool all = state->asked_to == static_cast<std::int64_t>(clear_.size());
    const bool whole = state->question.shape == nullptr || state->asked_whole;   // A shape is known at the end alone.
    const bool as_one = !streamed_ || state->question.at == Question::At::kEnd;  // Nothing leaves before all of it is judged.
    if (whole && (all || !as_one)) state->answered_to = state->asked_to;
    state->done = finished_ && all && whole;
  }
  Advance();
  return absl::OkStatus();
}

policy::Verdict SemanticFilter::WithAnswers(policy::Verdict verdict) const {
  verdict.action = std::max(verdict.action, asked_verdict_.action);
  verdict.rules.insert(verdict.rules.end(), asked_verdict_.rules.begin(), asked_verdict_.rules.end());
  verdict.not_scanned.insert(verdict.not_scanned.end(), asked_verdict_.not_scanned.begin(), asked_verdict_.not_scanned.end());
  return verdict;
}

const policy::Verdict& SemanticFilter::verdict() const {
  if (std::exchange(verdict_is_old_, false)) verdict_ = WithAnswers(spans_->verdict());
  return verdict_;
}

policy::Verdict SemanticFilter::VerdictBefore(std::int64_t before) const { return WithAnswers(spans_->VerdictBefore(before)); }

bool SemanticFilter::LetsOut(std::string_view next) const {
  const auto holds = [](const State& state) { return state.question.hold; };
  return !stopped_by_ && std::none_of(states_.begin(), states_.end(), holds) && spans_->LetsOut(next);
}

std::vector<std::string> SemanticFilter::unanswered() const {
  std::vector<std::string> out;
  for (const State& state : states_) {
    if (!state.done && approved_ > state.answered_to) out.push_back(state.question.label());
  }
  return out;
}

// What every question that holds is answered about may leave.
void SemanticFilter::Advance() {
  verdict_is_old_ = true;
  if (stopped_by_ || ended_) return;
  auto to = static_cast<std::int64_t>(clear_.size());
  for (const State& state : states_) {
    if (state.question.hold && !state.done) to = std::min(to, state.answered_to);
  }
  const std::int64_t before = approved_raw_;
  std::size_t passed = 0;
  for (; passed < marks_.size() && marks_[passed].clear <= to; ++passed) {
    approved_ = marks_[passed].clear;
    approved_raw_ = marks_[passed].raw;
  }
  marks_.erase(marks_.begin(), marks_.begin() + static_cast<std::ptrdiff_t>(passed));
  held_raw_.erase(0, static_cast<std::size_t>(approved_raw_ - before));
}

std::string SemanticFilter::TakeApproved() {
  const std::string out = clear_.substr(static_cast<std::size_t>(taken_), static_cast<std::size_t>(approved_ - taken_));
  taken_ = approved_;
  return out;
}

bool SemanticFilter::waiting() const {
  if (stopped_by_) return false;
  return std::any_of(states_.begin(), states_.end(), [](const State& state) { return !state.done; });
}

std::vector<v1::GuardOutcome> SemanticFilter::outcomes() const {
  std::vector<v1::GuardOutcome> out;
  for (const State& state : states_) out.push_back(state.outcome);
  return out;
}

std::vector<std::pair<std::string, std::string>> SemanticFilter::said() const {
  std::vector<std::pair<std::string, std::string>> out;
  for (const State& state : states_) {
    if (!state.said.empty()) out.emplace_back(state.question.rule_id, state.said);
  }
  return out;
}

}  // namespace tollgate::pipeline
