// Where nothing is to be told apart the text's filter reads the output itself. Else each part goes to its channel, and its place in the raw
// output is kept until the channel has decided it: the raw output is out up to the first place that is not.
//
// Tested by tests/gateway/pipeline/choice_output_test.cpp.
#include "gateway/pipeline/choice_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/crypto.h"
#include "base/encoding.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/shadow.h"
#include "policy/json_parts.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;
using inference::OutputPart;

ChoiceOutput::ChoiceOutput(int index, const OutputPlan& plan)
    : index_(index),
      plan_(plan),
      syntax_open_(!plan.syntax.plain()),
      parser_(plan.syntax),
      text_(Open(policy::Part::kText)),
      stops_(plan.stops),
      logprobs_(plan.logprobs, /*remembers=*/!plan.retries.empty()) {
  pending_.choice = index;
}

std::vector<policy::Question> ChoiceOutput::About(const policy::Channel& channel) const {
  return plan_.asks.about ? plan_.asks.about(channel) : std::vector<policy::Question>();
}

std::unique_ptr<policy::StreamFilter> ChoiceOutput::Open(policy::Part part) {
  const OutputPlan::Asks& asks = plan_.asks;
  std::vector<policy::Question> questions = About({part});
  if (questions.empty()) return plan_.open({part});
  auto filter = std::make_unique<SemanticFilter>(plan_.open({part}), asks.policies, std::move(questions), asks.streamed);
  asked_.push_back({.filter = filter.get(), .inbox = asks.inbox(), .channel = part == policy::Part::kReasoning ? "reasoning" : ""});
  return filter;
}

std::size_t ChoiceOutput::AlternativesToJudge(const inference::Piece& piece) const { return logprobs_.AlternativesToJudge(piece); }

absl::Status ChoiceOutput::Push(const inference::Piece& piece) {
  raw_.Append(piece.text, piece.tokens_delivered);
  raw_bytes_ += static_cast<std::int64_t>(piece.text.size());
  if (blocked_ || stopped_) return absl::OkStatus();
  if (!syntax_open_) return PushText(piece);
  std::vector<OutputPart> parts;
  parser_.Push(piece.text, parts);
  // What is text counts by its bytes, unless log-probabilities are wanted.
  const bool plain = !plan_.logprobs && !parser_.may_think() &&
                     std::all_of(parts.begin(), parts.end(), [](const OutputPart& part) { return part.kind == OutputPart::kText; });
  if (!plain) tokens_.insert(tokens_.end(), piece.tokens.begin(), piece.tokens.end());
  for (const OutputPart& part : parts) TG_RETURN_IF_ERROR(Handle(part));
  return parser_.may_think() ? absl::OkStatus() : FinishThought();
}

absl::Status ChoiceOutput::Finish() {
  if (blocked_ || finished_) return absl::OkStatus();
  std::vector<OutputPart> parts;
  if (syntax_open_) {
    if (parser_.in_thought()) CountThought(std::numeric_limits<std::int64_t>::max());
    TG_ASSIGN(const bool held_back, HoldsBackCut(parser_.open_call()));
    if (!held_back) parser_.Finish(parts);
  }
  for (const OutputPart& part : parts) TG_RETURN_IF_ERROR(Handle(part));
  TG_RETURN_IF_ERROR(FinishThought());
  if (blocked_) return absl::OkStatus();
  TG_ASSIGN(const std::string rest, logprobs_.Finish(*text_));
  finished_ = true;  // Not before: what the parser had kept is no end of what the rules hold.
  GiveText(rest);
  return absl::OkStatus();
}

absl::Status ChoiceOutput::Handle(const OutputPart& part) {
  if (blocked_ || stopped_) return absl::OkStatus();
  mixed_ = mixed_ || part.kind != OutputPart::kText;
  if (part.kind != OutputPart::kText) {
    TG_ASSIGN(const std::string clear, logprobs_.Flush(*text_));
    GiveText(clear);
    if (blocked_ || stopped_) return absl::OkStatus();
  }
  if (part.kind == OutputPart::kText || part.kind == OutputPart::kCall) {
    TG_RETURN_IF_ERROR(FinishThought());
    if (blocked_) return absl::OkStatus();
    answered_ = true;
  }
  judged_ = part.raw_end;
  switch (part.kind) {
    case OutputPart::kNothing:
      if (!answered_) CountThought(part.raw_end);
      places_.push_back({part.raw_end, Kind::kNone, 0});
      return absl::OkStatus();
    case OutputPart::kThought: {
      CountThought(part.raw_end);
      if (thought_ == nullptr) thought_ = Open(policy::Part::kReasoning);
      TG_ASSIGN(const std::string clear, thought_->Push(part.text));
      pending_.thought += clear;
      thought_bytes_ += static_cast<std::int64_t>(part.text.size());
      if (!plan_.retries.empty()) marks_[1].emplace_back(thought_bytes_, part.raw_end);
      places_.push_back({part.raw_end, Kind::kThought, thought_bytes_});
      blocked_ = thought_->blocked();
      return absl::OkStatus();
    }
    case OutputPart::kText: return HandleText(part);
    case OutputPart::kCall: return HandleCall(part);
  }
  return absl::OkStatus();
}

