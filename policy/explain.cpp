// The verdict and the result are those of the compiled set itself, so an explanation cannot disagree with what a request meets. The spans
// and their fates come from the same program and resolver, looked at one hit at a time.
//
// Tested by tests/policy/explain_test.cpp.
#include "policy/explain.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/encoding.h"
#include "policy/cost.h"
#include "policy/disguise.h"
#include "policy/evidence.h"
#include "policy/explain_asked.h"
#include "policy/explain_readings.h"
#include "policy/fold.h"
#include "policy/json_parts.h"
#include "policy/program.h"
#include "policy/resolver.h"
#include "policy/rule_yaml.h"
#include "policy/validators.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kKeywordsNamed = 4, kNearKeywordsTried = 20000;

std::string OtherName(const char* kind, const std::vector<std::string>& names, const std::string& name) {
  if (names.empty() || std::find(names.begin(), names.end(), name) != names.end()) return "";
  return fmt::format("it acts on {} {}, and this text comes from {}", kind, fmt::join(names, " or "),
                     name.empty() ? fmt::format("no known {}", kind) : name);
}

std::string OtherModel(const std::vector<std::string>& names, const Subject& subject) {
  for (const std::string& part : subject.model_parts) {
    if (OtherName("model", names, part).empty()) return "";
  }
  return OtherName("model", names, subject.model);
}

// Why the rule's `where` does not cover the text; empty if it does.
std::string NotHere(const Rule& rule, const Subject& subject, const ExplainedText& text) {
  if (text.output && !rule.output) return "it acts on input only, and this is a reply";
  if (!text.output && !rule.input) return "it acts on output only, and this is a prompt";
  const Role role = text.output ? Role::kAssistant : text.role;
  const Sight& sight = rule.SightOf(text.output);
  if (!sight.SeesRole(role)) return fmt::format("its roles do not include {}, who wrote this", RoleName(role));
  const Channel its{role == Role::kTool ? Part::kToolResult : text.channel.part, text.channel.tool};
  if (!sight.SeesPart(its.part)) return fmt::format("its parts do not include {}, which this is", PartName(its.part));
  if (!rule.Sees(role, its)) return OtherName("tool", sight.tools, its.tool);
  for (const std::string& other :
       {OtherName("org", rule.scope.orgs, subject.org), OtherName("team", rule.scope.teams, subject.team),
        OtherName("project", rule.scope.projects, subject.project), OtherName("key", rule.scope.keys, subject.key),
        OtherModel(rule.scope.models, subject), OtherName("end_user", rule.scope.end_users, subject.end_user)}) {
    if (!other.empty()) return other;
  }
  if (rule.scope.time && (subject.unix_seconds == 0 || !rule.scope.time->Holds(subject.unix_seconds)))
    return fmt::format("it acts at {}, and it is another time", rule.scope.time->Summary());
  return "";
}

std::string Few(const std::vector<std::string>& words) {
  const std::size_t n = std::min(words.size(), kKeywordsNamed);
  return fmt::format("{}{}", fmt::join(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(n), ", "), words.size() > n ? " …" : "");
}

// Why none of the rule's keywords was found.
std::string NoKeyword(const Rule& rule, std::string_view text) {
  const std::string folded = FoldCase(text);
  for (std::size_t i = 0; i < std::min(rule.keywords.size(), kNearKeywordsTried); ++i) {
    const std::string& word = rule.keywords[i];
    if (rule.whole_word && text.find(word) != std::string_view::npos)
      return fmt::format("'{}' is there only inside a longer word, and whole words count", word);
    if (folded.find(FoldCase(word)) != std::string::npos)
      return fmt::format("'{}' is there only {}", word,
                         rule.ignore_case ? "inside a longer word, and whole words count" : "in another case");
  }
  return fmt::format("none of its keywords is in the text ({})", Few(rule.keywords));
}

// The hits of allow rules, asked in the order of the hits that may lie inside them.
class Allows {
 public:
  Allows(std::span<const Rule> rules, std::span<const Hit> hits) : rules_(rules) {
    for (const Hit& hit : hits) {
      if (rules[hit.rule].action == Action::kAllow) all_.push_back(&hit);
    }
  }
  const Hit* Over(const Hit& hit) {
    while (next_ < all_.size() && all_[next_]->begin <= hit.begin) open_.push_back(all_[next_++]);
    std::erase_if(open_, [&](const Hit* allow) { return allow->end <= hit.begin; });
    if (rules_[hit.rule].action == Action::kAllow) return nullptr;
    const auto over = std::find_if(open_.begin(), open_.end(), [&](const Hit* allow) {
      return allow->end >= hit.end && allow->Excuses(hit) && Exempts(rules_, allow->rule, hit.rule);
    });
    return over == open_.end() ? nullptr : *over;
  }

