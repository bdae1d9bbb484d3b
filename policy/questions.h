// What rules want to be asked of others, and what the answers make of a verdict. Inside policy/ only; pure.
#pragma once

#include <span>
#include <vector>

#include "policy/policy_set.h"
#include "policy/rule.h"

namespace tollgate::policy {

std::vector<Question> QuestionsOfPrompt(std::span<const Rule> rules, const Subject& subject, std::span<const Message> prompt);
std::vector<Question> QuestionsOfOutput(std::span<const Rule> rules, const Subject& subject, const Channel& channel);

// What rules about the shape of a whole reply, which ask nobody, make of one that the span rules let pass.
void JudgeShapes(std::span<const Rule> rules, const Subject& subject, const Channel& channel, Filtered& reply);

// Whether the answer is that it is a hit, and so surely that it counts; a failure is none.
bool IsHit(const Rule& rule, const Answer& answer);

// As PolicySet::Decide.
absl::StatusOr<Verdict> Decide(std::span<const Rule> rules, const Verdict& so_far, std::span<const Question> questions,
                               std::span<const Answer> answers);

}  // namespace tollgate::policy