absl::Status ChoiceOutput::HandleText(const OutputPart& part) {
  const std::int64_t begin = part.raw_end - static_cast<std::int64_t>(part.text.size());
  inference::Piece piece;
  piece.text = part.text;
  for (; !tokens_.empty() && tokens_.front().text_end <= part.raw_end; tokens_.pop_front()) {
    if (!plan_.logprobs || tokens_.front().text_end <= begin) continue;
    piece.tokens.push_back(std::move(tokens_.front()));
    piece.tokens.back().text_end -= begin - text_bytes_;
  }
  TG_RETURN_IF_ERROR(PushText(piece));
  text_bytes_ += static_cast<std::int64_t>(part.text.size());
  if (!plan_.retries.empty()) marks_[0].emplace_back(text_bytes_, part.raw_end);
  places_.push_back({part.raw_end, Kind::kText, text_bytes_});
  return absl::OkStatus();
}

absl::Status ChoiceOutput::HandleCall(const OutputPart& part) {
  const std::string channel = fmt::format("tool_calls[{}]", calls_seen_++);
  const auto withheld = [&] {
    v1::RawSpan* raw = call_raw_.add_raw();
    raw->set_choice(index_);
    raw->set_channel(channel);
    raw->set_text(part.name + part.text);
  };
  if (plan_.one_call && calls_taken_ > 0) {
    v1::Verdict unseen;
    unseen.add_not_scanned("withheld_call");
    MergeVerdict(unseen, index_, "tool_calls", call_verdict_);
    withheld();
    places_.push_back({part.raw_end, Kind::kNone, 0});
    return absl::OkStatus();
  }
  const policy::Channel its{policy::Part::kToolCall, part.name};
  const std::unique_ptr<policy::StreamFilter> filter = plan_.open(its);
  TG_ASSIGN(std::string arguments, policy::FilterJson(part.text, *filter));
  MergeVerdict(ToProto(filter->verdict()), index_, "tool_calls", call_verdict_);
  if (plan_.shadow != nullptr) MergeVerdict(ShadowOf(*plan_.shadow, *filter).verdict(), index_, "tool_calls", call_shadow_);
  KeepRaw(*filter, channel, call_raw_);
  if (filter->blocked()) {
    blocked_ = true;
    withheld();
    return absl::OkStatus();
  }
  v1::ToolCall call;
  call.set_id("call_" + base::HexEncode(base::RandomBytes(12)));
  call.set_name(part.name);
  call.set_arguments(std::move(arguments));
  call.set_index(calls_taken_++);
  places_.push_back({part.raw_end, Kind::kCall, calls_taken_});
  std::vector<policy::Question> questions = About(its);
  const bool behind_another = calls_given_ + 1 < calls_taken_;
  if (!questions.empty() || behind_another) return AskAboutCall(part, channel, std::move(call), std::move(questions));
  ++calls_given_;
  pending_.calls.push_back(std::move(call));
  return absl::OkStatus();
}

// A call is asked about once, whole.
absl::Status ChoiceOutput::AskAboutCall(const OutputPart& part, const std::string& channel, v1::ToolCall call,
                                        std::vector<policy::Question> questions) {
  static const auto all_pass = policy::PolicySet::Compile({});
  TG_RETURN_IF_ERROR(all_pass.status());
  const OutputPlan::Asks& asks = plan_.asks;
  const std::unique_ptr<policy::StreamFilter> filter = asks.open({policy::Part::kToolCall, part.name});
  TG_ASSIGN(const std::string arguments, policy::FilterJson(part.text, *filter));
  Asked& asked = asked_.emplace_back(Asked{.inbox = asks.inbox(), .channel = channel, .call = std::move(call), .withheld = true});
  asked.its = std::make_unique<SemanticFilter>((*all_pass)->OpenOutput({}), asks.policies, std::move(questions), /*streamed=*/false);
  asked.filter = asked.its.get();
  TG_RETURN_IF_ERROR(asked.filter->Push(arguments).status());
  TG_RETURN_IF_ERROR(asked.filter->Finish().status());
  LetGo(asked);
  return absl::OkStatus();
}

void ChoiceOutput::Count(std::int64_t tokens) {
  for (Asked& asked : asked_) asked.filter->Count(tokens);
}

