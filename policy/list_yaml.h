// Keywords, and the named lists that rules share. Inside policy/ only.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {

using NamedLists = std::map<std::string, std::vector<std::string>>;

// A keyword, or a list of them. `as_is`: blanks at a keyword's edges are of it; else they say nothing, nor does a line's end behind a
// block.
absl::Status ReadKeywords(const YamlReader& yaml, const YAML::Node& node, bool as_is, std::vector<std::string>& words);

// A list's file, which errors call `name`: a term a line; blank lines and those that begin with # are none.
absl::Status ReadTerms(const std::string& name, std::string_view text, std::vector<std::string>& words);

// The words of the lists that `node` names, taken from the reader's budget.
absl::Status ReadListed(const YamlReader& yaml, const YAML::Node& node, const NamedLists& lists, std::vector<std::string>& words);

// The same of words that were read already.
absl::Status TakeWords(const YamlReader& yaml, const YAML::Node& node, const std::vector<std::string>& words);

}  // namespace tollgate::policy
