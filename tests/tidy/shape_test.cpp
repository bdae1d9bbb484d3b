// How long things may be, and that each is where the build and the reader look for it.
#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "tests/tidy/source_tree.h"

using namespace tollgate::tidy;

namespace {

constexpr int kFileLinesMax = 400;
constexpr int kHeaderLinesMax = 150;
constexpr int kFunctionLinesMax = 60;

std::string Whole(const SourceFile& file) {
  std::string text;
  for (const std::string& line : file.lines) text += line + "\n";
  return text;
}

}  // namespace

TEST_CASE("Files, headers and functions are short enough to read") {
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCode()) continue;
    const int lines = static_cast<int>(file.lines.size());
    if (lines > kFileLinesMax)
      broken.push_back(fmt::format("{}:{}: a file has at most {} lines, this has {}", file.path, kFileLinesMax, kFileLinesMax, lines));
    if (file.IsHeader() && lines > kHeaderLinesMax) {
      broken.push_back(
          fmt::format("{}:{}: a header has at most {} lines, this has {}", file.path, kHeaderLinesMax, kHeaderLinesMax, lines));
    }
    for (const Function& function : FunctionsOf(file)) {
      if (function.line_count <= kFunctionLinesMax || file.path.starts_with("tests/")) continue;
      broken.push_back(fmt::format("{}:{}: a function has at most {} lines, {} has {}", file.path, function.first_line, kFunctionLinesMax,
                                   function.name, function.line_count));
    }
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Every header is included once and says what it is for") {
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.IsHeader()) continue;
    if (file.lines.empty() || !file.lines[0].starts_with("// ")) broken.push_back(file.path + ":1: a header opens with what it is for");
    if (std::find(file.lines.begin(), file.lines.end(), "#pragma once") == file.lines.end())
      broken.push_back(file.path + ":1: #pragma once is missing");
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Every .cpp is named in its folder's CMakeLists.txt") {
  std::map<std::string, std::string> lists;
  for (const SourceFile& file : Tree()) {
    if (file.Name() == "CMakeLists.txt") lists[file.Folder()] = Whole(file);
  }
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.path.ends_with(".cpp")) continue;
    // The nearest folder upwards that has a list names the file by its path from there.
    std::string folder = file.Folder();
    while (!lists.contains(folder) && !folder.empty())
      folder = folder.substr(0, folder.rfind('/') == std::string::npos ? 0 : folder.rfind('/'));
    const std::string name = folder.empty() ? file.path : file.path.substr(folder.size() + 1);
    const std::regex whole("(^|[\\s(/])" + std::regex_replace(name, std::regex(R"([.+])"), R"(\$&)") + "([\\s)]|$)");
    if (!lists.contains(folder) || !std::regex_search(lists[folder], whole)) {
      broken.push_back(fmt::format("{}:1: not in {}/CMakeLists.txt, so it is never built", file.path, folder));
    }
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Every .cpp outside tests opens with how it works, and the tests it names exist") {
  static const std::regex tested(R"(Tested by (.*))");
  static const std::regex path(R"(tests/[\w/.-]+\.(cpp|py|mjs))");
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.IsCode()) continue;
    bool names_test = false;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      std::smatch match;
      const std::string& line = file.lines[i];
      if (!line.starts_with("//") || !std::regex_search(line, match, tested)) continue;
      names_test = true;
      const std::string rest = match[1].str() + (i + 1 < file.lines.size() && file.lines[i + 1].starts_with("//") ? file.lines[i + 1] : "");
      for (auto it = std::sregex_iterator(rest.begin(), rest.end(), path); it != std::sregex_iterator(); ++it) {
        if (!Exists(it->str())) broken.push_back(fmt::format("{}:{}: there is no {}", file.path, i + 1, it->str()));
      }
    }
    if (!file.path.ends_with(".cpp") || file.path.starts_with("tests/")) continue;
    const std::string first = file.lines.empty() ? "" : file.lines[0];
    if (!first.starts_with("// ") || first.starts_with("// Tested by")) broken.push_back(file.path + ":1: a .cpp opens with how it works");
    if (!names_test) broken.push_back(file.path + ":1: it names no test (\"Tested by tests/….cpp.\")");
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Every header is named in its room's README, or its folder is") {
  std::map<std::string, std::string> readmes;
  for (const SourceFile& file : Tree()) {
    if (file.Name() == "README.md") readmes[file.Folder()] = Whole(file);
  }
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    const std::string room = RoomOf(file.path), name = file.Name();
    if (!file.IsHeader() || room == "tests" || room == "clients") continue;
    const std::string& page = readmes[room];
    const std::string folder = file.Folder().substr(room.size());  // "/catalog"
    const auto names = [&page](const std::string& what) { return page.find(what) != std::string::npos; };
    if (names(name) || names("`" + name.substr(0, name.size() - 2) + "`")) continue;
    if (!folder.empty() && names("`" + folder.substr(1) + "/`")) continue;
    broken.push_back(fmt::format("{}:1: {}/README.md does not name it", file.path, room));
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Every room has a README that holds its dated decisions, newest last") {
  std::set<std::string> rooms;
  std::map<std::string, std::string> readmes;
  for (const SourceFile& file : Tree()) {
    const std::string room = RoomOf(file.path);
    if (file.IsCode() && room != "tests" && room != "clients") rooms.insert(room);
    if (file.Name() == "README.md") readmes[file.Folder()] = Whole(file);
  }
  std::vector<std::string> broken;
  for (const std::string& room : rooms) {
    if (!readmes.contains(room)) {
      broken.push_back(room + ":1: the room has no README.md");
    } else if (readmes[room].find("\n## Decisions\n") == std::string::npos || readmes[room].find("\n- 20") == std::string::npos) {
      broken.push_back(room + "/README.md:1: it has no dated list under \"## Decisions\"");
    }
    std::string last;
    std::istringstream lines(readmes[room]);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("- 20")) continue;
      const std::string day = line.substr(2, 10);
      if (day < last)
        broken.push_back(fmt::format("{}/README.md:1: decisions go by date, newest last: one of {} follows {}", room, day, last));
      last = day;
    }
  }
  CHECK(Report(broken) == 0);
}
