// What stands at a term's edges and is not seen as part of it goes: blanks, no-break spaces, a byte order mark that an editor wrote. Inside
// a term such characters are what its plain form makes of them (program.cpp).
//
// Tested by tests/policy/lists_test.cpp and tests/policy/rule_yaml_test.cpp.
#include "policy/list_yaml.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/nearest_word.h"
#include "policy/fold.h"
#include "policy/plain_form.h"
#include "policy/plain_pages.h"
#include "policy/rule_yaml.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kKeywordBytesMax = 256;

// Nothing, or a blank, to who reads it. Accents and other marks are of the letter before them.
bool IsEdge(char32_t c) {
  if (c < 0x80) return IsBlank(static_cast<char>(c)) || IsUnseenAscii(static_cast<char>(c));
  std::string marks;
  return ReadsAsMarks(c, marks) && marks.find_first_not_of(" \n") == std::string::npos;
}

std::string Trimmed(std::string_view word) {
  for (std::size_t length = 1; !word.empty(); word.remove_prefix(length)) {
    if (!IsEdge(DecodeAt(word, 0, length))) break;
  }
  while (!word.empty()) {
    const char32_t last = DecodeBefore(word, word.size());
    if (!IsEdge(last)) break;
    word.remove_suffix(static_cast<std::size_t>(Utf8Length(last)));
  }
  return std::string(word);
}

}  // namespace

absl::Status ReadKeywords(const YamlReader& yaml, const YAML::Node& node, bool as_is, std::vector<std::string>& words) {
  TG_ASSIGN(words, yaml.Texts(node, "keywords"));
  for (std::size_t i = 0; i < words.size(); ++i) {
    const YAML::Node& at = node.IsSequence() ? node[i] : node;
    std::string& word = words[i];
    if (yaml.IsBlock(at)) {
      word.erase(word.find_last_not_of('\n') + 1);
      if (word.find('\n') != std::string::npos)
        return yaml.Wrong(at, "the lines of a block are one keyword; write a list, [a, b], or a file with a term a line, {file: PATH}");
    }
    std::string trimmed = Trimmed(word);
    if (trimmed.empty() || word.size() > kKeywordBytesMax) return yaml.Wrong(at, "a keyword is 1 to 256 bytes and not blank");
    if (!as_is) word = std::move(trimmed);
  }
  return absl::OkStatus();
}

absl::Status ReadTerms(const std::string& name, std::string_view text, std::vector<std::string>& words) {
  int line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view written = text.substr(at, end - at);
    at = end + 1;
    ++line;
    if (!base::IsValidUtf8(written)) return PolicyError(name, line, 1, "a keyword is UTF-8 and at most 256 bytes");
    std::string word = Trimmed(written);
    if (word.empty() || word[0] == '#') continue;
    if (word.size() > kKeywordBytesMax) return PolicyError(name, line, 1, "a keyword is UTF-8 and at most 256 bytes");
    words.push_back(std::move(word));
  }
  return absl::OkStatus();
}

absl::Status TakeWords(const YamlReader& yaml, const YAML::Node& node, const std::vector<std::string>& words) {
  std::size_t bytes = 0;
  for (const std::string& word : words) bytes += word.size();
  return yaml.Taken(node, yaml.budget().TakeWords(words.size(), bytes));
}

absl::Status ReadListed(const YamlReader& yaml, const YAML::Node& node, const NamedLists& lists, std::vector<std::string>& words) {
  TG_ASSIGN(const std::vector<std::string> names, yaml.Texts(node, "list"));
  std::set<std::string_view> named;
  for (const std::string& name : names) {
    const auto found = lists.find(name);
    if (found == lists.end()) {
      std::vector<std::string_view> known;
      for (const auto& [its, list] : lists) known.emplace_back(its);
      const std::string_view near = base::NearestWord(name, known);
      return yaml.Wrong(node, near.empty() ? fmt::format("there is no list '{}'; write it under 'lists' of this file", name)
                                           : fmt::format("there is no list '{}'; did you mean '{}'?", name, near));
    }
    if (!named.insert(name).second) continue;
    TG_RETURN_IF_ERROR(TakeWords(yaml, node, found->second));
    words.insert(words.end(), found->second.begin(), found->second.end());
  }
  return absl::OkStatus();
}

}  // namespace tollgate::policy
