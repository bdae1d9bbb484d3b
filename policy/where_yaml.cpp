// Field by field, as rule_yaml reads the rest of a rule.
//
// Tested by tests/policy/rule_yaml_test.cpp and tests/policy/time_window_test.cpp.
#include "policy/where_yaml.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace tollgate::policy {
namespace {

absl::Status ReadRoles(const YamlReader& yaml, const YAML::Node& roles, Rule& rule) {
  rule.roles = 0;
  TG_RETURN_IF_ERROR(yaml.Texts(roles, "roles").status());
  const auto add = [&](const YAML::Node& role) -> absl::Status {
    TG_ASSIGN(const std::size_t which, yaml.OneOf(role, "roles", {"system", "user", "assistant", "tool"}));
    rule.roles = static_cast<std::uint8_t>(rule.roles | 1u << which);
    return absl::OkStatus();
  };
  if (roles.IsScalar()) TG_RETURN_IF_ERROR(add(roles));
  if (roles.IsSequence()) {
    for (const auto& role : roles) TG_RETURN_IF_ERROR(add(role));
  }
  const bool assistant = (rule.roles & (1u << static_cast<unsigned>(Role::kAssistant))) != 0;
  if (!rule.input && !assistant)
    return yaml.Wrong(roles, "output is written by the assistant; add assistant to 'roles', or remove it");
  rule.output = rule.output && assistant;
  return absl::OkStatus();
}

absl::Status ReadTime(const YamlReader& yaml, const YAML::Node& node, Rule& rule) {
  TG_ASSIGN(YamlReader::Fields fields, yaml.Map(node, "'time'", {"days", "hours", "zone"}));
  TimeWindow window;
  if (fields.contains("days")) {
    window.days = 0;
    const YAML::Node& days = fields["days"];
    TG_RETURN_IF_ERROR(yaml.Texts(days, "days").status());
    for (std::size_t i = 0; i < (days.IsSequence() ? days.size() : 1); ++i) {
      TG_ASSIGN(const std::size_t day, yaml.OneOf(days.IsSequence() ? days[i] : days, "days", {std::begin(kDayNames), std::end(kDayNames)}));
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
  TG_ASSIGN(YamlReader::Fields fields, yaml.Map(node, "'where'", {"direction", "roles", "org", "team", "project", "key", "model", "time"}));
  if (fields.contains("direction")) {
    TG_ASSIGN(const std::size_t direction, yaml.OneOf(fields["direction"], "direction", {"both", "input", "output"}));
    rule.input = direction != 2;
    rule.output = direction != 1;
  }
  if (fields.contains("roles")) TG_RETURN_IF_ERROR(ReadRoles(yaml, fields["roles"], rule));
  if (fields.contains("time")) TG_RETURN_IF_ERROR(ReadTime(yaml, fields["time"], rule));
  const std::pair<const char*, std::vector<std::string>*> lists[] = {{"org", &rule.scope.orgs},
                                                                     {"team", &rule.scope.teams},
                                                                     {"project", &rule.scope.projects},
                                                                     {"key", &rule.scope.keys},
                                                                     {"model", &rule.scope.models}};
  for (const auto& [field, list] : lists) {
    if (!fields.contains(field)) continue;
    TG_ASSIGN(*list, yaml.Texts(fields[field], field));
    std::sort(list->begin(), list->end());
  }
  return absl::OkStatus();
}

void SummariseWhere(Rule& rule) {
  rule.where = rule.input && rule.output ? "both" : rule.input ? "input" : "output";
  if ((rule.roles & 0xF) != 0xF) {
    for (int role = 0; role < 4; ++role) {
      if (rule.roles & (1 << role)) rule.where += fmt::format(" {}", RoleName(static_cast<Role>(role)));
    }
  }
  const std::pair<const char*, const std::vector<std::string>*> lists[] = {{"org", &rule.scope.orgs},
                                                                           {"team", &rule.scope.teams},
                                                                           {"project", &rule.scope.projects},
                                                                           {"key", &rule.scope.keys},
                                                                           {"model", &rule.scope.models}};
  for (const auto& [name, list] : lists) {
    if (!list->empty()) rule.where += fmt::format(" {}={}", name, fmt::join(*list, "|"));
  }
  if (rule.scope.time) rule.where += " time=" + rule.scope.time->Summary();
}

}  // namespace tollgate::policy
