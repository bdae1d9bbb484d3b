// Whether a rule can act, and on how much. A rule is shadowed when another one, at least as wide in its `where`, finds all that it finds in
// every example, and its action then leaves nothing for this one to do.
//
// Tested by tests/policy/lint_test.cpp.
#include <algorithm>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/adapter_names.h"
#include "base/nearest_word.h"
#include "policy/lint_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kAlwaysOnShare = 4;  // One ordinary sentence in so many.

bool Holds(const std::vector<std::string>& wide, const std::vector<std::string>& narrow) {
  if (wide.empty()) return true;
  if (narrow.empty()) return false;
  return std::all_of(narrow.begin(), narrow.end(),
                     [&](const std::string& n) { return std::find(wide.begin(), wide.end(), n) != wide.end(); });
}

// Wherever `narrow` acts, so does `wide`.
bool CoversWhere(const Rule& wide, const Rule& narrow) {
  return Holds(wide.scope.orgs, narrow.scope.orgs) && Holds(wide.scope.teams, narrow.scope.teams) &&
         Holds(wide.scope.projects, narrow.scope.projects) && Holds(wide.scope.keys, narrow.scope.keys) &&
         Holds(wide.scope.models, narrow.scope.models) && Holds(wide.scope.end_users, narrow.scope.end_users) &&
         wide.sight.Holds(narrow.sight) && (!wide.scope.time || wide.scope.time == narrow.scope.time) && (wide.input || !narrow.input) &&
         (wide.output || !narrow.output);
}

// Every hit of `inner` in the text lies inside one of `outer`, and there is one.
bool AllInside(const std::vector<Hit>& hits, std::uint32_t inner, std::uint32_t outer) {
  bool any = false;
  for (const Hit& hit : hits) {
    if (hit.rule != inner) continue;
    any = true;
    const auto holds = [&](const Hit& other) { return other.rule == outer && other.begin <= hit.begin && other.end >= hit.end; };
    if (std::none_of(hits.begin(), hits.end(), holds)) return false;
  }
  return any;
}

bool SharesDetectors(const Rule& wide, const Rule& narrow) {
  return !narrow.patterns.empty() && std::all_of(narrow.patterns.begin(), narrow.patterns.end(), [&](const auto& pattern) {
    return std::find(wide.patterns.begin(), wide.patterns.end(), pattern) != wide.patterns.end();
  });
}

// The rules that find everything that `rule` finds, in all its examples or because they share its detectors.
std::vector<std::uint32_t> Covering(const Look& look, std::uint32_t rule) {
  std::vector<std::uint32_t> out;
  std::vector<std::vector<Hit>> hits;
  std::set<std::uint32_t> candidates;
  for (const std::string& example : look.examples[rule]) hits.push_back(look.Find(example));
  if (!hits.empty()) {
    for (const Hit& hit : hits.front()) candidates.insert(hit.rule);
  }
  candidates.erase(rule);
  for (std::uint32_t other = 0; other < look.rules.size(); ++other) {
    if (other == rule || !Exempts(look.rules, other, rule) || !CoversWhere(look.rules[other], look.rules[rule])) continue;
    const bool shown = candidates.contains(other) &&
                       std::all_of(hits.begin(), hits.end(), [&](const std::vector<Hit>& its) { return AllInside(its, rule, other); });
    if (shown || SharesDetectors(look.rules[other], look.rules[rule])) out.push_back(other);
  }
  return out;
}

// The words for two rules of one action where the first one finds all that the second does; empty where each does something of its own.
const char* BothAct(const Rule& first, const Rule& second) {
  const auto written = [](const Replacement& r) { return std::tie(r.form, r.text, r.keep_last, r.salt); };
  if (second.action == Action::kRedact && written(first.replacement) == written(second.replacement))
    return ", and its replacement is the one that is written; merge them";
  if (second.action == Action::kRedact) return ", and its replacement is written, never this one's: the two contradict; remove one of them";
  const bool same = first.effect == second.effect && first.retries == second.retries &&
                    (second.action != Action::kFlag || first.severity == second.severity);
  return same ? " and does the same; merge them" : "";
}

