// Reads a guard model: the part of rule_yaml for what stands under `guard`. Inside policy/ only.
#pragma once

#include <memory>

#include "policy/guard_model.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// INVALID_ARGUMENT with the place and the remedy. `least_score_percent`: the rule's, 0 where it names none.
absl::StatusOr<std::shared_ptr<const GuardModel>> ReadGuard(const YamlReader& yaml, const YAML::Node& node,
                                                            std::int64_t least_score_percent);

}  // namespace tollgate::policy
