// What a rule names becomes patterns: its own expressions, hosts, or detectors of the catalogue.
//
// Tested by tests/policy/rule_yaml_test.cpp.
#include "policy/pattern_yaml.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/nearest_word.h"
#include "policy/catalog.h"
#include "policy/hosts.h"
#include "policy/regex_forms.h"

namespace tollgate::policy {
namespace {

absl::Status ReadRegex(const YamlReader& yaml, const YAML::Node& node, std::int64_t cap, Rule& rule) {
  TG_ASSIGN(const std::vector<std::string> patterns, yaml.Texts(node, "regex"));
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    const YAML::Node& at = node.IsSequence() ? node[i] : node;
    auto tree = ParseRegex(patterns[i], rule.ignore_case);
    if (!tree.ok()) return yaml.Wrong(at, "regex: " + base::Message(tree.status()));
    const bool unbounded = WidthOf(*tree).max == RegexNode::kUnbounded;
    const auto compile = [&](RegexNode regex) {
      PatternSpec spec;
      spec.regex = std::move(regex);
      spec.cap = patterns.size() > 1 && !unbounded ? 0 : cap;
      return Pattern::Compile(std::move(spec));
    };
    auto pattern = compile(rule.as_written ? *tree : InBothForms(*tree));
    if (!pattern.ok() && !rule.as_written) pattern = compile(*tree);  // Too wide for both.
    if (!pattern.ok()) return yaml.Wrong(at, "regex: " + base::Message(pattern.status()));
    rule.patterns.push_back(*std::move(pattern));
  }
  rule.detect = fmt::format("regex {}", patterns[0].substr(0, 60));
  if (patterns.size() > 1) rule.detect += fmt::format(" and {} more", patterns.size() - 1);
  return absl::OkStatus();
}

absl::Status ReadBuiltIns(const YamlReader& yaml, const YAML::Node& node, const std::string& kind, Rule& rule) {
  const Catalog catalog = kind == "secrets" ? Catalog::kSecrets : kind == "unicode" ? Catalog::kUnicode : Catalog::kPersonalData;
  TG_ASSIGN(std::vector<std::string> names, yaml.Texts(node, kind));
  rule.detect = fmt::format("{}: {}", kind, fmt::join(names, ", "));
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (auto& pattern : DetectorPatterns(catalog, names[i])) {
      if (std::find(rule.patterns.begin(), rule.patterns.end(), pattern) == rule.patterns.end())
        rule.patterns.push_back(std::move(pattern));
    }
    if (rule.patterns.empty() || DetectorPatterns(catalog, names[i]).empty()) {
      std::vector<std::string_view> known = {"all"};
      known.insert(known.end(), FamilyNames(catalog).begin(), FamilyNames(catalog).end());
      known.insert(known.end(), DetectorNames(catalog).begin(), DetectorNames(catalog).end());
      const std::string_view near = base::NearestWord(names[i], known);
      return yaml.Wrong(node.IsSequence() ? node[i] : node,
                        near.empty() ? fmt::format("unknown {} detector '{}'; there are {}", kind, names[i], fmt::join(known, ", "))
                                     : fmt::format("unknown {} detector '{}'; did you mean '{}'?", kind, names[i], near));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadPatterns(const YamlReader& yaml, const YAML::Node& node, const std::string& kind, std::int64_t cap, Rule& rule) {
  if (kind == "regex") return ReadRegex(yaml, node, cap, rule);
  if (kind != "hosts" && kind != "hosts_except") return ReadBuiltIns(yaml, node, kind, rule);
  TG_ASSIGN(const std::vector<std::string> hosts, yaml.Texts(node, kind));
  return ReadHosts(yaml, node, kind, hosts, fmt::format("{}: {}", kind, fmt::join(hosts, ", ")), rule);
}

absl::Status ReadHosts(const YamlReader& yaml, const YAML::Node& node, const std::string& kind, const std::vector<std::string>& hosts,
                       const std::string& summary, Rule& rule) {
  auto patterns = HostPatterns(hosts, kind == "hosts_except");
  if (!patterns.ok()) return yaml.Wrong(node, base::Message(patterns.status()));
  rule.patterns = *std::move(patterns);
  rule.detect = summary;
  return absl::OkStatus();
}

}  // namespace tollgate::policy
