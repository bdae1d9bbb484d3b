// Lint: what is doubtful about policies that compile. Rules that never act, that act on everything, that let out what they are meant to
// keep, that hold a stream for long or slow every request down; and what each rule costs, measured.
//
// For people, and for whoever decides whether a policy goes in force. It compiles the sources anew and runs every rule on built-in texts
// (ordinary prose, code, and records full of numbers): some ten milliseconds a rule, less for simple ones. Pure; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/policy_set.h"

namespace tollgate::policy {

// How much it matters. kError: a rule does not do what it says. kWarning: it does, and probably not what was meant. kNote: could be better.
enum class LintLevel { kNote, kWarning, kError };
const char* LintLevelName(LintLevel level);  // "note", "warning", "error"

// One remark.
struct LintRemark {
  LintLevel level = LintLevel::kNote;
  std::string check;  // "dead", "shadowed", "always-on", "leak", "hold", "slow", "untested", "words", "asks"
  std::string policy, rule_id;
  int line = 0, column = 0;
  std::string message;  // What, and what to do about it. No matched text.
};

// One rule's cost.
struct RuleCost {
  std::string policy, rule_id;
  double us_per_kb = 0;               // What its detectors add to a scan, on the slowest of the three texts …
  std::string slowest_text;           // … "prose", "code" or "records".
  bool output = false;                // It acts on replies; only then the next three say something.
  double hold_mean_bytes = 0;         // Of the worst of those texts, streamed four bytes at a time under this rule alone.
  std::int64_t hold_max_bytes = 0;    // The most that was held.
  std::int64_t hold_bound_bytes = 0;  // The most that could be held of any text.
};

struct LintReport {
  std::vector<LintRemark> remarks;  // By policy and line.
  std::vector<RuleCost> costs;      // In the order of the policies.
  double us_per_kb = 0;             // All rules together, on the slowest text.
  LintLevel worst() const;          // kNote if there is nothing.
};

// The names that `where` may use, where they are known; an empty list = not known, and nothing is said about that kind.
struct KnownNames {
  std::vector<std::string> orgs, teams, projects, keys;
  // Models and adapters ("qwen3:legal"); sets of adapters follow from these.
  std::vector<std::string> models;
  // By alias, the models that it leads to, as far as they may be told.
  std::map<std::string, std::vector<std::string>, std::less<>> aliases = {};
  // Whom rules may ask or send requests to: detectors, and whether there is a model or an alias of a name. Null and nullopt: not known.
  std::optional<std::vector<std::string>> detectors = std::nullopt;
  std::function<bool(std::string_view)> is_model = nullptr;
};

struct LintOptions {
  KnownNames known;
  RunTests tests = RunTests::kYes;           // Those that the sources carry must pass; not of what is in force, which passed them before.
  std::function<absl::Status()> keep_going;  // Asked between rules; what it refuses with ends the work. May be null.
};

// INVALID_ARGUMENT if the sources do not compile; the status of `keep_going`.
absl::StatusOr<LintReport> Lint(std::span<const PolicySource> sources, const LintOptions& options);

// "`chat` is an alias; rules go by the model that it leads to: qwen3": what whoever names one where a rule's model stands is told.
std::string AliasSentence(std::string_view alias, std::span<const std::string> models);

// Of these remarks those about whom rules ask or send requests to ("asks"), and about the models and aliases that `where` names ("dead"),
// at once: for whoever takes a policy.
absl::StatusOr<std::vector<LintRemark>> LintAsked(std::span<const PolicySource> sources, const KnownNames& known);

}  // namespace tollgate::policy
