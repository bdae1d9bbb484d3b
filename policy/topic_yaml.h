// Reads a topic: the part of rule_yaml for what stands under `topic`. Inside policy/ only.
#pragma once

#include <memory>

#include "policy/topic.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// INVALID_ARGUMENT with the place and the remedy.
absl::StatusOr<std::shared_ptr<const Topic>> ReadTopicRule(const YamlReader& yaml, const YAML::Node& node);

}  // namespace tollgate::policy
