// The verdict is PolicySet::Decide's.
//
// Tested by tests/gateway/explain/explain_test.cpp.
#include "policy/explain_asked.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "policy/questions.h"

namespace tollgate::policy {
namespace {

std::string Whom(const Rule& rule) { return fmt::format("the {} {}", rule.ask->whom(), rule.ask->name); }

std::string NotAsked(const Rule& rule, bool asking) {
  if (asking) return fmt::format("{} would say; it is not asked, for other rules let nothing of the text through to it", Whom(rule));
  const std::int64_t least = rule.ask->least_score_percent;
  return fmt::format("{} would say; it is asked when a request runs{}", Whom(rule),
                     least > 0 ? fmt::format(", and a score of {} percent or more counts", least) : "");
}

std::string WordsOf(const Rule& rule, const Heard& heard) {
  const Answer& answer = heard.answer;
  const std::int64_t least = rule.ask->least_score_percent;
  if (!answer.failure.empty())
    return fmt::format("{}; {}", answer.failure,
                       rule.ask->fail_open ? "so it does not act (on_error: allow)" : "so it acts as if it had hit (on_error: block)");
  const std::string category = heard.category.empty() ? "" : fmt::format(" ({})", heard.category);
  if (!answer.hit) return fmt::format("{} says that it is no hit{}", Whom(rule), category);
  if (least == 0) return fmt::format("{} says that it is a hit{}", Whom(rule), category);
  return fmt::format("{} gives it {:.1f} percent{}, and {} or more count", Whom(rule),
                     static_cast<double>(answer.score_millionths) / 10'000, category, least);
}

// What comes of a span that others named: of a rule that asks, the whole text has one fate.
std::string FateOf(const Rule& rule, const Answer& answer, bool output) {
  if (!IsHit(rule, answer)) return "nothing: their answer does not count";
  if (rule.action != Action::kBlock) return "is noted in the record, and stays";
  return output ? "ends the reply" : "refuses the prompt";
}

}  // namespace

void LinePlace::GoTo(std::string_view text, std::size_t to) {
  for (; at < to; ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte == '\n') {
      ++line;
      column = 1;
    } else if ((byte & 0xC0) != 0x80) {
      ++column;
    }
  }
}

absl::Status HearOthers(const PolicySet& set, std::vector<Question> questions, const Message& used, const AskOthers& ask, Asked& asked,
                        Explanation& out) {
  asked.asking = ask != nullptr;
  std::erase_if(questions, [](const Question& question) { return question.shape != nullptr; });
  if (!asked.asking || questions.empty()) return absl::OkStatus();
  TG_ASSIGN(asked.heard, ask(questions, used));
  asked.text = TextOf(used);
  std::vector<Answer> answers;
  for (Heard& heard : asked.heard) {
    answers.push_back(heard.answer);
    const auto of = std::find_if(questions.begin(), questions.end(), [&](const Question& q) { return q.id == heard.answer.id; });
    if (of == questions.end()) continue;  // Decide says what is wrong.
    heard.detector = of->detector();
    heard.name = of->name;
  }
  TG_ASSIGN(out.verdict, set.Decide(out.verdict, questions, answers));
  if (out.verdict.action == Action::kBlock) out.result.clear();
  return absl::OkStatus();
}

void TellAsked(const Rule& rule, const Asked& asked, RuleStory& out) {
  const auto heard = std::find_if(asked.heard.begin(), asked.heard.end(), [&](const Heard& h) { return h.answer.id == rule.id; });
  if (heard == asked.heard.end()) {
    out.state = RuleStory::State::kNoMatch;
    out.why = NotAsked(rule, asked.asking);
    return;
  }
  const Answer& answer = heard->answer;
  const bool hit = IsHit(rule, answer);
  out.heard = *heard;
  out.why = WordsOf(rule, *heard);
  out.state = !answer.failure.empty() ? RuleStory::State::kFailed : hit ? RuleStory::State::kHit : RuleStory::State::kNoMatch;
  out.count = hit ? std::max<std::int64_t>(1, static_cast<std::int64_t>(answer.spans.size())) : 0;
  // A detector outside need give no score with what is no hit.
  if (answer.failure.empty() && (answer.hit || rule.ask->metered()))
    out.score = Score{static_cast<double>(answer.score_millionths) / 10'000, static_cast<double>(rule.ask->least_score_percent), "percent"};
}

void AddSpansOfOthers(std::span<const Rule> rules, const Asked& asked, const ExplainedText& text, std::vector<FoundSpan>& found) {
  if (asked.text != text.text) return;
  for (const Heard& heard : asked.heard) {
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const Rule& r) { return r.id == heard.answer.id; });
    if (rule == rules.end()) continue;
    for (const Span& span : heard.answer.spans) {
      if (found.size() >= Explanation::kFoundMax) break;
      LinePlace place;  // Spans of others come in any order.
      place.GoTo(text.text, static_cast<std::size_t>(span.begin));
      FoundSpan& out = found.emplace_back(
          FoundSpan{rule->id, rule->severity, rule->action, span.begin, span.end, place.line, place.column, heard.name, {}, {}, ""});
      if (!heard.category.empty()) out.evidence.push_back(fmt::format("it is called {}", heard.category));
      out.became = FateOf(*rule, heard.answer, text.output);
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const FoundSpan& a, const FoundSpan& b) { return a.begin < b.begin; });
}

}  // namespace tollgate::policy