// What its answers have approved. Calls leave in their order.
void ChoiceOutput::LetGo(Asked& asked) {
  if (asked.its == nullptr && asked.channel.empty()) {
    Give(asked.filter->TakeApproved());
  } else if (asked.its == nullptr) {
    pending_.thought += asked.filter->TakeApproved();
  } else if (asked.withheld && !asked.filter->blocked() && asked.call.index() == calls_given_ &&
             asked.filter->decided_bytes() == asked.filter->pushed_bytes()) {
    asked.withheld = false;
    ++calls_given_;
    pending_.calls.push_back(asked.call);
  }
  blocked_ = blocked_ || asked.filter->blocked();
}

absl::Status ChoiceOutput::Consult(const std::string& model, std::chrono::steady_clock::time_point deadline, std::int64_t bytes_out) {
  for (Asked& asked : asked_) {
    for (const QuestionAnswer& answer : asked.inbox->Take()) TG_RETURN_IF_ERROR(asked.filter->Answer(answer, bytes_out + pending_bytes()));
    if (!blocked_) LetGo(asked);
  }
  for (Asked& asked : asked_) {
    if (blocked_) return absl::OkStatus();
    for (QuestionAsk& ask : asked.filter->TakeAsks()) {
      std::vector<policy::Message> named = *ask.messages;
      named.front().name = asked.call.name();
      const policy::ReplyShape* shape = ask.question.shape.get();
      if (asked.its != nullptr && shape != nullptr && shape->reads() == policy::ReplyShape::Reads::kDecoded)
        named.front().parts = {policy::JsonDecoded(policy::TextOf(named.front()))};
      ask.messages = std::make_shared<const std::vector<policy::Message>>(std::move(named));
      ask.model = model;
      ask.tenant = plan_.asks.tenant;
      ask.deadline = deadline;
      asked.inbox->Ask(std::move(ask));
    }
    LetGo(asked);  // Where nothing was left to ask.
  }
  GiveHeld();
  return absl::OkStatus();
}

bool ChoiceOutput::waiting() const {
  return !blocked_ && std::any_of(asked_.begin(), asked_.end(), [](const Asked& asked) { return asked.filter->waiting(); });
}

bool ChoiceOutput::empty() const {
  return pending_.thought.empty() && (ThoughtWaits() || (pending_.text.empty() && pending_.calls.empty()));
}

int ChoiceOutput::calls() const { return calls_given_ - (ThoughtWaits() ? static_cast<int>(pending_.calls.size()) : 0); }

std::int64_t ChoiceOutput::pending_bytes() const {
  std::size_t bytes = pending_.thought.size();
  if (ThoughtWaits()) return static_cast<std::int64_t>(bytes);
  bytes += pending_.text.size();
  for (const v1::ToolCall& call : pending_.calls) bytes += call.name().size() + call.arguments().size();
  return static_cast<std::int64_t>(bytes);
}

OutputPiece ChoiceOutput::Take() {
  OutputPiece piece;
  piece.choice = index_;
  if (ThoughtWaits()) {
    piece.thought.swap(pending_.thought);
  } else {
    std::swap(piece, pending_);
    for (v1::TokenLogprob& token : logprobs_.Take(*text_, Shown())) piece.logprobs.push_back(std::move(token));
  }
  taken_.text += static_cast<std::int64_t>(piece.text.size());
  taken_.thought += static_cast<std::int64_t>(piece.thought.size());
  taken_.calls += piece.calls.size();
  taken_.logprobs += piece.logprobs.size();
  return piece;
}

std::int64_t ChoiceOutput::Frontier() {
  if (!syntax_open_) return Shown();
  for (; !places_.empty(); places_.pop_front()) {
    const Place& place = places_.front();
    if (place.kind == Kind::kCall && calls_given_ < place.end) break;
    if (place.kind == Kind::kText || place.kind == Kind::kThought) {
      const std::int64_t decided = place.kind == Kind::kText ? Shown() : thought_->decided_bytes();
      if (decided < place.end) {
        frontier_ = std::max(frontier_, place.raw_end - (place.end - decided));
        break;
      }
    }
    frontier_ = place.raw_end;
  }
  return frontier_;
}

std::int64_t ChoiceOutput::pseudonyms_restored() const {
  v1::SealedContent raw;
  FillRaw(raw);
  return std::count_if(raw.raw().begin(), raw.raw().end(), [](const v1::RawSpan& span) { return span.restored(); });
}

