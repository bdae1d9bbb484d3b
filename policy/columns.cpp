// Separators inside quotation marks part nothing. A table has ended where a line is empty.
//
// Tested by tests/policy/columns_test.cpp.
#include "policy/columns.h"

#include <algorithm>

namespace tollgate::policy {
namespace {

constexpr std::ptrdiff_t kRowsApart = 4;  // Rows without a value stand between.

bool IsOneOf(std::string_view set, char c) { return set.find(c) != std::string_view::npos; }

// Of the separators in a part of a line, those that stand in no quotation marks.
int CountOutsideQuotes(std::string_view line, char by) {
  int count = 0;
  bool quoted = false;
  for (const char c : line) {
    quoted = quoted != (c == '"');
    count += c == by && !quoted ? 1 : 0;
  }
  return count;
}

// Between two values: the second stands in one of the next rows, and the table did not end.
bool EndsRow(std::string_view between) {
  const auto ends = std::count(between.begin(), between.end(), '\n');
  return ends > 0 && ends <= kRowsApart && between.find("\n\n") == std::string_view::npos &&
         between.find("\n\r\n") == std::string_view::npos;
}

}  // namespace

Cell CellAt(std::string_view text, std::size_t begin) {
  const std::size_t from = begin > kRowBytes ? begin - kRowBytes : 0;
  std::size_t line = begin;
  while (line > from && text[line - 1] != '\n') --line;
  if (line == from && from > 0) return {};  // It began before.
  std::size_t at = begin;
  const auto skip = [&](std::string_view set, std::size_t most) {
    for (; most > 0 && at > line && IsOneOf(set, text[at - 1]); --most) --at;
  };
  skip("\"'`", 1);
  skip(" ", kRowBytes);
  if (at == line) return {'\n', 0};
  const char by = text[at - 1];
  if (IsOneOf(",;|\t", by)) return {by, CountOutsideQuotes(text.substr(line, at - line), by)};
  --at;
  skip(" ", kRowBytes);
  return at == line && IsOneOf("([{-*", by) ? Cell{by, 0} : Cell{};
}

bool JoinsList(std::string_view between) {
  if (between.empty() || between.size() > kListGapBytes) return false;
  std::string_view left = between, right;
  for (const std::string_view word : {" and ", " or ", " und ", " et ", " y "}) {
    const std::size_t at = between.find(word);
    if (at == std::string_view::npos) continue;
    left = between.substr(0, at);
    right = between.substr(at + word.size());
    break;
  }
  // Alone, a comma or a semicolon is a table's.
  const bool apart = left.size() < between.size() || between.find_first_of(" \n\"'") != std::string_view::npos;
  constexpr std::string_view kMarks = ",;\"' \r\n";
  return apart && left.find_first_not_of(kMarks) == std::string_view::npos && right.find_first_not_of(kMarks) == std::string_view::npos;
}

bool LastNamed::GoesOn(std::string_view text, std::int64_t base, std::size_t begin) const {
  if (base + static_cast<std::int64_t>(begin) >= reach()) return false;
  const auto end = static_cast<std::size_t>(end_ - base);
  const std::string_view between = text.substr(end, begin - end);
  return JoinsList(between) || (cell_.column >= 0 && EndsRow(between) && CellAt(text, begin) == cell_);
}

}  // namespace tollgate::policy
