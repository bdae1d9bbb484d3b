// Reads the detectors that are patterns: `regex`, `hosts`, `hosts_except`, and the built-in ones by name. Inside policy/ only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policy/rule.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// `node`: what stands behind `kind`; `cap` bounds what an unbounded regex may span, in bytes (0: none given). Fills in the rule's patterns
// and its summary. INVALID_ARGUMENT with place and remedy.
absl::Status ReadPatterns(const YamlReader& yaml, const YAML::Node& node, const std::string& kind, std::int64_t cap, Rule& rule);

// The same of `hosts` and `hosts_except`, whose hosts come from named lists; `summary` says from which.
absl::Status ReadHosts(const YamlReader& yaml, const YAML::Node& node, const std::string& kind, const std::vector<std::string>& hosts,
                       const std::string& summary, Rule& rule);

}  // namespace tollgate::policy
