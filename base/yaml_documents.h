// The one YAML document that a file holds, and whether there is another. Include it in .cpp files and internal headers only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <yaml-cpp/yaml.h>

namespace tollgate::base {

struct YamlDocuments {
  YAML::Node first{YAML::NodeType::Undefined};  // That holds something; not defined: none does.
  std::optional<YAML::Mark> second{};           // Where another begins that does.
};

struct TooManyValues final : YAML::ParserException {
  using YAML::ParserException::ParserException;
};

// Of a whole text; places are its own. Throws YAML::Exception where it is not well-formed, as far as the second: a TooManyValues where it
// has more than `values_max` of them (words, lists, mappings, aliases), each of which takes hundreds of bytes once it is built.
YamlDocuments ReadYaml(const std::string& text, std::size_t values_max = SIZE_MAX);

}  // namespace tollgate::base
