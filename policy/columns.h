// Values of a list or of a table's column: of the first a word says what it is, of the next ones their place.
//
// Nothing is read to the right of a value, and at most kRowBytes to its left. Values without a lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tollgate::policy {

// So far a value of a list or column may begin behind the one before it.
inline constexpr std::size_t kRowBytes = 256;
// The next of a list, which is in no column, no more than so far.
inline constexpr std::size_t kListGapBytes = 16;

// Where in its line a value stands: what parts it from the one before (',', ';', '|', a tab), and how many of these there are before it.
// The first of a line is parted by what opens the line ('-', '[' …), or by '\n'.
struct Cell {
  char by = 0;
  int column = -1;  // -1: in none.
  bool operator==(const Cell&) const = default;
};
Cell CellAt(std::string_view text, std::size_t begin);

// What stands between two values makes the second another one of the same list: ", ", " and ", the end of a line, quotes.
bool JoinsList(std::string_view between);

// The last value that is known by a word beside it, or by its place.
class LastNamed {
 public:
  LastNamed() = default;
  // [begin, end) of `text`, which begins at the absolute offset `base`.
  LastNamed(std::string_view text, std::int64_t base, std::size_t begin, std::size_t end)
      : end_(base + static_cast<std::int64_t>(end)), cell_(CellAt(text, begin)) {}

  // Whether what begins there comes next in its list, or stands in its column in one of the next rows.
  bool GoesOn(std::string_view text, std::int64_t base, std::size_t begin) const;
  // What does begins before this, an absolute offset.
  std::int64_t reach() const { return end_ < 0 ? 0 : end_ + static_cast<std::int64_t>(cell_.column >= 0 ? kRowBytes : kListGapBytes + 1); }

 private:
  std::int64_t end_ = -1;
  Cell cell_;
};

}  // namespace tollgate::policy
