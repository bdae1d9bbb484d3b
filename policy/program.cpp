// One pass of an Aho-Corasick automaton over the literals that patterns require tells which patterns are worth running at all; most are
// not. What has digits or marks is run only where there are enough of them, what has words beside it only behind such a word, and each only
// where something begins as its matches do (match_places.h). What is left runs RE2, one pattern at a time: over everything at once RE2::Set
// is slower (it builds states for all rules on text it has not seen) and tells no spans.
//
// Tested by tests/policy/program_test.cpp.
#include "policy/program.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "policy/fold.h"
#include "policy/plain_form.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

bool Names(const std::vector<std::string>& list, const std::string& name) {
  return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
}

bool NamesModel(const std::vector<std::string>& list, const Subject& subject) {
  return Names(list, subject.model) ||
         std::any_of(subject.model_parts.begin(), subject.model_parts.end(), [&](const std::string& part) { return Names(list, part); });
}

Replacement ReplacementOf(const Rule& rule, const std::string& label) {
  Replacement out = rule.replacement;
  const std::string name = label.empty() ? "REDACTED" : label;
  if (out.form == Replacement::Form::kHash || (out.form == Replacement::Form::kPseudonym && out.text.empty())) out.text = name;
  if (out.text.empty()) out.text = "[" + name + "]";
  return out;
}

// But for the İ and ı of Turkish, where cases are one, and for quotation marks, blanks and hyphens, and what is not seen. Where a keyword
// has no letter or digit, a mark of print is what it is about, and « is not every ".
bool HasAsciiLetters(std::string_view word, bool ignore_case) {
  std::string marks;
  bool letters = false, printed = false;
  for (std::size_t at = 0, length = 1; at < word.size(); at += length) {
    const char32_t c = DecodeAt(word, at, length);
    const bool is_i = ignore_case && (c == 0x130 || c == 0x131);
    letters = letters || is_i || (c < 0x80 && std::isalnum(static_cast<unsigned char>(c)) != 0);
    if (c < 0x80 || is_i) continue;
    if (!ReadsAsMarks(c, marks)) return false;
    printed = printed || marks.find_first_not_of(' ') != std::string::npos;
  }
  return letters || !printed;
}

// A keyword as it is written, with its accents on its letters or as characters of their own, and as the plain form of a text has it. Not
// where that is ASCII and its letters were not: the plain form of a Russian word may be an English one. The Turkish ı is no disguise: its
// capital is that of i.
std::vector<std::string> FormsOf(const std::string& word, const Rule& rule) {
  std::vector<std::string> out = {word};
  if (rule.as_written) return out;
  const auto is_ascii = [](const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
  };
  if (is_ascii(word)) return out;
  for (const std::string& form : {Composed(word), Decomposed(word), ToPlain(word), Composed(ToPlain(word))}) {
    const bool blank = form.find_first_not_of(' ') == std::string::npos;
    const bool is_its = !is_ascii(form) || HasAsciiLetters(word, rule.ignore_case);
    if (!blank && is_its && std::find(out.begin(), out.end(), form) == out.end()) out.push_back(form);
  }
  return out;
}

constexpr std::size_t kTriggersOfUnit = 64;  // Places of trigger words that are looked through for a unit of effort.

// As a trigger it would be open always, and cost what it takes to open; marks and digits are counted besides.
bool IsOnEveryPage(const std::string& word) {
  return word.size() == 1 &&
         (std::isalnum(static_cast<unsigned char>(word[0])) != 0 || std::string_view(" .:-").find(word) != std::string_view::npos);
}

}  // namespace

bool Program::Trigger::Opens(std::string_view text, std::size_t end) const {
  if (!context || !one_word || end <= bytes) return true;
  const std::size_t at = end - bytes;
  return !IsWordByte(text[at - 1]) || BeginsInName(text, at);
}

