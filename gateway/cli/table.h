// Table: columns for people. Numbers stand to the right; the widths are those of the text.
#pragma once

#include <string>
#include <vector>

namespace tollgate::cli {

class Table {
 public:
  // A head that starts with '>' makes a column of numbers: "> tokens" prints TOKENS, to the right.
  explicit Table(std::vector<std::string> heads);

  void Add(std::vector<std::string> cells);  // As many as there are heads.
  bool empty() const { return rows_.empty(); }

  // The lines, heads first. `none` in place of an empty table.
  std::string Text(const std::string& none) const;

 private:
  std::vector<std::string> heads_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tollgate::cli
