// Reads `not_json`: the part of rule_yaml for replies that must be JSON. Inside policy/ only.
#pragma once

#include "policy/rule.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// Into rule.ask. `fields` of `detect` hold `not_json`: "any", or a schema as YAML. INVALID_ARGUMENT with the place and the remedy.
absl::Status ReadJsonShape(const YamlReader& yaml, const YAML::Node& detect, YamlReader::Fields& fields, Rule& rule);

}  // namespace tollgate::policy
