// Every helper checks the kind of a node before it reads it, so that yaml-cpp throws only where the text itself is broken.
//
// Tested by tests/policy/rule_yaml_test.cpp.
#include "policy/yaml_reader.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/encoding.h"
#include "base/nearest_word.h"
#include "policy/rule_yaml.h"

namespace tollgate::policy {
namespace {
constexpr std::size_t kTextBytes = 64;  // Of one, beside what it says.
}

absl::Status YamlReader::Wrong(const YAML::Mark& at, std::string_view what) const {
  return PolicyError(source_, at.line + 1, at.column + 1, what);
}
absl::Status YamlReader::Wrong(const YAML::Node& at, std::string_view what) const { return Wrong(at.Mark(), what); }

absl::StatusOr<YamlReader::Fields> YamlReader::Map(const YAML::Node& node, std::string_view what,
                                                   std::initializer_list<std::string_view> known) const {
  const std::vector<std::string_view> names(known);
  if (!node.IsMap()) return Wrong(node, fmt::format("{} is a mapping with the fields {}", what, fmt::join(names, ", ")));
  Fields out;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar())
      return Wrong(entry.first, fmt::format("a field's name is a word; {} has the fields {}", what, fmt::join(names, ", ")));
    const std::string& name = entry.first.Scalar();
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      const std::string_view near = base::NearestWord(name, names);
      if (!near.empty()) return Wrong(entry.first, fmt::format("unknown field '{}'; did you mean '{}'?", name, near));
      return Wrong(entry.first, fmt::format("unknown field '{}'; {} has the fields {}", name, what, fmt::join(names, ", ")));
    }
    if (!out.emplace(name, entry.second).second) return Wrong(entry.first, fmt::format("'{}' is given twice; keep one", name));
  }
  return out;
}

absl::Status YamlReader::Taken(const YAML::Node& at, const absl::Status& taken) const {
  return absl::IsInvalidArgument(taken) ? Wrong(at, base::Message(taken)) : taken;
}

void YamlReader::ReadFrom(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\uFEFF";  // The library counts from behind it.
  text_ = text;
  if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
}

// The library does not tell, and a quoted scalar has the same tag.
bool YamlReader::IsBlock(const YAML::Node& scalar) const {
  auto at = static_cast<std::size_t>(std::max(scalar.Mark().pos, 0));
  while (at < text_.size() && (text_[at] == '&' || text_[at] == '!'))  // An anchor or a tag stands before it.
    at = text_.find_first_not_of(' ', std::min(text_.find_first_of(" \n", at), text_.size()));
  return at < text_.size() && (text_[at] == '|' || text_[at] == '>');
}

absl::StatusOr<std::string> YamlReader::Text(const YAML::Node& node, std::string_view field) const {
  if (!node.IsScalar())
    return Wrong(node, fmt::format("'{}' is a single value; write it on one line, in quotes if it holds : or #", field));
  if (!base::IsValidUtf8(node.Scalar())) return Wrong(node, fmt::format("'{}' is not valid UTF-8", field));
  TG_RETURN_IF_ERROR(Taken(node, budget_.TakeRead(node.Scalar().size() + kTextBytes)));
  return node.Scalar();
}

absl::StatusOr<std::vector<std::string>> YamlReader::Texts(const YAML::Node& node, std::string_view field) const {
  std::vector<std::string> out;
  if (node.IsScalar()) {
    TG_ASSIGN(out.emplace_back(), Text(node, field));
    return out;
  }
  if (!node.IsSequence() || node.size() == 0)
    return Wrong(node, fmt::format("'{}' is a value or a list with at least one, as in [a, b]", field));
  out.reserve(node.size());
  for (const auto& item : node) {
    TG_ASSIGN(std::string text, Text(item, field));
    out.push_back(std::move(text));
  }
  return out;
}

absl::StatusOr<bool> YamlReader::Bool(const YAML::Node& node, std::string_view field) const {
  TG_ASSIGN(const std::size_t which, OneOf(node, field, {"false", "true"}));
  return which == 1;
}

absl::StatusOr<std::int64_t> YamlReader::Int(const YAML::Node& node, std::string_view field, std::int64_t least, std::int64_t most) const {
  TG_ASSIGN(const std::string text, Text(node, field));
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return Wrong(node, fmt::format("'{}' is a whole number from {} to {}", field, least, most));
  }
  return value;
}

absl::StatusOr<std::size_t> YamlReader::OneOf(const YAML::Node& node, std::string_view field,
                                              const std::vector<std::string_view>& words) const {
  TG_ASSIGN(const std::string text, Text(node, field));
  const auto found = std::find(words.begin(), words.end(), text);
  if (found == words.end()) return Wrong(node, fmt::format("'{}' is one of {}", field, fmt::join(words, ", ")));
  return static_cast<std::size_t>(found - words.begin());
}

}  // namespace tollgate::policy
