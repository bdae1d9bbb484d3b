// Time is measured in the program of all rules, each rule alone, on three texts; how long a reply is held by streaming the same texts
// through the rule's own output filter, four bytes at a time, as tokens come. A block would end the stream, so there it only notes.
//
// Tested by tests/policy/lint_test.cpp.
#include <algorithm>

#include <fmt/format.h>

#include "policy/cost.h"
#include "policy/disguise.h"
#include "policy/encoded_runs.h"
#include "policy/lint_internal.h"
#include "policy/output_filter.h"

namespace tollgate::policy {
namespace {

constexpr double kSlowUsPerKb = 20;
constexpr int kRetriesFew = 4;
constexpr double kHoldMeanBytes = 48;
constexpr std::int64_t kHoldMaxBytes = 1024, kHoldBoundBytes = 4096;
constexpr std::size_t kPieceBytes = 4, kStreamedBytes = 4096;

double PerKb(double micros, const std::string& text) { return micros * 1024 / static_cast<double>(text.size()); }

struct Hold {
  double sum = 0;
  std::int64_t pieces = 0, max = 0;
};

void Stream(const Program& program, const std::string& text, Hold& hold) {
  const auto filter = MakeOutputFilter(nullptr, program, {}, {});
  for (std::size_t at = 0; at < std::min(text.size(), kStreamedBytes); at += kPieceBytes) {
    if (!filter->Push(std::string_view(text).substr(at, kPieceBytes)).ok()) return;
    const auto held = static_cast<std::int64_t>(filter->held_bytes());
    hold.sum += static_cast<double>(held);
    hold.max = std::max(hold.max, held);
    ++hold.pieces;
  }
}

absl::Status MeasureHold(const Rule& rule, RuleCost& cost) {
  for (const auto& pattern : rule.patterns) cost.hold_bound_bytes = std::max(cost.hold_bound_bytes, pattern->hold_max());
  for (const std::string& word : rule.keywords)
    cost.hold_bound_bytes = std::max(cost.hold_bound_bytes, static_cast<std::int64_t>(word.size()));
  if (rule.decode == Rule::Decode::kBoth) cost.hold_bound_bytes = std::max(cost.hold_bound_bytes, WordCutter::kWordBytesMax);
  Rule alone = rule;
  alone.scope = {};
  alone.sight = {};
  alone.action = Action::kFlag;
  TG_ASSIGN(const auto program, Program::Build({&alone, 1}, true));
  for (const LintText& text : LintTexts()) {
    Hold hold;
    Stream(*program, text.text, hold);
    if (hold.pieces > 0) cost.hold_mean_bytes = std::max(cost.hold_mean_bytes, hold.sum / static_cast<double>(hold.pieces));
    cost.hold_max_bytes = std::max(cost.hold_max_bytes, hold.max);
  }
  return absl::OkStatus();
}

}  // namespace

void JudgeCost(const Rule& rule, const RuleCost& cost, Remarks& remarks) {
  if (cost.us_per_kb > kSlowUsPerKb) {
    const bool open =
        std::any_of(rule.patterns.begin(), rule.patterns.end(), [](const auto& pattern) { return pattern->trigger_words().empty(); });
    remarks.Add(
        rule, LintLevel::kWarning, "slow",
        fmt::format("it takes {:.0f} microseconds a KB of {}; {}", cost.us_per_kb, cost.slowest_text,
                    open ? "no fixed word is in all that it matches, so it runs on every text: begin it with one, or bound its repeats"
                         : "use smaller repeats, or name fewer detectors"));
  }
  if (rule.retries > kRetriesFew) {
    remarks.Add(
        rule, LintLevel::kNote, "slow",
        fmt::format("each of its {} retries is decoded, waited for and billed; what is found {} times over is seldom mended by more",
                    rule.retries, kRetriesFew));
  }
  if (!cost.output) return;
  if (cost.hold_mean_bytes > kHoldMeanBytes || cost.hold_max_bytes > kHoldMaxBytes) {
    remarks.Add(
        rule, LintLevel::kWarning, "hold",
        fmt::format("it holds replies back by {:.0f} bytes on average and {} at most, on ordinary text; begin it with something rare, or "
                    "bound its repeats more tightly",
                    cost.hold_mean_bytes, cost.hold_max_bytes));
  } else if (rule.decode == Rule::Decode::kBoth) {
    remarks.Add(
        rule, LintLevel::kNote, "hold",
        fmt::format("`decode: both` holds every word of a reply to its end, as much as {} bytes; leave it out if replies need not be "
                    "decoded",
                    cost.hold_bound_bytes));
  } else if (cost.hold_bound_bytes > kHoldBoundBytes && !rule.detect.starts_with("secrets")) {
    remarks.Add(rule, LintLevel::kNote, "hold",
                fmt::format("a reply can be held back by as much as {} bytes; lower its cap or its repeats", cost.hold_bound_bytes));
  }
}

absl::Status MeasureCosts(const Look& look, const LintOptions& options, LintReport& report, Remarks& remarks) {
  std::vector<double> shared;
  for (const LintText& text : LintTexts()) {
    shared.push_back(SharedMicros(*look.program, look.all, text.text));
    report.us_per_kb = std::max(report.us_per_kb, PerKb(MicrosOf([&] { FindEverywhere(*look.program, text.text, look.all); }), text.text));
  }
  for (std::uint32_t index = 0; index < look.rules.size(); ++index) {
    if (options.keep_going) TG_RETURN_IF_ERROR(options.keep_going());
    const Rule& rule = look.rules[index];
    if (rule.exception) continue;
    RuleCost cost;
    cost.policy = rule.policy;
    cost.rule_id = rule.id;
    cost.output = rule.output;
    for (std::size_t i = 0; i < shared.size(); ++i) {
      const LintText& text = LintTexts()[i];
      const double us = PerKb(RuleMicros(*look.program, look.all, index, text.text, shared[i]), text.text);
      if (us <= cost.us_per_kb && !cost.slowest_text.empty()) continue;
      cost.us_per_kb = us;
      cost.slowest_text = text.name;
    }
    if (rule.output) TG_RETURN_IF_ERROR(MeasureHold(rule, cost));
    JudgeCost(rule, cost, remarks);
    report.costs.push_back(std::move(cost));
  }
  return absl::OkStatus();
}

}  // namespace tollgate::policy
