// What must not stand in the repository, and what must stand in its protos.
#include <array>
#include <regex>
#include <set>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "tests/tidy/source_tree.h"

using namespace tollgate::tidy;

namespace {

// Written apart, so that this file may be read by its own test.
const std::array<std::string, 5> kForbidden = {std::string("TO") + "DO", std::string("FIX") + "ME", std::string("XX") + "X",
                                               std::string("HA") + "CK", std::string("/wo") + "rk/"};

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

// "QUOTA_SPENT" and the like in the file, where they stand between these.
void TakeReasons(const SourceFile& file, char begin, char end, std::set<std::string>& reasons) {
  static const std::regex kReason("[A-Z]{2,}(_[A-Z]+)+");
  for (const std::string& line : file.lines) {
    for (std::sregex_iterator at(line.begin(), line.end(), kReason), none; at != none; ++at) {
      const auto from = static_cast<std::size_t>(at->position()), to = from + static_cast<std::size_t>(at->length());
      if (from > 0 && to < line.size() && line[from - 1] == begin && line[to] == end) reasons.insert(at->str());
    }
  }
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
  CHECK(Report(broken) == 0);
}

// A comment speaks for the group of lines under it, up to a blank line, and a message's comment for its first group; an option `about:` is
// a comment too.
bool IsDocumented(const SourceFile& file, std::size_t at) {
  for (std::size_t i = at; i < at + 3 && i < file.lines.size(); ++i) {
    if (file.lines[i].find("about:") != std::string::npos) return true;
    if (file.lines[i].find(';') != std::string::npos) break;
  }
  for (std::size_t i = at + 1; i-- > 0;) {
    const std::string& line = file.lines[i];
    if (line.find("//") != std::string::npos) return true;
    if (line.empty()) return false;
    if (i != at && line.ends_with("{")) return i > 0 && file.lines[i - 1].find("//") != std::string::npos;
  }
  return false;
}

TEST_CASE("Every call of our services and every field of their protos is documented") {
  static const std::regex call(R"(^\s*rpc\s+\w+)");
  static const std::regex field(R"(^\s*(repeated |optional )?[\w.]+(<[^>]*>)?\s+\w+\s*=\s*\d+)");
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.path.ends_with(".proto")) continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      if (!std::regex_search(line, call) && !std::regex_search(line, field)) continue;
      if (!IsDocumented(file, i)) broken.push_back(fmt::format("{}:{}: say what this is: {}", file.path, i + 1, line));
    }
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("Migrations say why in their first line and are numbered, each number once") {
  std::set<std::string> seen;
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.path.starts_with("migrations/") || !file.path.ends_with(".sql")) continue;
    const std::string number = file.Folder() + "/" + file.Name().substr(0, 4);
    if (file.lines.empty() || !file.lines[0].starts_with("-- "))
      broken.push_back(file.path + ":1: a migration's first line says why it is there");
    if (!std::regex_match(file.Name(), std::regex(R"(\d{4}_[a-z0-9_]+\.sql)")))
      broken.push_back(file.path + ":1: a migration is named 0001_what.sql");
    if (!seen.insert(number).second) broken.push_back(file.path + ":1: two migrations have this number");
  }
  CHECK(Report(broken) == 0);
}

TEST_CASE("A body that the documentation sends by curl is sent as JSON, which is the only form that is taken") {
  int bodies = 0;
  std::vector<std::string> broken;
  for (const SourceFile& file : Tree()) {
    if (!file.path.ends_with(".md")) continue;
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      const bool json = line.find(" --json ") != std::string::npos || line.find("application/json") != std::string::npos;
      const bool body = line.starts_with("curl ") && (json || line.find(" -d ") != std::string::npos);
      bodies += body ? 1 : 0;
      if (body && !json) broken.push_back(fmt::format("{}:{}: curl -d sends a form; use --json", file.path, i + 1));
    }
  }
  CHECK(bodies > 0);
  CHECK(Report(broken) == 0);
}

TEST_CASE("docs/errors.md names every reason of a refusal and of an ending, and no other") {
  const std::regex others(  // Statuses of gRPC, and the environment's variables.
      "(AWS|GGML|TOLLGATE)_.*|ALREADY_EXISTS|DATA_LOSS|FAILED_PRECONDITION|INVALID_ARGUMENT|NOT_FOUND|OUT_OF_RANGE|PERMISSION_DENIED|"
      "RESOURCE_EXHAUSTED");
  std::set<std::string> told, evidence, sources;
  for (const SourceFile& file : Tree()) {
    const std::string room = RoomOf(file.path);
    if (file.path == "docs/errors.md") TakeReasons(file, '`', '`', told);
    if (file.path == "docs/evidence.md") TakeReasons(file, '`', '`', evidence);  // Why an answer cannot be made again.
    if (file.IsCode() && !room.empty() && room != "tests") TakeReasons(file, '"', '"', sources);
  }
  REQUIRE(told.size() > 50);
  std::vector<std::string> broken;
  for (const std::string& reason : sources) {
    if (told.contains(reason) || evidence.contains(reason) || std::regex_match(reason, others)) continue;
    broken.push_back(reason + ": docs/errors.md does not name it");
  }
  for (const std::string& reason : told) {
    if (!sources.contains(reason)) broken.push_back(reason + ": docs/errors.md names it, and nothing gives it");
  }
  CHECK(Report(broken) == 0);
}
