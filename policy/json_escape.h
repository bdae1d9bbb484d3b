// The escapes of JSON strings (RFC 8259 section 7), as they stand in JSON and in JSON that is a string of other JSON, and the \xHH of other
// languages. Pure; any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace tollgate::policy {

// This many backslashes before an n, r, t, u, x or '"' are one escape: three levels of JSON in JSON.
inline constexpr std::size_t kSlashesMax = 7;
inline constexpr std::size_t kEscapeBytesMax = 2 * (kSlashesMax + 5);  // Two halves of a character.

struct Escape {
  std::size_t bytes = 0;   // 0: it is none, or not whole.
  char32_t character = 0;  // What it stands for; half a character is U+FFFD, \f is a space.
  bool begun = false;      // `text` ends before it does.
};

// The escape that `text`, which begins with a backslash, begins with.
Escape ReadEscape(std::string_view text);

}  // namespace tollgate::policy