// Whatever prompt hits one of `narrow`'s gauges hits one of `wide`'s.
bool CoversGauges(const Rule& wide, const Rule& narrow) {
  const auto always = [](const Gauge& gauge) { return gauge.measure == Gauge::Measure::kAlways; };
  if (std::any_of(wide.gauges.begin(), wide.gauges.end(), always)) return true;
  return !narrow.gauges.empty() && wide.sight == narrow.sight &&
         std::all_of(narrow.gauges.begin(), narrow.gauges.end(), [&](const Gauge& n) {
           return std::any_of(wide.gauges.begin(), wide.gauges.end(),
                              [&](const Gauge& w) { return w.measure == n.measure && w.languages == n.languages && w.over <= n.over; });
         });
}

// Of several routes that apply to a request the first in the policies' order is taken.
void CheckRoutes(const Look& look, std::uint32_t rule, const std::vector<std::uint32_t>& covering, Remarks& remarks) {
  const Rule& own = look.rules[rule];
  for (std::uint32_t other = 0; other < rule; ++other) {
    const Rule& first = look.rules[other];
    const bool both = own.effect.kind == Effect::Kind::kRoute && first.effect.kind == Effect::Kind::kRoute;
    if (!both || own.effect == first.effect) continue;
    const bool found = std::find(covering.begin(), covering.end(), other) != covering.end();
    if (!found && !(CoversGauges(first, own) && CoversWhere(first, own))) continue;
    remarks.Add(
        own, LintLevel::kWarning, "shadowed",
        fmt::format("rule {} finds all that it finds and comes first, and sends the request to '{}': the two contradict, and this one "
                    "never sends one to '{}'; narrow {} or remove one of them",
                    first.id, first.effect.text, own.effect.text, first.id));
    return;
  }
}

void CheckShadow(const Look& look, std::uint32_t rule, Remarks& remarks) {
  const Rule& own = look.rules[rule];
  const std::size_t examples = look.examples[rule].size();
  const std::string tried = examples == 0 ? "it has the same detectors" : fmt::format("in all of {} examples", examples);
  const std::vector<std::uint32_t> covering = Covering(look, rule);
  for (const std::uint32_t other : covering) {
    const Rule& by = look.rules[other];
    if (by.exception) {
      remarks.Add(own, LintLevel::kError, "shadowed", fmt::format("its own `unless` exempts all that it finds ({}); narrow it", tried));
    } else if (by.action == Action::kAllow && own.action != Action::kAllow) {
      remarks.Add(
          own, LintLevel::kError, "shadowed",
          fmt::format("rule {} allows all that it finds ({}), so it never acts; narrow {} or remove this rule", by.id, tried, by.id));
    } else if (by.action == Action::kBlock && own.action == Action::kRedact) {
      remarks.Add(
          own, LintLevel::kWarning, "shadowed",
          fmt::format("rule {} blocks whatever it finds ({}), so what it writes instead is never seen; remove one of them", by.id, tried));
    } else if (by.action == Action::kBlock && own.effect.kind != Effect::Kind::kNone) {
      remarks.Add(own, LintLevel::kWarning, "shadowed",
                  fmt::format("rule {} blocks whatever it finds ({}), so its {} never applies; remove one of them", by.id, tried,
                              EffectName(own.effect.kind)));
    } else if (by.action == own.action && other < rule && BothAct(by, own)[0] != 0) {
      remarks.Add(own, own.action == Action::kRedact ? LintLevel::kWarning : LintLevel::kNote, "shadowed",
                  fmt::format("rule {} finds all that it finds ({}){}", by.id, tried, BothAct(by, own)));
    } else {
      continue;
    }
    return;  // One is enough.
  }
  CheckRoutes(look, rule, covering, remarks);
}