 private:
  const std::span<const Rule> rules_;
  std::vector<const Hit*> all_, open_;
  std::size_t next_ = 0;
};

class Explainer {
 public:
  // `text` as rules see it, the `prompt` that it is, and as it is `written`.
  Explainer(std::span<const Rule> rules, const Program& program, const Subject& subject, const ExplainedText& text,
            std::span<const Message> prompt, std::string_view written, const Asked& asked, Effort& effort)
      : rules_(rules),
        program_(program),
        subject_(subject),
        text_(text),
        prompt_(prompt),
        written_(written),
        asked_(asked),
        effort_(effort),
        selection_(program.Select(subject, text.output ? Role::kAssistant : text.role, text.channel)),
        hits_(FindEverywhere(program, text.text, selection_, &effort)) {}

  void Fill(Explanation& out) {
    Tally tally(rules_);
    Resolver resolver(program_, tally, /*stop_at_block=*/text_.output);
    resolver.Judge(hits_);
    std::vector<std::int64_t> counts(rules_.size()), acted(rules_.size());
    std::vector<std::string> allowed_by(rules_.size());
    bool over = false;  // The reply has ended.
    LinePlace place;
    Allows allows(rules_, hits_);
    const Hit* last = nullptr;
    for (const Hit& hit : hits_) {
      // The same in the plain form as it is written: told once, as the resolver counts it.
      const bool again = last != nullptr && hit.source == last->source && hit.begin == last->begin && hit.end == last->end;
      if (hit.continuation || again) continue;
      last = &hit;
      const Hit* allow = allows.Over(hit);
      FoundSpan span = Describe(hit, place);
      ++counts[hit.rule];
      if (over) {
        span.became = "nothing: the reply ended before it";
      } else if (allow != nullptr) {
        const bool own = rules_[allow->rule].exception;
        span.became = own ? "nothing: its own `unless` exempts it" : fmt::format("nothing: rule {} allows it", rules_[allow->rule].id);
        allowed_by[hit.rule] = own ? "its own `unless` exempts" : fmt::format("rule {} allows", rules_[allow->rule].id);
      } else {
        span.became = Fate(hit, resolver);
        if (const int retries = rules_[hit.rule].retries; text_.output && retries > 0)
          span.became = fmt::format("is written anew up to {} times, and if it is found once more {}", retries, span.became);
        ++acted[hit.rule];
      }
      over = over || (text_.output && resolver.blocked() && allow == nullptr && hit.rule == resolver.block_rule() &&
                      hit.begin == resolver.block_begin());
      if (out.found.size() < Explanation::kFoundMax) out.found.push_back(std::move(span));
    }
    out.shared_micros =
        std::min(SharedMicros(program_, selection_, text_.text, &effort_), out.micros);  // Measured by itself: the clock is not exact.
    AddSpansOfOthers(rules_, asked_, text_, out.found);
    for (std::uint32_t index = 0; index < rules_.size(); ++index) {
      if (rules_[index].exception) continue;
      out.rules.push_back(Tell(index, counts[index], acted[index], allowed_by[index], out));
    }
  }

 private:
  // `place` is where the last described hit began.
  FoundSpan Describe(const Hit& hit, LinePlace& place) const {
    const Rule& rule = rules_[hit.rule];
    place.GoTo(text_.text, static_cast<std::size_t>(hit.begin));
    FoundSpan out{rule.id, rule.severity, rule.action, hit.begin, hit.end, place.line, place.column, "keyword", {}, {}, ""};
    const auto& pattern = program_.sources()[hit.source].pattern;
    if (pattern != nullptr) out.detector = DetectorOf(*pattern);
    // What it is in such a form is not told in the terms of the bytes that are here.
    if (hit.views == Hit::kDecoded || hit.views == Hit::kPlain) {
      out.evidence.emplace_back(hit.views == Hit::kDecoded ? "it is in what these bytes say when they are decoded"
                                                           : "it is in the text's plain form, without what disguises or escapes it");
      return out;
    }
    if (pattern == nullptr) {
      if (rule.whole_word) out.evidence.emplace_back("it stands as a whole word");
      return out;
    }
    const auto begin = static_cast<std::size_t>(hit.begin), end = static_cast<std::size_t>(hit.end);
    out.evidence = EvidenceOf(*pattern, text_.text, begin, end);
    out.score = ScoreOf(program_, hit);
    return out;
  }

