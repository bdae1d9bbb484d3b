// Ways in which a rule that means to keep something lets it out, and what its author left unsaid.
//
// Tested by tests/policy/lint_test.cpp.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "policy/fold.h"
#include "policy/lint_internal.h"

namespace tollgate::policy {
namespace {

constexpr int kKeptOfSecretsMax = 4;
constexpr std::int64_t kSeldomTokens = 16;  // Fewer tokens than this between two questions are few.

bool FindsSecrets(const Rule& rule) { return rule.detect.starts_with("secrets"); }
bool FindsPeople(const Rule& rule) { return rule.detect.starts_with("personal_data"); }
bool Hides(const Rule& rule) { return rule.action == Action::kRedact || rule.action == Action::kBlock; }

// Another rule that hides the same, where `acts` says that it acts.
template <typename Acts>
bool HiddenElsewhere(const Look& look, const Rule& rule, Acts&& acts) {
  return std::any_of(look.rules.begin(), look.rules.end(), [&](const Rule& other) {
    return &other != &rule && Hides(other) && acts(other) &&
           std::all_of(rule.patterns.begin(), rule.patterns.end(), [&](const auto& pattern) {
             return std::find(other.patterns.begin(), other.patterns.end(), pattern) != other.patterns.end();
           });
  });
}

void CheckGaps(const Look& look, const Rule& rule, Remarks& remarks) {
  const LintLevel level = FindsSecrets(rule) ? LintLevel::kWarning : LintLevel::kNote;
  if (!rule.output && rule.sight == Sight{} && !HiddenElsewhere(look, rule, [](const Rule& other) { return other.output; })) {
    remarks.Add(rule, level, "leak", "it acts on prompts only: the same in a reply goes out; write direction: both, or a rule for replies");
  }
  if (!rule.input && !HiddenElsewhere(look, rule, [](const Rule& other) { return other.input; })) {
    remarks.Add(rule, level, "leak",
                "it acts on replies only: the same in a prompt reaches the model; write direction: both, or a rule for prompts");
  }
  if (!rule.input || (rule.sight.roles & 0xF) == 0xF) return;
  std::vector<std::string> missed;
  for (unsigned role = 0; role < 4; ++role) {
    const auto bit = static_cast<std::uint8_t>(1u << role);
    const bool seen =
        (rule.sight.roles & bit) != 0 || HiddenElsewhere(look, rule, [&](const Rule& o) { return o.input && (o.sight.roles & bit) != 0; });
    if (!seen) missed.emplace_back(RoleName(static_cast<Role>(role)));
  }
  if (missed.empty()) return;
  remarks.Add(
      rule, level, "leak",
      fmt::format(
          "its roles leave out what {} messages hold, which reaches the model all the same; leave `roles` out, or say why in a comment",
          fmt::join(missed, ", ")));
}

void CheckForm(const Look& look, const Rule& rule, Remarks& remarks) {
  const Replacement& form = rule.replacement;
  if (FindsSecrets(rule) && form.form == Replacement::Form::kMask && form.keep_last > kKeptOfSecretsMax) {
    remarks.Add(rule, LintLevel::kWarning, "leak",
                fmt::format("it shows the last {} characters of a secret; keep_last of {} or less tells secrets apart as well",
                            form.keep_last, kKeptOfSecretsMax));
  }
  if (FindsPeople(rule) && form.form == Replacement::Form::kHash) {
    remarks.Add(
        rule, LintLevel::kNote, "leak",
        "numbers with few possibilities can be tried by whoever reads the salt here: give this policy to few, or use mask or redact");
  }
  if (rule.action != Action::kRedact || form.form != Replacement::Form::kText || form.text.empty()) return;
  for (const Hit& hit : look.Find(form.text)) {
    remarks.Add(rule, LintLevel::kNote, "leak",
                fmt::format("rule {} finds its replacement, and acts on it in the next turn of a conversation; word it otherwise",
                            look.rules[hit.rule].id));
    return;
  }
}

// Rules that ask others, and block.
void CheckTrust(const Rule& rule, Remarks& remarks) {
  if (rule.action != Action::kBlock) return;
  if (rule.ask->fail_open) {
    remarks.Add(rule, LintLevel::kWarning, "leak",
                "on_error: allow lets pass what nobody could judge, and a caller may bring that about; leave it out, or use do: flag");
  }
  if (rule.output && !rule.ask->hold) {
    remarks.Add(rule, LintLevel::kNote, "leak",
                "stream: observe lets a reply out before its verdict; the record says how much; to hold it, leave it out");
  }
  if (rule.output && rule.ask->at == Ask::At::kTokens && rule.ask->tokens < kSeldomTokens) {
    remarks.Add(rule, LintLevel::kWarning, "slow",
                fmt::format("it asks about the whole reply so far after every {} tokens{}; ask by sentence, or more seldom",
                            rule.ask->tokens, rule.ask->metered() ? ", and the tenant pays for each" : ""));
  }
}

}  // namespace

void CheckLeaks(const Look& look, Remarks& remarks) {
  for (const Rule& rule : look.rules) {
    if (rule.exception) continue;
    if (FindsSecrets(rule) && rule.action == Action::kFlag && !HiddenElsewhere(look, rule, [](const Rule&) { return true; })) {
      remarks.Add(rule, LintLevel::kWarning, "leak", "it notes secrets and lets them through; redact or block them");
    }
    if (Hides(rule) && (FindsSecrets(rule) || FindsPeople(rule))) CheckGaps(look, rule, remarks);
    CheckForm(look, rule, remarks);
    if (rule.ask) CheckTrust(rule, remarks);
    const std::string because = FoldCase(rule.because);
    for (const std::string& word : rule.keywords) {
      if (because.find(FoldCase(word)) == std::string::npos) continue;
      remarks.Add(rule, LintLevel::kWarning, "leak",
                  "its `because`, which the caller reads, holds one of its keywords; say what it is about in other words");
      break;
    }
  }
}

void CheckWords(const Look& look, Remarks& remarks) {
  for (const Rule& rule : look.rules) {
    if (rule.exception) continue;
    if (rule.ask && rule.ask->shape == nullptr) {
      // Nothing of it runs here, tests least.
    } else if (rule.tests.empty()) {
      remarks.Add(rule, LintLevel::kNote, "untested", "it has no tests; write one text that it must find and one that it must not");
    } else if (std::none_of(rule.tests.begin(), rule.tests.end(), [](const RuleTest& test) { return !test.expect_not.empty(); })) {
      remarks.Add(rule, LintLevel::kNote, "untested", "no test says what it must not find; add one with expect_not");
    }
    if (rule.action == Action::kBlock && rule.because.starts_with("Your organisation's policy (rule")) {
      remarks.Add(rule, LintLevel::kNote, "words", "it blocks without saying why; write `because`, the sentence that the caller gets");
    }
  }
}

}  // namespace tollgate::policy
