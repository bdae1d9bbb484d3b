// One table for both kinds of line: a whole verdict's has no rule.
//
// Tested by tests/gateway/explain/tally_test.cpp.
#include "gateway/explain/tally.h"

#include <utility>

namespace tollgate::explain {
namespace {

const char* DirectionName(bool output) { return output ? "output" : "input"; }

// What a rule does: what it asks of the request, if it asks.
std::string Word(const std::string& action, const std::string& effect) { return effect.empty() ? action : effect; }

}  // namespace

Said SaidBy(const policy::Verdict& verdict) {
  Said out{policy::ActionName(verdict.action), {}};
  for (const policy::RuleOutcome& rule : verdict.rules)
    out.rules.push_back({rule.rule_id, Word(policy::ActionName(rule.action), policy::EffectText(rule.effect)), rule.count});
  return out;
}

Said SaidBy(const v1::Verdict& verdict) {
  Said out{verdict.action().empty() ? policy::ActionName(policy::Action::kAllow) : verdict.action(), {}};
  for (const v1::RuleOutcome& rule : verdict.rules())
    out.rules.push_back({rule.rule_id(), Word(rule.action(), rule.effect()), rule.count()});
  return out;
}

void Tally::Compare(std::string_view team, bool output, const v1::RecordPosition& at, const Said& was, const Said& would) {
  struct Parts {
    const Said::Rule* was = nullptr;
    const Said::Rule* would = nullptr;
  };
  std::map<std::string_view, Parts> rules;
  for (const Said::Rule& rule : was.rules) rules[rule.id].was = &rule;
  for (const Said::Rule& rule : would.rules) rules[rule.id].would = &rule;
  bool changed = was.action != would.action;
  const std::string tenant(team), direction = DirectionName(output);
  if (changed) NoteOne({tenant, direction, "", was.action, would.action}, at);
  static const Said::Rule kNone;
  for (const auto& [id, parts] : rules) {
    const Said::Rule& before = parts.was == nullptr ? kNone : *parts.was;
    const Said::Rule& after = parts.would == nullptr ? kNone : *parts.would;
    if (before.action == after.action && before.count == after.count) continue;
    Line& line = NoteOne({tenant, direction, std::string(id), before.action, after.action}, at);
    line.spans_was += before.count;
    line.spans_would += after.count;
    changed = true;
  }
  ++judged_;
  if (output) ++replies_;
  if (changed) ++changed_;
}

Tally::Line& Tally::NoteOne(Key key, const v1::RecordPosition& at) {
  Line& line = lines_[std::move(key)];
  NoteOne(line, at);
  return line;
}

void Tally::NoteOne(Line& line, const v1::RecordPosition& at) const {
  ++line.count;
  if (static_cast<int>(line.examples.size()) < examples_max_) line.examples.push_back(at);
}

void Tally::AddGap(const std::string& why, const v1::RecordPosition& at) { NoteOne(gaps_[why], at); }

void Tally::Note(Line& line, std::int64_t count, std::int64_t spans_was, std::int64_t spans_would,
                 const google::protobuf::RepeatedPtrField<v1::RecordPosition>& examples) const {
  line.count += count;
  line.spans_was += spans_was;
  line.spans_would += spans_would;
  for (const v1::RecordPosition& at : examples) {
    if (static_cast<int>(line.examples.size()) < examples_max_) line.examples.push_back(at);
  }
}

void Tally::AddNotAsked(const std::string& question) {
  constexpr std::size_t kNamedMax = 100;
  if (not_asked_.size() < kNamedMax) not_asked_.insert(question);
}

void Tally::Add(const v1::PolicyChanges& page) {
  judged_ += page.judged();
  replies_ += page.replies();
  changed_ += page.changed();
  erased_ += page.erased();
  unreadable_ += page.unreadable();
  model_unknown_ += page.model_unknown();
  for (const std::string& question : page.not_asked()) AddNotAsked(question);
  for (const v1::VerdictChange& c : page.verdicts())
    Note(lines_[{c.team(), c.direction(), "", c.was(), c.would()}], c.count(), 0, 0, c.examples());
  for (const v1::RuleChange& c : page.rules())
    Note(lines_[{c.team(), c.direction(), c.rule_id(), c.was(), c.would()}], c.count(), c.spans_was(), c.spans_would(), c.examples());
  for (const v1::ReplyGap& gap : page.reply_gaps()) Note(gaps_[gap.why()], gap.count(), 0, 0, gap.examples());
}

v1::PolicyChanges Tally::Changes() const {
  v1::PolicyChanges out;
  out.set_judged(judged_);
  out.set_replies(replies_);
  out.set_changed(changed_);
  out.set_erased(erased_);
  out.set_unreadable(unreadable_);
  out.set_model_unknown(model_unknown_);
  for (const std::string& question : not_asked_) out.add_not_asked(question);
  const auto fill = [](const Key& key, const Line& line, auto& change) {
    change.set_team(std::get<0>(key));
    change.set_direction(std::get<1>(key));
    change.set_was(std::get<3>(key));
    change.set_would(std::get<4>(key));
    change.set_count(line.count);
    change.mutable_examples()->Add(line.examples.begin(), line.examples.end());
  };
  for (const auto& [why, line] : gaps_) {
    v1::ReplyGap& gap = *out.add_reply_gaps();
    gap.set_why(why);
    gap.set_count(line.count);
    gap.mutable_examples()->Add(line.examples.begin(), line.examples.end());
  }
  for (const auto& [key, line] : lines_) {
    if (std::get<2>(key).empty()) {
      fill(key, line, *out.add_verdicts());
      continue;
    }
    v1::RuleChange& change = *out.add_rules();
    fill(key, line, change);
    change.set_rule_id(std::get<2>(key));
    change.set_spans_was(line.spans_was);
    change.set_spans_would(line.spans_would);
  }
  return out;
}

}  // namespace tollgate::explain
