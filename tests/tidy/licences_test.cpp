// What is installed to build, run and test stands in docs/licences.md, each by the name under which it is installed.
#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "tests/tidy/source_tree.h"

using namespace tollgate::tidy;

namespace {

const SourceFile& FileAt(const std::string& path) {
  const auto found = std::find_if(Tree().begin(), Tree().end(), [&](const SourceFile& file) { return file.path == path; });
  REQUIRE(found != Tree().end());
  return *found;
}

// "_" and "-" are one, as PyPI has it.
std::string Plain(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

// The names in backticks, or plain, that the page mentions.
std::set<std::string> Mentioned() {
  std::set<std::string> out;
  for (const std::string& line : FileAt("docs/licences.md").lines) {
    std::string name;
    for (const char c : line + " ") {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("+-._").find(c) != std::string_view::npos) {
        name += c;
      } else if (!name.empty()) {
        out.insert(Plain(std::exchange(name, "")));
      }
    }
  }
  return out;
}

}  // namespace

TEST_CASE("Every package that is installed stands in the list of licences") {
  const std::set<std::string> mentioned = Mentioned();
  std::vector<std::string> broken;
  std::size_t packages = 0;
  for (const SourceFile& file : Tree()) {
    const bool python = file.path.starts_with("scripts/") && file.Name().starts_with("requirements-");
    if (!python && file.path != "scripts/packages.txt") continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      if (line.empty() || line[0] == '#' || line[0] == '[' || line[0] == ' ' || line[0] == '-') continue;
      const std::string name = Plain(line.substr(0, line.find_first_of(" =\\;")));
      ++packages;
      if (!mentioned.contains(name)) broken.push_back(fmt::format("{}:{}: {} is not in docs/licences.md", file.path, i + 1, name));
    }
  }
  CHECK(Report(broken) == 0);
  CHECK(packages > 40);
}
