// Reads a detector that policy asks and does not run: the part of rule_yaml for `external` and `guard`. Inside policy/ only.
#pragma once

#include "policy/rule.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// Fields of `detect` beside `external` or `guard`, which says whom to ask.
inline constexpr const char* kSemanticFields[] = {"at", "stream", "on_error", "least_score"};

// Into rule.ask. `fields` of `detect` hold `external` or `guard`. INVALID_ARGUMENT with the place and the remedy, also where such a rule cannot
// do what it is to do.
absl::Status ReadSemantic(const YamlReader& yaml, const YAML::Node& detect, YamlReader::Fields& fields, Rule& rule);

}  // namespace tollgate::policy