v1::Verdict ChoiceOutput::Verdict() const {
  v1::Verdict verdict = ToProto(policy::Verdict());
  MergeVerdict(ToProto(stopped_ ? text_->VerdictBefore(StopBegins()) : text_->verdict()), index_, "", verdict);
  if (thought_ != nullptr) MergeVerdict(ToProto(thought_->verdict()), index_, "reasoning", verdict);
  MergeVerdict(call_verdict_, index_, "", verdict);
  for (const Asked& asked : asked_) {
    if (asked.its != nullptr) MergeVerdict(ToProto(asked.its->verdict()), index_, "tool_calls", verdict);
    v1::Verdict unanswered;
    for (const std::string& what : asked.filter->unanswered()) unanswered.add_not_scanned(what);
    MergeVerdict(unanswered, index_, asked.channel, verdict);
  }
  const std::int64_t judged = syntax_open_ ? judged_ : text_->pushed_bytes();  // Given to a filter, or no one's.
  if (raw_.offset() + static_cast<std::int64_t>(raw_.text().size()) > judged) verdict.add_not_scanned("undelivered_tail");
  return verdict;
}

v1::Verdict ChoiceOutput::ShadowVerdict() const {
  v1::Verdict verdict = ToProto(policy::Verdict());
  if (plan_.shadow == nullptr) return verdict;
  const std::int64_t to = stopped_ ? StopBegins() : std::numeric_limits<std::int64_t>::max();
  MergeVerdict(ShadowOf(*plan_.shadow, *text_, to).verdict(), index_, "", verdict);
  if (thought_ != nullptr) MergeVerdict(ShadowOf(*plan_.shadow, *thought_).verdict(), index_, "reasoning", verdict);
  MergeVerdict(call_shadow_, index_, "", verdict);
  return verdict;
}

void ChoiceOutput::FillGuards(v1::EndBody& end) const {
  for (const Asked& asked : asked_) {
    for (const v1::GuardOutcome& outcome : asked.filter->outcomes()) {
      if (outcome.asked() == 0 && !asked.channel.empty()) continue;
      v1::GuardOutcome* out = end.add_guards();
      *out = outcome;
      out->set_choice(index_);
      out->set_channel(asked.channel);
    }
  }
}

// Beside what a block keeps, something waits that no filter gives back.
bool ChoiceOutput::HoldsOther() const {
  const auto holds = [](const policy::StreamFilter* filter) {
    return filter != nullptr && !filter->blocked() && filter->decided_bytes() < filter->pushed_bytes();
  };
  return holds(text_.get()) || holds(thought_.get()) ||
         std::any_of(asked_.begin(), asked_.end(), [&](const Asked& asked) { return asked.withheld && !asked.filter->blocked(); });
}

void ChoiceOutput::KeepRaw(const policy::StreamFilter& filter, std::string_view channel, v1::SealedContent& content) const {
  // What a block keeps became nothing.
  const std::size_t became = std::min(filter.replaced().size(), filter.raw().size() - (filter.blocked() && !filter.raw().empty() ? 1 : 0));
  for (std::size_t i = 0; i < filter.raw().size(); ++i) {
    const policy::RawSpan& span = filter.raw()[i];
    v1::RawSpan* raw = content.add_raw();
    raw->set_rule_id(span.rule_id);
    raw->set_offset(span.offset);
    raw->set_text(span.bytes);
    raw->set_restored(span.restored);
    if (i < became) raw->set_became_bytes(filter.replaced()[i].second - filter.replaced()[i].first);
    raw->set_choice(index_);
    raw->set_channel(std::string(channel));
  }
}

void ChoiceOutput::FillRaw(v1::SealedContent& content) const {
  KeepRaw(*text_, "", content);
  if (thought_ != nullptr) KeepRaw(*thought_, "reasoning", content);
  content.mutable_raw()->MergeFrom(call_raw_.raw());
  for (const Asked& asked : asked_) {
    if (asked.its != nullptr) KeepRaw(*asked.its, asked.channel, content);
    for (const auto& [rule, text] : asked.filter->said()) {
      v1::GuardAnswerText* said = content.add_guard_answers();
      said->set_rule_id(rule);
      said->set_choice(index_);
      said->set_channel(asked.channel);
      said->set_text(text);
    }
  }
  // After a block the text's filter keeps what it was given; the tail is what it was not. Of several channels only one blocked, and what
  // others held, or waits for an answer, is kept nowhere else: there the tail is all that is undelivered.
  const std::int64_t offset = raw_.offset();
  const bool alone = blocked_ && !mixed_ && !HoldsOther();
  const std::int64_t kept = alone ? std::max<std::int64_t>(0, text_->pushed_bytes() - offset) : 0;
  if (static_cast<std::int64_t>(raw_.text().size()) <= kept) return;
  v1::RawSpan* tail = content.add_raw();
  tail->set_offset(offset + kept);
  tail->set_text(raw_.text().substr(static_cast<std::size_t>(kept)));
  tail->set_choice(index_);
  if (mixed_) tail->set_channel("raw");
}

}  // namespace tollgate::pipeline
