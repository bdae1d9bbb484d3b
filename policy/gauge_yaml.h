// Reads the detectors that look at a prompt as a whole: `length`, `shape`, `code`, `request`. Inside policy/ only.
#pragma once

#include <string>

#include "policy/rule.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

bool IsGaugeKind(std::string_view kind);

// `node`: what stands behind `kind`. Fills in the rule's gauges and its summary. INVALID_ARGUMENT with place and remedy.
absl::Status ReadGauges(const YamlReader& yaml, const YAML::Node& node, const std::string& kind, Rule& rule);

}  // namespace tollgate::policy
