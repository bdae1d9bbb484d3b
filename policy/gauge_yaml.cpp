// One row a field: where it stands, what it measures, and what it may be. What a gauge finds has no span, so rules that would change a span
// are refused here by name.
//
// Tested by tests/policy/gauges_test.cpp.
#include "policy/gauge_yaml.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "policy/language.h"

namespace tollgate::policy {
namespace {

struct Field {
  std::string_view kind, name;
  Gauge::Measure measure;
  std::int64_t least, most;
};

constexpr std::int64_t kMost = 1'000'000'000;
constexpr Field kFields[] = {
    {"length", "characters", Gauge::Measure::kCharacters, 1, kMost},   {"length", "tokens", Gauge::Measure::kTokens, 1, kMost},
    {"length", "messages", Gauge::Measure::kMessages, 1, kMost},       {"shape", "turns", Gauge::Measure::kTurns, 1, kMost},
    {"shape", "longest_line", Gauge::Measure::kLongestLine, 1, kMost}, {"shape", "non_letters", Gauge::Measure::kNonLetters, 1, 99},
    {"shape", "repetition", Gauge::Measure::kRepetition, 1, 99},       {"code", "lines", Gauge::Measure::kCodeLines, 0, kMost}};

}  // namespace

namespace {

// {is: […]} or {is_not: […]}, and from how many letters on.
absl::Status ReadLanguages(const YamlReader& yaml, const YAML::Node& node, Rule& rule) {
  TG_ASSIGN(YamlReader::Fields fields, yaml.Map(node, "'language'", {"is", "is_not", "letters"}));
  if (fields.contains("is") == fields.contains("is_not"))
    return yaml.Wrong(node, "'language' has either is or is_not, with languages such as en: is_not: [en, de]");
  const char* const field = fields.contains("is") ? "is" : "is_not";
  TG_ASSIGN(const std::vector<std::string> codes, yaml.Texts(fields[field], field));
  Gauge gauge{Gauge::Measure::kLanguage, kStretchLetters - 1};
  for (const std::string& code : codes) {
    const std::optional<Language> language = LanguageByCode(code);
    if (!language)
      return yaml.Wrong(fields[field], fmt::format("no language '{}' is known here; there are {}", code, fmt::join(LanguageCodes(), ", ")));
    gauge.languages |= std::uint32_t{1} << *language;
  }
  if (fields.contains("is_not")) gauge.languages = ~gauge.languages & ((std::uint32_t{1} << kLanguages) - 1);
  if (fields.contains("letters")) {
    TG_ASSIGN(const std::int64_t letters, yaml.Int(fields["letters"], "letters", 1, kMost));
    gauge.over = letters - 1;
  }
  rule.gauges.push_back(gauge);
  rule.detect = fmt::format("language {} {}", fields.contains("is") ? "is" : "is not", fmt::join(codes, ", "));
  return absl::OkStatus();
}

}  // namespace

bool IsGaugeKind(std::string_view kind) {
  return kind == "length" || kind == "shape" || kind == "code" || kind == "language" || kind == "request";
}

absl::Status ReadGauges(const YamlReader& yaml, const YAML::Node& node, const std::string& kind, Rule& rule) {
  if (rule.action == Action::kRedact || rule.action == Action::kAllow) {
    return yaml.Wrong(node,
                      fmt::format("'{}' judges a prompt as a whole and finds no span to hide or to exempt; use flag, block, or an action "
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
  if (kind == "language") return ReadLanguages(yaml, node, rule);
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