  std::string Fate(const Hit& hit, const Resolver& resolver) const {
    switch (rules_[hit.rule].action) {
      case Action::kAllow:
        return rules_[hit.rule].exception ? fmt::format("exempts what rule {} finds inside it", rules_[hit.rule].id)
                                          : "is allowed, and all inside it";
      case Action::kFlag: {
        const Effect::Kind effect = rules_[hit.rule].effect.kind;
        if (effect == Effect::Kind::kNone) return "is noted in the record, and stays";
        return fmt::format("stays, and is why {} applies to the request", EffectName(effect));
      }
      case Action::kBlock: return text_.output ? "ends the reply before it" : "refuses the prompt";
      case Action::kRedact: break;
    }
    const auto& edits = resolver.edits();
    const auto after = std::upper_bound(edits.begin(), edits.end(), hit.begin,
                                        [](std::int64_t begin, const Resolver::Edit& edit) { return begin < edit.begin; });
    if (after == edits.begin() || std::prev(after)->end <= hit.begin) return "is cut off with the end of the reply";
    const Resolver::Edit& edit = *std::prev(after);
    const Program::Source& source = program_.sources()[edit.source];
    const auto span =
        std::string_view(text_.text).substr(static_cast<std::size_t>(edit.begin), static_cast<std::size_t>(edit.end - edit.begin));
    const std::string replacement = source.replacement.For(span, edit.alone);
    if (edit.source == hit.source && edit.begin == hit.begin) return "becomes " + replacement;
    return fmt::format("goes with what rule {} found, and becomes {}", rules_[source.rule].id, replacement);
  }

  RuleStory Tell(std::uint32_t index, std::int64_t count, std::int64_t acted, const std::string& allowed_by,
                 const Explanation& so_far) const {
    const Rule& rule = rules_[index];
    RuleStory out{rule.policy, rule.id, rule.severity, rule.detect, rule.because, rule.line, rule.column,
                  rule.action, {},      count,         "",          {},           0,         {}};
    out.why = NotHere(rule, subject_, text_);
    if (!out.why.empty()) {
      out.state = RuleStory::State::kNotHere;
      return out;
    }
    if (!rule.gauges.empty() && !text_.output) {
      TellGauges(rule, out);
      return out;
    }
    if (rule.ask && rule.ask->shape != nullptr) {
      TellShape(*rule.ask->shape, out);
      return out;
    }
    if (rule.ask) {
      TellAsked(rule, asked_, out);
      return out;
    }
    out.micros = RuleMicros(program_, selection_, index, text_.text, so_far.shared_micros, &effort_);
    if (count > 0 && (acted > 0 || allowed_by.empty())) {
      out.state = RuleStory::State::kHit;
      out.why = fmt::format("it found {} span{}", count, count == 1 ? "" : "s");
    } else if (count > 0) {
      out.state = RuleStory::State::kAllowed;
      out.why = fmt::format("all that it found lies inside what {}", allowed_by);
    } else {
      out.state = RuleStory::State::kNoMatch;
      out.why = NoMatch(rule);
    }
    return out;
  }

  // What looks at the prompt as a whole: here it is this text.
  void TellGauges(const Rule& rule, RuleStory& out) const {
    PromptMeasure measure(subject_, prompt_);
    const auto reading = measure.FirstOver(rule.gauges, rule.sight);
    for (const Gauge& gauge : rule.gauges) {
      const auto score = PromptMeasure::Reading{gauge, measure.Value(gauge, rule.sight)}.score();
      if (!score || (reading && !(reading->gauge == gauge))) continue;
      if (!out.score || score->value / score->least > out.score->value / out.score->least) out.score = score;
    }
    out.state = reading ? RuleStory::State::kHit : RuleStory::State::kNoMatch;
    out.count = reading ? 1 : 0;
    out.why = PromptMeasure::Told(reading);
  }

  // What looks at a reply as a whole.
  void TellShape(const ReplyShape& shape, RuleStory& out) const {
    const std::string_view text = shape.reads() == ReplyShape::Reads::kWritten ? written_ : text_.text;
    const bool broken = !shape.Breaks(text).empty();
    out.state = broken ? RuleStory::State::kHit : RuleStory::State::kNoMatch;
    out.count = broken ? 1 : 0;
    out.why = shape.Why(text);
    out.score = shape.Measured(text);
  }

  std::string NoMatch(const Rule& rule) const {
    if (rule.patterns.empty()) return NoKeyword(rule, text_.text);
    std::string nameless;
    for (const auto& pattern : rule.patterns) {
      const auto miss = FindNearMiss(*pattern, text_.text);
      if (!miss) continue;
      const std::string words =
          fmt::format("bytes {} to {} have the form of {}, but {}", miss->begin, miss->end, DetectorOf(*pattern), miss->missing);
      if (!miss->missing.starts_with("none of the words")) return words;
      if (nameless.empty()) nameless = words;
    }
    return nameless.empty() ? "nothing in the text has its form" : nameless;
  }

