// What a rule names becomes patterns: its own expressions, hosts, or detectors of the catalogue.
//
// Tested by tests/policy/rule_yaml_test.cpp.
#include "policy/pattern_yaml.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/nearest_word.h"
#include "policy/catalog.h"
#include "policy/fold.h"
#include "policy/hosts.h"
#include "policy/list_yaml.h"
#include "policy/plain_form.h"
#include "policy/plain_pages.h"
#include "policy/regex_forms.h"

namespace tollgate::policy {
namespace {

constexpr char32_t kNonJoiner = 0x200C, kJoiner = 0x200D;  // They spell words of Persian and of India.

// Past what is escaped, and whether it stands in [].
class RegexCursor {
 public:
  explicit RegexCursor(std::string_view pattern) : pattern_(pattern) {}
  bool in_class() const { return in_class_; }
  // The next character that is not escaped; false at the end.
  bool Next(char32_t& c) {
    while (at_ < pattern_.size()) {
      std::size_t length = 1;
      c = DecodeAt(pattern_, at_, length);
      const bool first = std::exchange(class_begins_, false);
      at_ += length;
      if (c == '\\') {
        if (at_ < pattern_.size() && static_cast<signed char>(pattern_[at_]) >= 0) ++at_;
        continue;
      }
      if (!in_class_ && c == '[') {
        in_class_ = class_begins_ = true;
        if (at_ < pattern_.size() && pattern_[at_] == '^') ++at_;
      } else if (in_class_ && c == ']' && !first) {
        in_class_ = false;
      }
      return true;
    }
    return false;
  }

 private:
  const std::string_view pattern_;
  std::size_t at_ = 0;
  bool in_class_ = false, class_begins_ = false;
};

// Whether all is there that its author sees: YAML makes characters of \b, \_ and \P in double quotes, and texts are read without those that
// nobody sees, so that such a pattern would find nothing. `as_written`: they are read as they are.
absl::Status CheckSeen(const YamlReader& yaml, const YAML::Node& at, std::string_view pattern, bool as_written) {
  char32_t c = 0;
  std::string marks;
  for (RegexCursor cursor(pattern); cursor.Next(c);) {
    if (c < 0x80 ? IsUnseenAscii(static_cast<char>(c)) : c == 0x85 || c == 0x2028 || c == 0x2029)
      return yaml.Wrong(at, fmt::format("regex: it holds the control character U+{0:04X}, as YAML makes them of \\b and \\P in double "
                                        "quotes; put the pattern in single quotes, or write \\x{{{0:X}}} for the character",
                                        static_cast<std::uint32_t>(c)));
    if (as_written || cursor.in_class() || c == kNonJoiner || c == kJoiner || !ReadsAsMarks(c, marks)) continue;
    if (marks.empty() || marks.find_first_not_of(' ') == std::string::npos)
      return yaml.Wrong(at, fmt::format("regex: it holds the character U+{0:04X}, which reads as {1}; write {2}, or \\x{{{0:X}}} for the "
                                        "character",
                                        static_cast<std::uint32_t>(c), marks.empty() ? "nothing" : "a blank",
                                        marks.empty() ? "the pattern without it" : "a blank"));
  }
  return absl::OkStatus();
}

absl::Status ReadRegex(const YamlReader& yaml, const YAML::Node& node, std::int64_t cap, Rule& rule) {
  TG_ASSIGN(std::vector<std::string> patterns, yaml.Texts(node, "regex"));
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    const YAML::Node& at = node.IsSequence() ? node[i] : node;
    if (yaml.IsBlock(at)) patterns[i].erase(patterns[i].find_last_not_of('\n') + 1);  // The block's end is not the pattern's.
    TG_RETURN_IF_ERROR(CheckSeen(yaml, at, patterns[i], rule.as_written));
    auto tree = ParseRegex(patterns[i], rule.ignore_case);
    if (!tree.ok()) return yaml.Wrong(at, "regex: " + base::Message(tree.status()));
    const bool unbounded = WidthOf(*tree).max == RegexNode::kUnbounded;
    const auto compile = [&](RegexNode regex) {
      PatternSpec spec;
      spec.regex = std::move(regex);
      spec.cap = patterns.size() > 1 && !unbounded ? 0 : cap;
      return Pattern::Compile(std::move(spec), &yaml.budget());
    };
    auto pattern = compile(rule.as_written ? *tree : InBothForms(*tree));
    if (!pattern.ok() && !rule.as_written && !yaml.budget().over()) pattern = compile(*tree);  // Too wide for both.
    if (!pattern.ok() && !absl::IsInvalidArgument(pattern.status())) return pattern.status();
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
  std::set<std::string_view> named;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!named.insert(names[i]).second) continue;
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
  TG_RETURN_IF_ERROR(TakeWords(yaml, node, hosts));
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
