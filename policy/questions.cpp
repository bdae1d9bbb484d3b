// A question's id is its rule's: no rule asks twice of one text.
//
// Tested by tests/policy/semantic_test.cpp.
#include "policy/questions.h"

#include <algorithm>

#include <fmt/format.h>

#include "policy/json_parts.h"

namespace tollgate::policy {
namespace {

Question QuestionOf(const Rule& rule) {
  Question out;
  out.id = rule.id;
  out.rule_id = rule.id;
  out.name = rule.ask->name;
  out.guard = rule.ask->guard;
  out.topic = rule.ask->topic;
  out.shape = rule.ask->shape;
  out.least_score_millionths = rule.ask->least_score_percent * 10'000;
  return out;
}

// What one answer adds.
void Apply(const Rule& rule, const Question& question, const Answer& answer, Verdict& verdict) {
  if (!answer.failure.empty()) verdict.not_scanned.push_back(question.label());
  const bool acts = answer.failure.empty() ? IsHit(rule, answer) : !(rule.ask && rule.ask->fail_open);
  if (!acts) return;
  const auto count = std::max<std::int64_t>(1, static_cast<std::int64_t>(answer.spans.size()));
  verdict.action = std::max(verdict.action, rule.action);
  verdict.rules.push_back({rule.id, rule.action, rule.because, {}, count, {}, rule.severity, answer.measured});
}

}  // namespace

bool IsHit(const Rule& rule, const Answer& answer) {
  const std::int64_t least = (rule.ask ? rule.ask->least_score_percent : 0) * 10'000;
  return answer.failure.empty() && answer.hit && answer.score_millionths >= least;
}

std::string Question::label() const { return fmt::format("{} {} ({})", detector(), name, rule_id); }

std::vector<Question> QuestionsOfPrompt(std::span<const Rule> rules, const Subject& subject, std::span<const Message> prompt) {
  std::vector<Question> out;
  for (const Rule& rule : rules) {
    if (!rule.ask || rule.ask->shape != nullptr || !rule.input || !rule.scope.Covers(subject)) continue;
    Question question = QuestionOf(rule);
    for (std::uint32_t i = 0; i < prompt.size(); ++i) {
      if (rule.sight.Sees(prompt[i].role, prompt[i].channel)) question.messages.push_back(i);
    }
    if (!question.messages.empty()) out.push_back(std::move(question));
  }
  return out;
}

std::vector<Question> QuestionsOfOutput(std::span<const Rule> rules, const Subject& subject, const Channel& channel) {
  std::vector<Question> out;
  for (const Rule& rule : rules) {
    if (!rule.ask || !rule.output || !rule.scope.Covers(subject) || !rule.SightOf(true).Sees(Role::kAssistant, channel)) continue;
    Question question = QuestionOf(rule);
    question.at = static_cast<Question::At>(rule.ask->at);
    question.tokens = rule.ask->tokens;
    question.hold = rule.ask->hold;
    out.push_back(std::move(question));
  }
  return out;
}

void JudgeShapes(std::span<const Rule> rules, const Subject& subject, const Channel& channel, Filtered& reply) {
  if (reply.text.empty()) return;
  const std::string decoded = channel.part == Part::kToolCall ? JsonDecoded(reply.text) : "";
  for (const Rule& rule : rules) {
    if (!rule.ask || rule.ask->shape == nullptr || !rule.scope.Covers(subject) || !rule.ask->sight.Sees(Role::kAssistant, channel))
      continue;
    const bool as_read = channel.part == Part::kToolCall && rule.ask->shape->reads() == ReplyShape::Reads::kDecoded;
    const std::string_view text = as_read ? decoded : reply.text;
    if (rule.ask->shape->Breaks(text).empty()) continue;
    reply.verdict.action = std::max(reply.verdict.action, rule.action);
    reply.verdict.rules.push_back({rule.id, rule.action, rule.because, {}, 1, {}, rule.severity, rule.ask->shape->Measured(text)});
    reply.withheld = reply.withheld || rule.action == Action::kBlock;
  }
  if (!reply.withheld) return;
  reply.blocked = true;
  reply.text.clear();
}

absl::StatusOr<Verdict> Decide(std::span<const Rule> rules, const Verdict& so_far, std::span<const Question> questions,
                               std::span<const Answer> answers) {
  const auto asked = [&](const Answer& answer) {
    return std::find_if(questions.begin(), questions.end(), [&](const Question& q) { return q.id == answer.id; });
  };
  for (const Question& question : questions) {
    if (std::none_of(answers.begin(), answers.end(), [&](const Answer& a) { return a.id == question.id; }))
      return base::InvalidArgument(
          fmt::format("question '{}' of rule '{}' is not answered; answer it or report its failure", question.id, question.rule_id));
  }
  if (answers.size() != questions.size() ||
      std::any_of(answers.begin(), answers.end(), [&](const Answer& a) { return asked(a) == questions.end(); }))
    return base::InvalidArgument("an answer to a question that was not asked; pass one for each question");
  Verdict out = so_far;
  for (const Answer& answer : answers) {
    const Question& question = *asked(answer);
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const Rule& r) { return r.id == question.rule_id; });
    if (rule == rules.end()) return base::InvalidArgument("a question of another policy; decide with the one that inspected");
    Apply(*rule, question, answer, out);
  }
  return out;
}

}  // namespace tollgate::policy
