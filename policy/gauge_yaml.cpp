// One row a field: where it stands, what it measures, and what it may be. What a gauge finds has no span, so rules that would change a span
// are refused here by name.
//
// Tested by tests/policy/gauges_test.cpp.
#include "policy/gauge_yaml.h"

#include <algorithm>

#include <fmt/format.h>

namespace tollgate::policy {
namespace {

struct Field {
  std::string_view kind, name;
  Gauge::Measure measure;
  std::int64_t least, most;
};

constexpr std::int64_t kMost = 1'000'000'000;
constexpr Field kFields[] = {{"length", "characters", Gauge::Measure::kCharacters, 1, kMost},
                             {"length", "tokens", Gauge::Measure::kTokens, 1, kMost},
                             {"length", "messages", Gauge::Measure::kMessages, 1, kMost},
                             {"shape", "turns", Gauge::Measure::kTurns, 1, kMost},
                             {"shape", "longest_line", Gauge::Measure::kLongestLine, 1, kMost},
                             {"shape", "non_letters", Gauge::Measure::kNonLetters, 1, 99},
                             {"shape", "repetition", Gauge::Measure::kRepetition, 1, 99},
                             {"code", "lines", Gauge::Measure::kCodeLines, 0, kMost}};

}  // namespace

bool IsGaugeKind(std::string_view kind) { return kind == "length" || kind == "shape" || kind == "code" || kind == "request"; }

absl::Status ReadGauges(const YamlReader& yaml, const YAML::Node& node, const std::string& kind, Rule& rule) {
  if (rule.action == Action::kRedact || rule.action == Action::kAllow) {
    return yaml.Wrong(node, fmt::format("'{}' judges a prompt as a whole and finds no span to hide or to exempt; use flag, block, or an action "
                                        "on the request such as append_system",
                                        kind));
  }
  rule.as_written = true;
  rule.decode = Rule::Decode::kNever;
  if (kind == "request") {
    TG_RETURN_IF_ERROR(yaml.OneOf(node, "request", {"any"}).status());
    rule.gauges.push_back({Gauge::Measure::kAlways, 0});
    rule.detect = "any request";
    return absl::OkStatus();
  }
  const auto fields = kind == "length"  ? yaml.Map(node, "'length'", {"characters", "tokens", "messages"})
                      : kind == "shape" ? yaml.Map(node, "'shape'", {"turns", "longest_line", "non_letters", "repetition"})
                                        : yaml.Map(node, "'code'", {"lines"});
  TG_RETURN_IF_ERROR(fields.status());
  if (fields->empty()) return yaml.Wrong(node, fmt::format("'{}' needs at least one measure and what it may be at most", kind));
  for (const Field& field : kFields) {
    const auto given = fields->find(std::string(field.name));
    if (field.kind != kind || given == fields->end()) continue;
    TG_ASSIGN(const std::int64_t over, yaml.Int(given->second, field.name, field.least, field.most));
    rule.gauges.push_back({field.measure, over});
    rule.detect += fmt::format("{}more than {} {}", rule.detect.empty() ? "" : " or ", over, MeasureName(field.measure));
  }
  return absl::OkStatus();
}

}  // namespace tollgate::policy
