// The one YAML document that a file holds, and whether there is another. Include it in .cpp files and internal headers only.
#pragma once

#include <optional>
#include <string>

#include <yaml-cpp/yaml.h>

namespace tollgate::base {

struct YamlDocuments {
  YAML::Node first{YAML::NodeType::Undefined};  // That holds something; not defined: none does.
  std::optional<YAML::Mark> second{};           // Where another begins that does.
};

// Of a whole text; places are its own. Throws YAML::Exception where it is not well-formed, as far as the second.
YamlDocuments ReadYaml(const std::string& text);

}  // namespace tollgate::base
