// Every check looks at the rules without their `where`, compiled into one program, so that it can ask of any text which rules find
// something in it and where. What a rule finds is known by example: its keywords, words made from its regex, the texts of its own tests. A
// remark that rests on examples says how many there were.
//
// Tested by tests/policy/lint_test.cpp.
#include "policy/lint.h"

#include <algorithm>

#include "policy/lint_internal.h"
#include "policy/rule_yaml.h"

namespace tollgate::policy {
namespace {

constexpr int kSamplesOfPattern = 12;
constexpr std::size_t kKeywordsTried = 64;

bool Finds(const Look& look, std::uint32_t rule, const std::string& text) {
  const std::vector<Hit> hits = look.Find(text);
  return std::any_of(hits.begin(), hits.end(), [&](const Hit& hit) { return hit.rule == rule; });
}

// The word as it must stand for the rule to find it; empty if it finds it nowhere.
std::string InPlace(const Look& look, std::uint32_t rule, const std::string& word) {
  for (const auto& [before, after] :
       {std::pair("", ""), std::pair(" ", " "), std::pair("\n", "\n"), std::pair("a", "a"), std::pair("a", " "), std::pair(" ", "a")}) {
    const std::string text = before + word + after;
    if (Finds(look, rule, text)) return text;
  }
  return "";
}

void AddExamples(Look& look, std::uint32_t rule) {
  const Rule& own = look.rules[rule];
  std::vector<std::string>& out = look.examples[rule];
  for (const RuleTest& test : own.tests) {
    if (std::find(test.expect.begin(), test.expect.end(), own.id) != test.expect.end() && Finds(look, rule, test.text))
      out.push_back(test.text);
  }
  const std::size_t step = std::max<std::size_t>(own.keywords.size() / kKeywordsTried, 1);
  for (std::size_t i = 0; i < own.keywords.size(); i += step) {
    if (std::string text = InPlace(look, rule, own.keywords[i]); !text.empty()) out.push_back(std::move(text));
  }
  for (const auto& pattern : own.patterns) {
    if (!pattern->spec().label.empty()) continue;  // A built-in one wants check digits.
    for (const std::string& word : SampleWords(pattern->spec().regex, kSamplesOfPattern)) {
      if (std::string text = InPlace(look, rule, word); !text.empty()) out.push_back(std::move(text));
    }
  }
}

}  // namespace

const char* LintLevelName(LintLevel level) {
  static constexpr const char* kNames[] = {"note", "warning", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

LintLevel LintReport::worst() const {
  LintLevel out = LintLevel::kNote;
  for (const LintRemark& remark : remarks) out = std::max(out, remark.level);
  return out;
}

absl::StatusOr<std::unique_ptr<const Look>> MakeLook(std::span<const Rule> rules) {
  auto out = std::make_unique<Look>();
  out->rules = rules;
  out->open.assign(rules.begin(), rules.end());
  for (Rule& rule : out->open) {
    rule.scope = {};
    rule.sight = {};
    rule.input = rule.output = true;
  }
  TG_ASSIGN(out->program, Program::Build(out->open, false));
  out->all = out->program->Select({}, Role::kUser);
  out->examples.resize(rules.size());
  for (std::uint32_t rule = 0; rule < rules.size(); ++rule) AddExamples(*out, rule);
  return std::unique_ptr<const Look>(std::move(out));
}

absl::StatusOr<LintReport> Lint(std::span<const PolicySource> sources, const LintOptions& options) {
  TG_RETURN_IF_ERROR(PolicySet::Compile(sources, options.tests, options.keep_going).status());
  std::vector<Rule> rules;
  Budget budget(options.keep_going);
  TG_RETURN_IF_ERROR(ReadPolicies(sources, rules, budget));
  LintReport out;
  if (rules.empty()) return out;
  TG_ASSIGN(const auto look, MakeLook(rules));
  Remarks remarks;
  CheckNames(*look, options.known, remarks);
  CheckAsked(rules, options.known, remarks);
  CheckReach(*look, remarks);
  CheckOrdinary(*look, remarks);
  CheckLeaks(*look, remarks);
  CheckWords(*look, remarks);
  TG_RETURN_IF_ERROR(MeasureCosts(*look, options, out, remarks));
  out.remarks = std::move(remarks.list());
  std::stable_sort(out.remarks.begin(), out.remarks.end(), [](const LintRemark& a, const LintRemark& b) {
    return std::tie(a.policy, a.line, b.level) < std::tie(b.policy, b.line, a.level);
  });
  return out;
}

absl::StatusOr<std::vector<LintRemark>> LintAsked(std::span<const PolicySource> sources, const KnownNames& known) {
  std::vector<Rule> rules;
  Budget budget;
  TG_RETURN_IF_ERROR(ReadPolicies(sources, rules, budget));
  Remarks remarks;
  CheckAsked(rules, known, remarks);
  CheckModels(rules, known, remarks);
  return std::move(remarks.list());
}

}  // namespace tollgate::policy
