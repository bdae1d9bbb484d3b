// Reads `tests` of a rule. Inside policy/ only.
#pragma once

#include "policy/rule.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// Into rule.tests; the rest of the rule is read already. INVALID_ARGUMENT with the place and the remedy.
absl::Status ReadTests(const YamlReader& yaml, const YAML::Node& node, Rule& rule);

}  // namespace tollgate::policy
