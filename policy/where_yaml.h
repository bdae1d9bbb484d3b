// Reads `where`: the part of rule_yaml that says whom and when a rule concerns. Inside policy/ only.
#pragma once

#include "policy/rule.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// Into the rule's scope, roles and directions. INVALID_ARGUMENT with the place and the remedy.
absl::Status ReadWhere(const YamlReader& yaml, const YAML::Node& node, Rule& rule);

// Fills in `rule.where`, the one-line summary.
void SummariseWhere(Rule& rule);

}  // namespace tollgate::policy
