// The repository's own files as text, for the tests that hold the house rules.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tollgate::tidy {

struct SourceFile {
  std::string path;  // From the repository's root: "gateway/net/listener.h".
  std::vector<std::string> lines;

  bool IsHeader() const { return path.ends_with(".h"); }
  bool IsCode() const { return path.ends_with(".cpp") || IsHeader(); }
  std::string Folder() const { return path.substr(0, path.rfind('/') == std::string::npos ? 0 : path.rfind('/')); }
  std::string Name() const { return path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1); }
};

// Every text file of the repository but what is built, fetched or generated, and the protos of others (proto/google). Read once.
const std::vector<SourceFile>& Tree();
bool Exists(const std::string& path);

// "base", "policy", "gateway/net", "tests": the room a file belongs to; empty for files that belong to none.
std::string RoomOf(const std::string& path);

// What the file includes: the path as written, and whether it stands in quotes.
struct Include {
  int line;
  std::string path;
  bool quoted;
};
std::vector<Include> IncludesOf(const SourceFile& file);

struct Function {
  int first_line;
  int line_count;
  std::string name;
};
// Function bodies by counting brackets: a block that opens after a parameter list and is not inside another function. A heuristic, which
// errs towards finding fewer.
std::vector<Function> FunctionsOf(const SourceFile& file);

// The code without comments and without what stands in quotes, line by line, so that brackets in them do not count.
std::vector<std::string> BareLines(const SourceFile& file);

// Prints each "path:line: rule" on a line of its own, which a failed check would wrap; returns how many there are.
std::size_t Report(const std::vector<std::string>& broken);

}  // namespace tollgate::tidy
