// Tested by tests/tidy/source_tree_test.cpp.
#include "tests/tidy/source_tree.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <regex>

#include <fmt/format.h>

namespace tollgate::tidy {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 7> kSkippedFolders = {".git", "build", "var", "node_modules", "__pycache__", ".cache", "google"};
constexpr std::array<std::string_view, 12> kTextEndings = {".h",   ".cpp",  ".proto", ".md",   ".txt", ".cmake",
                                                           ".sql", ".yaml", ".yml",   ".json", ".py",  ".mjs"};

bool IsText(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string ending = path.extension().string();
  return std::find(kTextEndings.begin(), kTextEndings.end(), ending) != kTextEndings.end() || name == "Makefile" || name == "setup" ||
         name == "test" || name == "bench" || name == "run";
}

SourceFile Read(const fs::path& root, const fs::path& path) {
  SourceFile file{fs::relative(path, root).generic_string(), {}};
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) file.lines.push_back(line);
  return file;
}

}  // namespace

const std::vector<SourceFile>& Tree() {
  static const std::vector<SourceFile> tree = [] {
    std::vector<SourceFile> files;
    const fs::path root(TOLLGATE_SOURCE_DIR);
    for (auto it = fs::recursive_directory_iterator(root); it != fs::recursive_directory_iterator(); ++it) {
      const std::string name = it->path().filename().string();
      if (it->is_directory() && std::find(kSkippedFolders.begin(), kSkippedFolders.end(), name) != kSkippedFolders.end()) {
        it.disable_recursion_pending();
      } else if (it->is_regular_file() && IsText(it->path())) {
        files.push_back(Read(root, it->path()));
      }
    }
    std::sort(files.begin(), files.end(), [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
    return files;
  }();
  return tree;
}

bool Exists(const std::string& path) { return fs::exists(fs::path(TOLLGATE_SOURCE_DIR) / path); }

std::string RoomOf(const std::string& path) {
  const auto slash = path.find('/');
  if (slash == std::string::npos) return "";
  std::string room = path.substr(0, slash);
  if (room != "gateway") return room;
  const auto second = path.find('/', slash + 1);
  return second == std::string::npos ? room : path.substr(0, second);
}

std::vector<Include> IncludesOf(const SourceFile& file) {
  static const std::regex pattern(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> out;
  for (std::size_t i = 0; i < file.lines.size(); ++i) {
    std::smatch match;
    if (std::regex_search(file.lines[i], match, pattern)) out.push_back({static_cast<int>(i) + 1, match[2], match[1] == "\""});
  }
  return out;
}

namespace {

// Strips one line; `in_comment` and `raw_end` (the end of a raw string) carry over to the next.
std::string Strip(const std::string& line, bool& in_comment, std::string& raw_end) {
  std::string out;
  for (std::size_t i = 0; i < line.size();) {
    const std::string_view rest = std::string_view(line).substr(i);
    if (!raw_end.empty()) {
      const auto end = rest.find(raw_end);
      if (end == std::string_view::npos) return out;
      i += end + raw_end.size();
      raw_end.clear();
    } else if (in_comment) {
      const auto end = rest.find("*/");
      if (end == std::string_view::npos) return out;
      i += end + 2;
      in_comment = false;
    } else if (rest.starts_with("//")) {
      return out;
    } else if (rest.starts_with("/*")) {
      in_comment = true;
      i += 2;
    } else if (rest.starts_with("R\"") && rest.find('(') != std::string_view::npos) {
      raw_end = ")" + std::string(rest.substr(2, rest.find('(') - 2)) + "\"";
      i += rest.find('(') + 1;
    } else if (rest[0] == '"' || (rest[0] == '\'' && (i == 0 || std::isalnum(static_cast<unsigned char>(line[i - 1])) == 0))) {
      std::size_t end = i + 1;  // A ' after a digit separates thousands.
      while (end < line.size() && line[end] != rest[0]) end += line[end] == '\\' ? 2 : 1;
      out += "\"\"";
      i = end + 1;
    } else {
      out.push_back(rest[0]);
      ++i;
    }
  }
  return out;
}

}  // namespace

std::vector<std::string> BareLines(const SourceFile& file) {
  std::vector<std::string> out;
  bool in_comment = false;
  std::string raw_end;
  for (const std::string& line : file.lines) {
    out.push_back(Strip(line, in_comment, raw_end));
    if (out.back().find_first_not_of(" \t") == 0 && out.back()[0] == '#') out.back().clear();
  }
  return out;
}

std::vector<Function> FunctionsOf(const SourceFile& file) {
  static const std::regex block_word(R"(\b(namespace|class|struct|union|enum)\b[^()]*$|=\s*$|^\s*$)");
  static const std::regex name_before_list(R"(([~\w:]+)\s*\()");
  std::vector<Function> out;
  const std::vector<std::string> lines = BareLines(file);
  std::string head;   // What stands between the last ; { } and here.
  int head_line = 0;  // Where it began.
  int depth = 0;
  int function_depth = -1;
  Function current{};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    for (const char c : lines[i]) {
      if (c == '{') {
        if (function_depth < 0 && head.find('(') != std::string::npos && !std::regex_search(head, block_word)) {
          std::smatch name;
          std::regex_search(head, name, name_before_list);
          current = {head_line, 0, name.empty() ? "?" : name[1].str()};
          function_depth = depth;
        }
        ++depth;
        head.clear();
      } else if (c == '}') {
        --depth;
        if (depth == function_depth) {
          current.line_count = static_cast<int>(i) + 2 - current.first_line;
          out.push_back(current);
          function_depth = -1;
        }
        head.clear();
      } else if (c == ';') {
        head.clear();
      } else {
        if (head.find_first_not_of(" \t\n") == std::string::npos) head_line = static_cast<int>(i) + 1;
        head.push_back(c);
      }
    }
    head.push_back('\n');
  }
  return out;
}

std::size_t Report(const std::vector<std::string>& broken) {
  for (const std::string& line : broken) fmt::print(stderr, "{}\n", line);
  return broken.size();
}

}  // namespace tollgate::tidy
