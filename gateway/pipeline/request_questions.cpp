// The prompt is on record before anybody is asked about it (P1), and nothing is routed before all have answered. A detector that
// does not answer is an answer too; only the caller's own end, or its deadline, breaks this off.
// Tested by tests/gateway/pipeline/questions_test.cpp.
#include <algorithm>
#include <map>

#include "gateway/pipeline/admission.h"
#include "gateway/pipeline/request.h"
#include "gateway/pipeline/watch.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

async::Awaitable<std::optional<Ending>> Request::AskOthers() {
  if (inspection_.questions.empty()) co_return MustStop();
  const auto inbox = QuestionInbox::Make(*guards_, with_.cpu, event_.Notifier());
  std::map<std::vector<std::uint32_t>, std::shared_ptr<const std::vector<policy::Message>>> shown;  // By which of them.
  for (const policy::Question& question : inspection_.questions) {
    auto& messages = shown[question.messages];
    if (messages == nullptr) {
      std::vector<policy::Message> copies;
      for (const std::uint32_t message : question.messages) copies.push_back(inspection_.prompt[inspection_.put_before + message]);
      messages = std::make_shared<const std::vector<policy::Message>>(std::move(copies));
    }
    QuestionAsk ask;
    ask.question = question;
    ask.model = model_.name;
    ask.tenant = who_.place.team->id.value.Bytes();
    ask.deadline = deadline_;
    ask.messages = messages;
    inbox->Ask(std::move(ask));
  }
  std::vector<QuestionAnswer> answers;
  Watch watch = NewWatch();
  for (;;) {
    co_await guards_->Turn();
    for (QuestionAnswer& answer : inbox->Take()) answers.push_back(std::move(answer));
    if (answers.size() == inspection_.questions.size()) break;
    if (auto stop = watch.MustStop("its prompt was judged")) co_return std::move(*stop);
    const auto wake = std::min(watch.NextLook(), guards_->NextWake());
    co_await event_.WaitUntil(wake);
  }
  if (auto lost = LostAuthority(with_, principal_, model_.name)) co_return std::move(*lost);
  absl::Status decided = DecideAnswered(std::move(answers));
  if (!decided.ok()) co_return Broken("POLICY_FAILED", std::move(decided));
  if (inspection_.verdict.action != policy::Action::kBlock) co_return std::nullopt;
  co_return Ending{
      .finish = v1::FINISH_REASON_CONTENT_FILTER, .reason = "POLICY_BLOCKED", .status = DenialOf(inspection_.verdict, call_)->status};
}

// The verdict with the answers in it, and what goes on record of them.
absl::Status Request::DecideAnswered(std::vector<QuestionAnswer> answers) {
  std::vector<policy::Answer> plain;
  for (QuestionAnswer& answer : answers) {
    const auto& asked = inspection_.questions;
    const auto question = std::find_if(asked.begin(), asked.end(), [&](const policy::Question& q) { return q.id == answer.answer.id; });
    if (question == asked.end()) return base::Internal("a detector answered what it was not asked");
    for (policy::Span& span : answer.answer.spans) span.message = question->messages[span.message];
    v1::GuardOutcome& outcome = guarded_.emplace_back();
    AddSpans(answer.answer.spans, 0, outcome);
    outcome.set_rule_id(question->rule_id);
    outcome.set_detector(question->detector());
    outcome.set_name(question->name);
    outcome.set_asked(1);
    outcome.set_failure(answer.answer.failure);
    outcome.set_score_millionths(answer.answer.score_millionths);
    outcome.set_least_score_millionths(question->least_score_millionths);
    outcome.set_category(answer.category);
    outcome.set_guard_input_tokens(answer.input_tokens);
    outcome.set_guard_output_tokens(answer.output_tokens);
    if (!answer.said.empty()) {
      v1::GuardAnswerText& said = guard_said_.emplace_back();
      said.set_rule_id(question->rule_id);
      said.set_text(answer.said);
    }
    plain.push_back(answer.answer);
  }
  TG_ASSIGN(inspection_.verdict, policies_.acting->Decide(inspection_.verdict, inspection_.questions, plain));
  for (v1::GuardOutcome& outcome : guarded_) {
    const auto& rules = inspection_.verdict.rules;
    outcome.set_hit(std::any_of(rules.begin(), rules.end(), [&](const policy::RuleOutcome& r) { return r.rule_id == outcome.rule_id(); }));
  }
  return absl::OkStatus();
}

}  // namespace tollgate::pipeline
