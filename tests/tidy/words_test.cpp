// What must not stand in the repository, and what must stand in its protos.
#include <array>
#include <regex>
#include <set>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include "tests/tidy/source_tree.h"

using namespace tollgate::tidy;

namespace {

// Written apart, so that this file may be read by its own test.
const std::array<std::string, 5> kForbidden = {std::string("TO") + "DO", std::string("FIX") + "ME", std::string("XX") + "X", std::string("HA") + "CK",
                                               std::string("/wo") + "rk/"};

bool IsWordChar(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// As a word of its own: base64 and mkdtemp's "XXXXXX" hold such letters by chance.
bool HoldsWord(const std::string& line, const std::string& word) {
  for (auto at = line.find(word); at != std::string::npos; at = line.find(word, at + 1)) {
    const bool starts = at == 0 || !IsWordChar(line[at - 1]) || !IsWordChar(word.front());
    const auto end = at + word.size();
    if (starts && (end == line.size() || !IsWordChar(line[end]) || !IsWordChar(word.back()))) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("No file holds unfinished work or a path of one machine") {
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      for (const std::string& word : kForbidden) {
        if (HoldsWord(file.lines[i], word)) broken.push_back(fmt::format("{}:{}: \"{}\" may not stand here", file.path, i + 1, word));
      }
    }
  }
  INFO(Report(broken));
  CHECK(broken.empty());
}

TEST_CASE("Every message, field, value, service and call of our protos is documented") {
  static const std::regex thing(R"(^\s*(message|enum|service|rpc|oneof)\s+\w+)");
  static const std::regex field(R"(^\s*(repeated |optional )?[\w.]+(<[^>]*>)?\s+\w+\s*=\s*\d+)");
  static const std::regex value(R"(^\s*[A-Z][A-Z0-9_]+\s*=\s*(\d+))");
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.path.ends_with(".proto")) continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      std::smatch match;
      const bool is_value = std::regex_search(line, match, value);
      if (is_value && match[1] == "0") continue;  // …_UNSPECIFIED.
      if (!is_value && !std::regex_search(line, thing) && !std::regex_search(line, field)) continue;
      if (std::regex_search(line, std::regex(R"(^\s*oneof)"))) continue;
      const std::string above = i == 0 ? "" : file.lines[i - 1];
      if (above.find("//") == std::string::npos && line.find("//") == std::string::npos) {
        broken.push_back(fmt::format("{}:{}: say what this is: {}", file.path, i + 1, line));
      }
    }
  }
  INFO(Report(broken));
  CHECK(broken.empty());
}

TEST_CASE("Migrations say why in their first line and are numbered without gaps") {
  std::set<std::string> seen;
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.path.starts_with("migrations/") || !file.path.ends_with(".sql")) continue;
    const std::string number = file.Folder() + "/" + file.Name().substr(0, 4);
    if (file.lines.empty() || !file.lines[0].starts_with("-- ")) broken.push_back(file.path + ":1: a migration's first line says why it is there");
    if (!std::regex_match(file.Name(), std::regex(R"(\d{4}_[a-z0-9_]+\.sql)"))) broken.push_back(file.path + ":1: a migration is named 0001_what.sql");
    if (!seen.insert(number).second) broken.push_back(file.path + ":1: two migrations have this number");
    const int n = std::atoi(file.Name().substr(0, 4).c_str());
    if (n > 1 && !seen.contains(fmt::format("{}/{:04}", file.Folder(), n - 1))) broken.push_back(fmt::format("{}:1: there is no number {:04}", file.path, n - 1));
  }
  INFO(Report(broken));
  CHECK(broken.empty());
}
