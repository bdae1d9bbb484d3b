// Reads a detector that policy asks and does not run: the part of rule_yaml for `external`, `guard` and `topic`; and what all rules have
// in common that judge a whole reply. Inside policy/ only.
#pragma once

#include <string>

#include "policy/rule.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

// Fields of `detect` beside these, which say whom to ask.
inline constexpr const char* kSemanticFields[] = {"at", "stream", "on_error", "least_score"};

// Into rule.ask. `fields` of `detect` hold one of these. INVALID_ARGUMENT with the place and the remedy, also where such a rule cannot
// do what it is to do.
absl::Status ReadSemantic(const YamlReader& yaml, const YAML::Node& detect, YamlReader::Fields& fields, Rule& rule);

// Makes it a rule about replies that `shape` answers; `name` is what records call that. Where `where` names no parts it is about the text,
// or with `tool` about the arguments of that tool's calls. INVALID_ARGUMENT as above.
absl::Status JudgeReplies(const YamlReader& yaml, const YAML::Node& detect, YamlReader::Fields& fields, std::string name,
                          std::shared_ptr<const ReplyShape> shape, Rule& rule);

}  // namespace tollgate::policy