  const std::span<const Rule> rules_;
  const Program& program_;
  const Subject& subject_;
  const ExplainedText& text_;
  const std::span<const Message> prompt_;
  const std::string_view written_;
  const Asked& asked_;
  Effort& effort_;
  const Program::Selection selection_;
  const std::vector<Hit> hits_;
};

// As a request has it: who wrote it and what it is belong together.
ExplainedText InRequest(ExplainedText text) {
  if (text.output) return text;
  Part& part = text.channel.part;
  if (text.role == Role::kTool && part == Part::kText) part = Part::kToolResult;
  if (part == Part::kToolResult) text.role = Role::kTool;
  if (part == Part::kToolCall) text.role = Role::kAssistant;
  if (part == Part::kToolDefinition) text.role = Role::kSystem;
  return text;
}

// `prompt`: what of a request the text is; of a reply nothing.
absl::Status Judge(const PolicySet& set, const Subject& subject, const ExplainedText& text, std::span<const Message> prompt,
                   const AskOthers& ask, const KeepGoing& keep_going, Asked& asked, Explanation& out) {
  if (text.output) {
    TG_ASSIGN(Filtered filtered, set.FilterWhole(subject, text.text, text.channel, keep_going));
    out.verdict = std::move(filtered.verdict);
    out.result = std::move(filtered.text);
    out.micros = MicrosOf([&] { set.FilterWhole(subject, text.text, text.channel, keep_going).IgnoreError(); });
    const Message reply{Role::kAssistant, text.channel.tool, {out.result}, false, text.channel};
    std::vector<Question> questions;
    if (!filtered.blocked && !out.result.empty()) questions = set.QuestionsOfOutput(subject, text.channel);
    return HearOthers(set, std::move(questions), reply, ask, asked, out);
  }
  TG_ASSIGN(Inspection inspection, set.Inspect(subject, prompt, keep_going));
  out.verdict = std::move(inspection.verdict);
  const Message& used = inspection.prompt[inspection.put_before];
  if (out.verdict.action != Action::kBlock) out.result = TextUsed(used, text.text);
  out.micros = MicrosOf([&] { set.Inspect(subject, prompt, keep_going).IgnoreError(); });
  return HearOthers(set, inspection.questions, used, ask, asked, out);
}

}  // namespace

const char* StateName(RuleStory::State state) {
  static constexpr const char* kNames[] = {"hit", "allowed", "not here", "no match", "failed"};
  return kNames[static_cast<std::size_t>(state)];
}

absl::StatusOr<Explanation> Explain(std::span<const PolicySource> sources, const Subject& subject, const ExplainedText& given,
                                    const AskOthers& ask, const std::function<absl::Status()>& keep_going) {
  const ExplainedText text = InRequest(given);
  if (text.text.size() > ExplainedText::kBytesMax)
    return base::InvalidArgument("at most 256 KiB of text can be explained at once; cut out the part in question");
  if (!base::IsValidUtf8(text.text)) return base::InvalidArgument("the text is not valid UTF-8");
  TG_ASSIGN(const auto set, PolicySet::Compile(sources, RunTests::kNo, keep_going));
  std::vector<Rule> rules;
  Budget budget(keep_going);
  KeywordIndexes indexes;
  TG_RETURN_IF_ERROR(ReadPolicies(sources, rules, budget));
  TG_ASSIGN(const auto program, Program::Build(rules, text.output, budget, indexes));
  Explanation out;
  out.digest = set->digest();
  Asked asked;
  Effort effort(keep_going);
  std::vector<Message> prompt;
  if (!text.output) prompt = PromptOf(text.role, text.channel, text.text);
  TG_RETURN_IF_ERROR(Judge(*set, subject, text, prompt, ask, keep_going, asked, out));
  ExplainedText judged = text;
  if (IsDecoded(text.channel.part, text.output)) judged.text = JsonDecoded(text.text);
  Explainer(rules, *program, subject, judged, prompt, text.text, asked, effort).Fill(out);
  if (judged.text != text.text) out.judged = std::move(judged.text);
  if (prompt.size() > 1) {  // A result that is read twice.
    ExplainedText read = text;
    read.text = TextOf(prompt[1]);
    Explanation again;
    again.micros = out.micros;
    Explainer(rules, *program, subject, read, prompt, text.text, asked, effort).Fill(again);
    AddReading(text.text, std::move(again), out);
  }
  if (effort.over()) return effort.status();
  return out;
}

}  // namespace tollgate::policy
