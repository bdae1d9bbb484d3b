// Widths are counted in code points: names are ASCII, what people write about things need not be. What in a cell would move the reader's
// cursor or turn the text around becomes '?'.
//
// Tested by tests/gateway/cli/words_test.cpp.
#include "gateway/cli/table.h"

#include <algorithm>
#include <cctype>

#include "base/status.h"
#include "gateway/cli/words.h"

namespace tollgate::cli {
namespace {
std::size_t Width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}
}  // namespace

Table::Table(std::vector<std::string> heads) {
  for (std::string& head : heads) {
    right_.push_back(head.starts_with("> "));
    std::string text = right_.back() ? head.substr(2) : head;
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    heads_.push_back(std::move(text));
  }
}

void Table::Add(std::vector<std::string> cells) {
  TG_CHECK(cells.size() == heads_.size(), "a row has as many cells as there are columns");
  for (std::string& cell : cells) cell = cell.empty() ? "-" : Tamed(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::Text(const std::string& none) const {
  if (rows_.empty()) return none + "\n";
  std::vector<std::size_t> widths(heads_.size());
  for (std::size_t i = 0; i < heads_.size(); ++i) {
    widths[i] = Width(heads_[i]);
    for (const auto& row : rows_) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string pad(widths[i] - Width(cells[i]), ' ');
      text += (i == 0 ? "" : "  ") + (right_[i] ? pad + cells[i] : cells[i] + pad);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line(heads_);
  for (const auto& row : rows_) line(row);
  return out;
}

}  // namespace tollgate::cli