// A regex whose words it does not find itself; an exception to nothing.
void CheckDead(const Look& look, std::uint32_t rule, Remarks& remarks) {
  const Rule& own = look.rules[rule];
  const auto& examples = look.examples[rule];
  const bool plain = !own.patterns.empty() && std::all_of(own.patterns.begin(), own.patterns.end(),
                                                          [](const auto& pattern) { return pattern->spec().label.empty(); });
  if (examples.empty() && plain) {
    remarks.Add(own, LintLevel::kError, "dead",
                "no text could be found that its regex matches; look for an assertion (^ $ \\b) that its neighbours contradict");
  }
  if (own.action != Action::kAllow || examples.empty()) return;
  for (const std::string& example : examples) {
    const std::vector<Hit> hits = look.Find(example);
    for (const Hit& hit : hits) {
      if (look.rules[hit.rule].action == Action::kAllow) continue;  // An `unless` too.
      const auto allows = [&](const Hit& a) { return a.rule == rule && a.begin <= hit.begin && a.end >= hit.end; };
      if (std::any_of(hits.begin(), hits.end(), allows)) return;
    }
  }
  remarks.Add(
      own, LintLevel::kWarning, "dead",
      fmt::format("it is an exception to nothing: in {} example{} no other rule finds anything inside what it allows; remove it, or see "
                  "`tollgate policy explain`",
                  examples.size(), examples.size() == 1 ? "" : "s"));
}

// `command`: what lists those of this kind.
void TellUnknown(const Rule& rule, std::string_view kind, std::string_view command, const std::string& name, bool only_one,
                 const std::vector<std::string>& known, Remarks& remarks) {
  const std::vector<std::string_view> names(known.begin(), known.end());
  const std::string_view near = base::NearestWord(name, names);
  remarks.Add(rule, only_one ? LintLevel::kError : LintLevel::kWarning, "dead",
              fmt::format("there is no {} '{}'{}", kind, name,
                          near.empty() ? fmt::format(", so it acts on nobody's requests; see `tollgate {} list`", command)
                                       : fmt::format("; did you mean '{}'?", near)));
}

void CheckList(const Rule& rule, const char* kind, const std::vector<std::string>& used, const std::vector<std::string>& known,
               Remarks& remarks) {
  if (known.empty()) return;
  for (const std::string& name : used) {
    if (std::find(known.begin(), known.end(), name) == known.end()) TellUnknown(rule, kind, kind, name, used.size() == 1, known, remarks);
  }
}

// A model, an adapter, or several of one model in the order in which they are called.
bool IsModel(const std::string& name, const std::vector<std::string>& known) {
  const auto there = [&](const std::string& one) { return std::find(known.begin(), known.end(), one) != known.end(); };
  if (there(name)) return true;
  const base::AdapterNames names = base::SplitAdapters(name);
  return !names.adapters.empty() && there(names.base) && std::all_of(names.adapters.begin(), names.adapters.end(), there) &&
         base::JoinAdapters(names.adapters) == name;
}

}  // namespace

void CheckNames(const Look& look, const KnownNames& known, Remarks& remarks) {
  for (const Rule& rule : look.rules) {
    if (rule.exception) continue;
    CheckList(rule, "org", rule.scope.orgs, known.orgs, remarks);
    CheckList(rule, "team", rule.scope.teams, known.teams, remarks);
    CheckList(rule, "project", rule.scope.projects, known.projects, remarks);
    CheckList(rule, "key", rule.scope.keys, known.keys, remarks);
  }
  CheckModels(look.rules, known, remarks);
}

std::string AliasSentence(std::string_view alias, std::span<const std::string> models) {
  return fmt::format("`{}` is an alias; rules go by the model that it leads to{}{}", alias, models.empty() ? "" : ": ",
                     fmt::join(models, ", "));
}

// A rule is shown the model that is used, never the alias that led to it. One whose alias has a model's name acts where others lead to
// that.
void CheckModels(std::span<const Rule> rules, const KnownNames& known, Remarks& remarks) {
  for (const Rule& rule : rules) {
    if (rule.exception) continue;
    for (const std::string& name : rule.scope.models) {
      const bool only_one = rule.scope.models.size() == 1;
      const bool is_model = IsModel(name, known.models);
      if (const auto alias = known.aliases.find(name); alias != known.aliases.end()) {
        remarks.Add(rule, only_one && !is_model ? LintLevel::kError : LintLevel::kWarning, "dead", AliasSentence(name, alias->second));
      } else if (!is_model && !known.models.empty()) {
        TellUnknown(rule, "model", "models", name, only_one, known.models, remarks);
      }
    }
  }
}

