// What the checks of lint share. Inside policy/ only.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "policy/lint.h"
#include "policy/program.h"
#include "policy/rule.h"

namespace tollgate::policy {

// Built-in texts, the same at every call.
struct LintText {
  const char* name;  // "prose", "code", "records"
  std::string text;
};
const std::vector<LintText>& LintTexts();
// Ordinary sentences of ordinary work, without anything that a rule should find.
std::span<const char* const> OrdinarySentences();

// Words of the pattern's language; at most `count`, varied, the same at every call. A repeat goes on a few times at most.
std::vector<std::string> SampleWords(const RegexNode& node, int count);

// The rules, and the same without their `where`, so that every rule meets every text.
struct Look {
  std::span<const Rule> rules;
  std::vector<Rule> open;
  std::unique_ptr<const Program> program;  // Of `open`, for complete texts.
  Program::Selection all;
  std::vector<std::vector<std::string>> examples;  // By rule: texts that it should find; empty where none could be made.

  std::vector<Hit> Find(std::string_view text) const { return program->FindAll(text, all); }
};
absl::StatusOr<std::unique_ptr<const Look>> MakeLook(std::span<const Rule> rules);

// Takes remarks down.
class Remarks {
 public:
  void Add(const Rule& rule, LintLevel level, const char* check, std::string message) {
    list_.push_back({level, check, rule.policy, rule.id, rule.line, rule.column, std::move(message)});
  }
  std::vector<LintRemark>& list() { return list_; }

 private:
  std::vector<LintRemark> list_;
};

// The checks. lint_reach.cpp: dead, shadowed, always-on, asks.
void CheckNames(const Look& look, const KnownNames& known, Remarks& remarks);
void CheckAsked(std::span<const Rule> rules, const KnownNames& known, Remarks& remarks);
void CheckModels(std::span<const Rule> rules, const KnownNames& known, Remarks& remarks);
void CheckReach(const Look& look, Remarks& remarks);
void CheckOrdinary(const Look& look, Remarks& remarks);
// lint_leaks.cpp: leak, untested, words.
void CheckLeaks(const Look& look, Remarks& remarks);
void CheckWords(const Look& look, Remarks& remarks);

// lint_costs.cpp: what is said of one rule's cost (hold, slow); and the same of all rules, measured.
void JudgeCost(const Rule& rule, const RuleCost& cost, Remarks& remarks);
absl::Status MeasureCosts(const Look& look, const LintOptions& options, LintReport& report, Remarks& remarks);

}  // namespace tollgate::policy