bool Scope::Covers(const Subject& subject) const {
  return Names(orgs, subject.org) && Names(teams, subject.team) && Names(projects, subject.project) && Names(keys, subject.key) &&
         NamesModel(models, subject) && Names(end_users, subject.end_user) &&
         (!time || (subject.unix_seconds != 0 && time->Holds(subject.unix_seconds)));
}

Program::Group& Program::GroupFor(const Scope& scope) {
  for (auto& group : groups_) {
    if (group->scope == scope) return *group;
  }
  groups_.push_back(std::make_unique<Group>());
  groups_.back()->scope = scope;
  return *groups_.back();
}

absl::Status Program::AddTriggers(Budget& budget) {
  std::map<std::pair<std::string, bool>, std::vector<std::uint32_t>> words;
  for (std::uint32_t index = 0; index < sources_.size(); ++index) {
    Source& source = sources_[index];
    if (source.pattern == nullptr) continue;
    std::vector<std::string> its = source.pattern->trigger_words();
    for (std::string& word : its) word = WithSingleBlanks(word);
    if (its.empty() || std::any_of(its.begin(), its.end(), IsOnEveryPage)) continue;
    const bool context = !source.pattern->spec().context.empty();
    for (const std::string& word : its) words[{word, context}].push_back(index);
    source.needs_trigger = true;
    source.by_trigger = context ? source.pattern->looks_again() : source.pattern->cap() == 0;
  }
  std::vector<std::string> list;
  for (auto& [word, sources] : words) {
    list.push_back(word.first);
    trigger_of_.push_back({std::move(sources), word.first.size(), word.second, word.first.find(' ') == std::string::npos});
  }
  auto made = AhoCorasick::Build(list, /*blanks_run=*/true, budget.table_left());
  TG_RETURN_IF_ERROR(budget.TakeTable(made.ok() ? made->bytes() : SIZE_MAX));
  triggers_ = *std::move(made);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<const Program>> Program::Build(std::span<const Rule> rules, bool output) {
  Budget budget;
  KeywordIndexes indexes;
  return Build(rules, output, budget, indexes);
}

absl::StatusOr<std::unique_ptr<const Program>> Program::Build(std::span<const Rule> rules, bool output, Budget& budget,
                                                              KeywordIndexes& indexes) {
  std::unique_ptr<Program> out(new Program(rules));
  std::map<Group*, std::vector<Keyword>> keywords;
  for (std::uint32_t index = 0; index < rules.size(); ++index) {
    const Rule& rule = rules[index];
    TG_RETURN_IF_ERROR(budget.KeepGoing());
    if (output ? !rule.output : !rule.input) continue;
    Group& group = out->GroupFor(rule.scope);
    const bool decoded = rule.decode == Rule::Decode::kBoth || (rule.decode == Rule::Decode::kInput && !output);
    for (const auto& pattern : rule.patterns) {
      group.sources.push_back(static_cast<std::uint32_t>(out->sources_.size()));
      out->sources_.push_back(
          {index, pattern, ReplacementOf(rule, pattern->spec().label), false, rule.as_written, decoded, pattern->cap() > 0});
    }
    if (rule.keywords.empty()) continue;
    group.sources.push_back(static_cast<std::uint32_t>(out->sources_.size()));
    const auto source = static_cast<std::uint32_t>(group.keyword_sources.size());
    group.keyword_sources.push_back(group.sources.back());
    out->sources_.push_back({index, nullptr, ReplacementOf(rule, ""), false, rule.as_written, decoded});
    for (const std::string& word : rule.keywords) {
      for (std::string& form : FormsOf(word, rule))
        keywords[&group].push_back({std::move(form), source, rule.whole_word, rule.ignore_case});
    }
  }
  TG_RETURN_IF_ERROR(out->AddTriggers(budget));
  for (auto& group : out->groups_) {
    TG_ASSIGN(group->keywords, indexes.Of(std::move(keywords[group.get()]), budget));
    std::vector<std::string> prefixes;
    for (const std::uint32_t index : group->sources) {
      const Source& source = out->sources_[index];
      if (source.pattern == nullptr) continue;
      if (!source.by_trigger) {
        prefixes.push_back(source.pattern->loosened_prefixes());
      } else if (source.pattern->spec().context.empty()) {
        prefixes.push_back(source.pattern->loosened_beginnings());
      }
    }
    if (output && !prefixes.empty()) {
      TG_ASSIGN(group->live, LiveSearch::Compile(prefixes, budget));
    }
  }
  return std::unique_ptr<const Program>(std::move(out));
}

Program::Selection Program::Select(const Subject& subject, Role role, const Channel& channel) const {
  Selection out;
  out.sources.assign(sources_.size(), 0);
  for (const auto& group : groups_) {
    if (!group->scope.Covers(subject)) continue;
    bool acts = false;
    for (const std::uint32_t index : group->sources) {
      if (!rules_[sources_[index].rule].Sees(role, channel)) continue;
      acts = true;
      out.sources[index] = 1;
      out.plain = out.plain || !sources_[index].as_written;
      out.decoded = out.decoded || sources_[index].decoded;
      if (sources_[index].pattern != nullptr) out.patterns.push_back(index);
    }
    if (acts) out.groups.push_back(group.get());
  }
  std::sort(out.patterns.begin(), out.patterns.end());
  return out;
}

bool Program::HitBefore(const Hit& a, const Hit& b) const {
  if (a.begin != b.begin) return a.begin < b.begin;
  if (a.continuation != b.continuation) return a.continuation;
  const bool block_a = rules_[a.rule].action == Action::kBlock, block_b = rules_[b.rule].action == Action::kBlock;
  if (block_a != block_b) return block_a;
  if (a.source != b.source) return a.source < b.source;
  if (a.end != b.end) return a.end < b.end;
  return a.views != b.views ? a.views < b.views : a.bits_thousandths > b.bits_thousandths;
}

void Program::Finish(std::vector<Hit>& hits) const {
  for (Hit& hit : hits) hit.rule = sources_[hit.source].rule;
  std::sort(hits.begin(), hits.end(), [this](const Hit& a, const Hit& b) { return HitBefore(a, b); });
}

// What one pass over a text tells about the patterns that are worth running.
struct Program::Survey {
  struct TriggerPlaces {  // Of one word: the first, the last, and those between, none far from the next.
    std::uint32_t word = 0;
    std::size_t first_end = 0, last_end = 0;
  };
  std::vector<char> armed;              // By source: a trigger word of it is there.
  std::vector<TriggerPlaces> triggers;  // By first_end.
  std::vector<std::uint32_t> young;     // By word: its last of `triggers`.
  CharPlaces places;

  explicit Survey(std::string_view text) : places(text) {}

  // Whether it is the first of its TriggerPlaces.
  bool Note(std::uint32_t word, std::size_t end) {
    std::uint32_t& its = young[word];
    if (its < triggers.size() && end <= triggers[its].last_end + kJoinedBytes) {
      triggers[its].last_end = end;
      return false;
    }
    its = static_cast<std::uint32_t>(triggers.size());
    triggers.push_back({word, end, end});
    return true;
  }
};

Program::Survey Program::Look(std::string_view text, Effort* effort) const {
  Survey out(text);
  out.armed.assign(sources_.size(), 0);
  out.young.assign(trigger_of_.size(), UINT32_MAX);
  std::string folded;
  const std::string_view view = FoldedView(text, folded);
  AhoCorasick::State last = AhoCorasick::kStart;
  triggers_.ForEachEnd(view, last, [&](std::size_t end, AhoCorasick::State state) {
    if (IsOver(effort)) return;
    triggers_.ForEachEnding(state, [&](std::uint32_t word) {
      const Trigger& trigger = trigger_of_[word];
      if (!Spend(effort, 1) || !trigger.Opens(text, end) || !out.Note(word, end)) return;
      for (const std::uint32_t source : trigger.sources) out.armed[source] = 1;
    });
  });
  return out;
}

// Around the words that a match must hold, or behind those that must stand beside it. The latter only for a pattern that looks again inside
// what it rejects (Pattern::Accept): to leave out places where nothing can be accepted then changes nothing. A wide one may reject what
// hides another match, and is run on all of the text. Before a word that a match holds it begins no further back than all bytes are ones
// that it may have: an address not before its own first byte.
void Program::WhereToLook(std::uint32_t source, const Survey& survey, std::string_view text, std::vector<Stretch>& out) const {
  if (sources_[source].needs_trigger && !survey.armed[source]) return;
  const Pattern& pattern = *sources_[source].pattern;
  const bool context = !pattern.spec().context.empty();
  if (!sources_[source].needs_trigger || (context && !sources_[source].by_trigger)) {
    survey.places.AddNear(pattern, {0, text.size()}, out);
    return;
  }
  const auto width = static_cast<std::size_t>(pattern.width_max());
  const ByteSet& bytes = pattern.start().all();
  std::vector<Stretch> around;
  for (const Survey::TriggerPlaces& places : survey.triggers) {
    const Trigger& trigger = trigger_of_[places.word];
    if (!std::binary_search(trigger.sources.begin(), trigger.sources.end(), source)) continue;
    const std::size_t last = places.last_end - trigger.bytes;
    Stretch its{places.first_end, std::min(text.size(), last + kLeftContextBytes + 1)};
    if (!context) {
      its = {places.first_end - trigger.bytes, last + 1};
      const std::size_t least = places.first_end > width ? places.first_end - width : 0;
      while (its.begin > least && bytes[static_cast<unsigned char>(text[its.begin - 1])]) --its.begin;
    }
    if (!survey.places.Has(pattern, its)) continue;
    while (!around.empty() && its.begin <= around.back().end) {
      its = {std::min(its.begin, around.back().begin), std::max(its.end, around.back().end)};
      around.pop_back();
    }
    around.push_back(its);
  }
  for (const Stretch& its : around) survey.places.AddNear(pattern, its, out);
}

std::vector<Hit> Program::FindAll(std::string_view text, const Selection& selection, Effort* effort) const {
  std::vector<Hit> hits;
  if (selection.empty() || text.empty()) return hits;
  const Survey survey = Look(text, effort);
  const Pattern::Window window{text, 0};
  std::vector<Stretch> stretches;  // One for all, so that it is allocated once.
  for (const std::uint32_t index : selection.patterns) {
    if (sources_[index].needs_trigger && !survey.armed[index] && !sources_[index].capped) continue;
    const Pattern& pattern = *sources_[index].pattern;
    const std::size_t first = hits.size();
    Pattern::Scan scan;
    scan.effort = effort;
    if (!Spend(effort, 1 + static_cast<std::int64_t>(survey.triggers.size() / kTriggersOfUnit))) break;
    if (pattern.cap() == 0) {
      stretches.clear();
      WhereToLook(index, survey, text, stretches);
      for (const Stretch& its : stretches) survey.places.Find(pattern, its, scan, hits);
    } else {
      const bool searching = survey.armed[index] || !sources_[index].needs_trigger;
      for (std::int64_t at = 0; !IsOver(effort) && (at = NextCheckpoint(window, at, pattern.cap())) >= 0;) {
        pattern.FindCapped({text.substr(0, static_cast<std::size_t>(at)), 0}, false, searching, Swallows(sources_[index]), scan, hits);
      }
      if (searching || scan.swallowing) pattern.FindCapped(window, true, searching, Swallows(sources_[index]), scan, hits);
    }
    for (std::size_t i = first; i < hits.size(); ++i) hits[i].source = index;
  }
  for (const Group* group : selection.groups) {
    if (group->keywords->empty()) continue;
    KeywordScan(*group->keywords, selection.sources, group->keyword_sources, effort).FindAll(text, hits);
  }
  Finish(hits);
  return hits;
}

}  // namespace tollgate::policy
