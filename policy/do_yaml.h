// Reads `do` of a rule, and the fields that belong to it. Inside policy/ only. Errors: INVALID_ARGUMENT with place and remedy.
#pragma once

#include "policy/rule.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// The action, and how a redaction looks.
absl::Status ReadDo(const YamlReader& yaml, YamlReader::Fields& rule_fields, Rule& rule);

// What `do` demands of `where`, once that is read.
absl::Status CheckDoWhere(const YamlReader& yaml, YamlReader::Fields& rule_fields, Rule& rule);

// `retry`, once detector and direction are read: how often what a rule finds in a reply is written anew before it acts.
absl::Status ReadRetry(const YamlReader& yaml, const YAML::Node& node, Rule& rule);

}  // namespace tollgate::policy
