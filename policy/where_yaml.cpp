// Field by field, as rule_yaml reads the rest of a rule.
//
// Tested by tests/policy/rule_yaml_test.cpp and tests/policy/time_window_test.cpp.
#include "policy/where_yaml.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace tollgate::policy {
namespace {

constexpr Part kParts[] = {Part::kText, Part::kReasoning, Part::kToolDefinition, Part::kToolCall, Part::kToolResult};

// Which of `words` are named, as a mask.
absl::StatusOr<std::uint8_t> ReadMask(const YamlReader& yaml, const YAML::Node& node, std::string_view field,
                                      const std::vector<std::string_view>& words) {
  TG_RETURN_IF_ERROR(yaml.Texts(node, field).status());
  std::uint8_t mask = 0;
  for (std::size_t i = 0; i < (node.IsSequence() ? node.size() : 1); ++i) {
    TG_ASSIGN(const std::size_t which, yaml.OneOf(node.IsSequence() ? node[i] : node, field, words));
    mask = static_cast<std::uint8_t>(mask | 1u << which);
  }
  return mask;
}

// Whether a part is written by a role, in prompts or in replies.
bool Written(Part part, Role role, bool output) {
  switch (part) {
    case Part::kText: return role != Role::kTool && (!output || role == Role::kAssistant);
    case Part::kReasoning: return output && role == Role::kAssistant;
    case Part::kToolDefinition: return !output && role == Role::kSystem;
    case Part::kToolCall: return role == Role::kAssistant;
    case Part::kToolResult: return !output && role == Role::kTool;
  }
  return false;
}

bool SeesAny(const Sight& sight, bool output) {
  for (const Part part : kParts) {
    for (const Role role : {Role::kSystem, Role::kUser, Role::kAssistant, Role::kTool}) {
      const bool of_tools = part != Part::kText && part != Part::kReasoning;
      if (sight.SeesPart(part) && sight.SeesRole(role) && Written(part, role, output) && (sight.tools.empty() || of_tools)) return true;
    }
  }
  return false;
}

// Which texts; where there are none in one direction, the rule does not act in it.
absl::Status ReadSight(const YamlReader& yaml, const YAML::Node& where, YamlReader::Fields& fields, Rule& rule) {
  if (fields.contains("roles")) {
    TG_ASSIGN(rule.sight.roles, ReadMask(yaml, fields["roles"], "roles", {"system", "user", "assistant", "tool"}));
    if (!rule.input && !rule.sight.SeesRole(Role::kAssistant))
      return yaml.Wrong(fields["roles"], "output is written by the assistant; add assistant to 'roles', or remove it");
  }
  if (fields.contains("parts")) {
    TG_ASSIGN(rule.sight.parts,
              ReadMask(yaml, fields["parts"], "parts", {"text", "reasoning", "tool_definitions", "tool_calls", "tool_results"}));
  }
  if (fields.contains("tool")) {
    TG_ASSIGN(rule.sight.tools, yaml.Texts(fields["tool"], "tool"));
    std::sort(rule.sight.tools.begin(), rule.sight.tools.end());
  }
  const bool both = rule.input && rule.output && fields.contains("direction");
  rule.input = rule.input && SeesAny(rule.sight, false);
  rule.output = rule.output && SeesAny(rule.sight, true);
  if (both && rule.input != rule.output)
    return yaml.Wrong(
        fields["direction"],
        fmt::format("'both' is {} too, and nothing there is what 'roles', 'parts' and 'tool' say; write {}, or let them say more",
                    rule.input ? "output" : "input", rule.input ? "input" : "output"));
  if (rule.input || rule.output) return absl::OkStatus();
  return yaml.Wrong(where, "no text is all that 'where' says; see which roles write which parts, in which direction, in docs/policy.md");
}

absl::Status ReadTime(const YamlReader& yaml, const YAML::Node& node, Rule& rule) {
  TG_ASSIGN(YamlReader::Fields fields, yaml.Map(node, "'time'", {"days", "hours", "zone"}));
  TimeWindow window;
  if (fields.contains("days")) {
    window.days = 0;
    const YAML::Node& days = fields["days"];
    TG_RETURN_IF_ERROR(yaml.Texts(days, "days").status());
    for (std::size_t i = 0; i < (days.IsSequence() ? days.size() : 1); ++i) {
      TG_ASSIGN(const std::size_t day,
                yaml.OneOf(days.IsSequence() ? days[i] : days, "days", {std::begin(kDayNames), std::end(kDayNames)}));
      window.days = static_cast<std::uint8_t>(window.days | 1u << day);
    }
    if (window.days == 0) return yaml.Wrong(days, "'days' names no day; leave it out for all");
  }
  if (fields.contains("hours")) {
    TG_ASSIGN(const std::vector<std::string> list, yaml.Texts(fields["hours"], "hours"));
    for (const std::string& text : list) {
      auto hours = ParseHours(text);
      if (!hours.ok()) return yaml.Wrong(fields["hours"], "hours: " + base::Message(hours.status()));
      window.hours.push_back(*hours);
    }
  }
  if (window.days == 0x7F && window.hours.empty()) return yaml.Wrong(node, "'time' says neither days nor hours; remove it, or add one");
  TG_ASSIGN(const std::string name, fields.contains("zone") ? yaml.Text(fields["zone"], "zone") : std::string("UTC"));
  auto zone = ParseZone(name);
  if (!zone.ok()) return yaml.Wrong(fields["zone"], "zone: " + base::Message(zone.status()));
  window.zone = *zone;
  rule.scope.time = std::move(window);
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadWhere(const YamlReader& yaml, const YAML::Node& node, Rule& rule) {
  TG_ASSIGN(
      YamlReader::Fields fields,
      yaml.Map(node, "'where'", {"direction", "roles", "parts", "tool", "org", "team", "project", "key", "end_user", "model", "time"}));
  if (fields.contains("direction")) {
    TG_ASSIGN(const std::size_t direction, yaml.OneOf(fields["direction"], "direction", {"both", "input", "output"}));
    rule.input = direction != 2;
    rule.output = direction != 1;
  }
  TG_RETURN_IF_ERROR(ReadSight(yaml, node, fields, rule));
  if (fields.contains("time")) TG_RETURN_IF_ERROR(ReadTime(yaml, fields["time"], rule));
  const std::pair<const char*, std::vector<std::string>*> lists[] = {{"org", &rule.scope.orgs},           {"team", &rule.scope.teams},
                                                                     {"project", &rule.scope.projects},   {"key", &rule.scope.keys},
                                                                     {"end_user", &rule.scope.end_users}, {"model", &rule.scope.models}};
  for (const auto& [field, list] : lists) {
    if (!fields.contains(field)) continue;
    TG_ASSIGN(*list, yaml.Texts(fields[field], field));
    std::sort(list->begin(), list->end());
  }
  return absl::OkStatus();
}

void SummariseWhere(Rule& rule) {
  rule.where = rule.input && rule.output ? "both" : rule.input ? "input" : "output";
  if ((rule.sight.roles & 0xF) != 0xF) {
    for (const Role role : {Role::kSystem, Role::kUser, Role::kAssistant, Role::kTool}) {
      if (rule.sight.SeesRole(role)) rule.where += fmt::format(" {}", RoleName(role));
    }
  }
  if ((rule.sight.parts & 0x1F) != 0x1F) {
    for (const Part part : kParts) {
      if (rule.sight.SeesPart(part)) rule.where += fmt::format(" {}", PartName(part));
    }
  }
  const std::pair<const char*, const std::vector<std::string>*> lists[] = {
      {"org", &rule.scope.orgs},           {"team", &rule.scope.teams},   {"project", &rule.scope.projects}, {"key", &rule.scope.keys},
      {"end_user", &rule.scope.end_users}, {"model", &rule.scope.models}, {"tool", &rule.sight.tools}};
  for (const auto& [name, list] : lists) {
    if (!list->empty()) rule.where += fmt::format(" {}={}", name, fmt::join(*list, "|"));
  }
  if (rule.scope.time) rule.where += " time=" + rule.scope.time->Summary();
}

}  // namespace tollgate::policy
