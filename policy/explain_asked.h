// What explain tells of rules that ask others: they are asked about the text as the other rules leave it. Inside policy/ only; pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policy/explain.h"
#include "policy/rule.h"

namespace tollgate::policy {

// Where a byte stands, for people; it goes forward only.
struct LinePlace {
  std::size_t at = 0;
  std::int64_t line = 1, column = 1;

  void GoTo(std::string_view text, std::size_t to);  // `to` is at most the text's length.
};

struct Asked {
  bool asking = false;       // Somebody is there who asks.
  std::string text;          // That they were shown.
  std::vector<Heard> heard;  // One for each question; none where nothing was left to ask about.
};

// Has the questions asked about the text as it is `used`, and puts into verdict and result what comes of it.
absl::Status HearOthers(const PolicySet& set, std::vector<Question> questions, const Message& used, const AskOthers& ask, Asked& asked,
                        Explanation& out);

// State, score and why of a rule that asks others, and what they said.
void TellAsked(const Rule& rule, const Asked& asked, RuleStory& out);

// The spans that they named, in their places among those found; only where they were shown the text as it is.
void AddSpansOfOthers(std::span<const Rule> rules, const Asked& asked, const ExplainedText& text, std::vector<FoundSpan>& found);

}  // namespace tollgate::policy