// A rule that asks whom nobody knows acts on everything, or with on_error: allow on nothing.
void CheckAsked(std::span<const Rule> rules, const KnownNames& known, Remarks& remarks) {
  for (const Rule& rule : rules) {
    if (rule.exception) continue;
    const bool routes = rule.effect.kind == Effect::Kind::kRoute;
    if (rule.ask && rule.ask->metered() && known.is_model && !known.is_model(rule.ask->name)) {
      remarks.Add(
          rule, LintLevel::kError, "asks",
          fmt::format("it asks model '{}', and there is no model or alias of that name here; see `tollgate models list`", rule.ask->name));
    } else if (routes && known.is_model && !known.is_model(rule.effect.text)) {
      remarks.Add(rule, LintLevel::kError, "asks",
                  fmt::format("it sends requests to '{}', and there is no model or alias of that name here; see `tollgate models list`",
                              rule.effect.text));
    } else if (rule.ask && !rule.ask->metered() && rule.ask->shape == nullptr && known.detectors) {
      if (std::find(known.detectors->begin(), known.detectors->end(), rule.ask->name) != known.detectors->end()) continue;
      const std::vector<std::string_view> names(known.detectors->begin(), known.detectors->end());
      const std::string_view near = base::NearestWord(rule.ask->name, names);
      remarks.Add(rule, LintLevel::kError, "asks",
                  fmt::format("no detector '{}' is configured{}", rule.ask->name,
                              near.empty() ? "; name it under detectors in tollgate.yaml" : fmt::format("; did you mean '{}'?", near)));
    }
  }
}

void CheckReach(const Look& look, Remarks& remarks) {
  for (std::uint32_t rule = 0; rule < look.rules.size(); ++rule) {
    if (look.rules[rule].exception) continue;
    CheckDead(look, rule, remarks);
    CheckShadow(look, rule, remarks);
  }
}

void CheckOrdinary(const Look& look, Remarks& remarks) {
  const auto sentences = OrdinarySentences();
  std::vector<std::size_t> counts(look.rules.size());
  std::vector<const char*> first(look.rules.size());
  for (const char* sentence : sentences) {
    std::set<std::uint32_t> found;
    for (const Hit& hit : look.Find(sentence)) found.insert(hit.rule);
    const Message message{Role::kUser, "", {sentence}};
    Subject subject;
    subject.prompt_tokens = EstimateTokens(sentence);
    PromptMeasure measure(subject, {&message, 1});
    for (std::uint32_t rule = 0; rule < look.rules.size(); ++rule) {
      // What asks something of a request may well ask it of all.
      const bool judges = look.rules[rule].effect.kind == Effect::Kind::kNone;
      if (judges && measure.FirstOver(look.rules[rule].gauges, {})) found.insert(rule);
    }
    for (const std::uint32_t rule : found) {
      if (counts[rule]++ == 0) first[rule] = sentence;
    }
  }
  for (std::uint32_t rule = 0; rule < look.rules.size(); ++rule) {
    const Rule& own = look.rules[rule];
    if (counts[rule] == 0 || own.exception) continue;
    const std::string where = fmt::format("in {} of {} ordinary sentences, as in \"{}\"", counts[rule], sentences.size(), first[rule]);
    if (counts[rule] * kAlwaysOnShare < sentences.size()) {
      remarks.Add(own, LintLevel::kNote, "always-on", fmt::format("it finds something {}", where));
      continue;
    }
    const bool harsh = (own.action == Action::kBlock || own.action == Action::kAllow) && own.scope == Scope{};
    const char* what = own.action == Action::kAllow ? "it exempts almost everything from the other rules: it finds something"
                                                    : "it acts on almost everything: it finds something";
    remarks.Add(own, harsh ? LintLevel::kError : LintLevel::kWarning, "always-on",
                fmt::format("{} {}; narrow what it looks for", what, where));
  }
}

}  // namespace tollgate::policy
